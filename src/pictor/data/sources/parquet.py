"""Parquet files whose rows hold pictures as bytes, as Hugging Face's {bytes, path}, or as paths of files.

Paths are relative to the parquet file's folder. Captions are in `text`, `caption` or `captions`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pictor.core.errors import InputError, MissingExtraError
from pictor.data.sources.registry import Kind, Look, files_under, refuse_pictures
from pictor.data.sources.source import MAX_BYTES, Columns, Opener, Reading, Record, inside, row_words

_ROWS = 64
"""Rows that are read at once: with their pictures they stay small beside a process."""


@dataclass(frozen=True, slots=True)
class CellBytes:
    """The picture in a row of a parquet file."""

    path: str
    column: str
    group: int
    row: int
    """Within the row group."""
    changed: int

    def __call__(self) -> bytes:
        cell = self._cell()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise OSError("its cell is empty")
        if len(data) > MAX_BYTES:
            raise OSError(f"it has {len(data) / 2**20:.0f} MiB, more than {MAX_BYTES // 2**20}")
        return data

    def _cell(self) -> Any:
        global _last
        from pyarrow import ArrowException

        try:
            return _cells(self.path, self.column, self.group, self.changed).at(self.row)
        except (ArrowException, StopIteration, OSError) as error:
            _last = None  # a reader that failed once gives nothing more
            raise OSError(f"its row cannot be read: {str(error) or 'it is not there'}") from None


class _Cells:
    """One column of a row group, read forwards a few rows at a time."""

    def __init__(self, path: str, column: str, group: int) -> None:
        self._where = path, column, group
        self._begin()

    def _begin(self) -> None:
        from pyarrow import parquet

        path, column, group = self._where
        self._file = parquet.ParquetFile(path, memory_map=True)
        self._batches = self._file.iter_batches(
            _ROWS, row_groups=[group], columns=[column], use_threads=False
        )
        self._first = 0
        self._cells = next(self._batches).column(0)

    def at(self, row: int) -> Any:
        if row < self._first:
            self._begin()
        while row >= self._first + len(self._cells):
            self._first += len(self._cells)
            self._cells = next(self._batches).column(0)
        return self._cells[row - self._first].as_py()


_last: tuple[tuple[object, ...], _Cells] | None = None


def _cells(path: str, column: str, group: int, changed: int) -> _Cells:
    """The reader that this process used last, if it is the same: neighbours follow one another."""
    global _last
    key = (path, column, group, changed)
    if _last is None or _last[0] != key:
        _last = key, _Cells(path, column, group)
    return _last[1]


class ParquetRows:
    """The rows of parquet files, in the order of the files' names."""

    def __init__(self, look: Look, name: str, reading: Reading) -> None:
        try:
            from pyarrow import ArrowInvalid, parquet
        except ImportError:
            raise MissingExtraError(f"reading {look.place} needs pyarrow", extra="data") from None
        self._name, self._reading = name, reading
        alone = os.path.isfile(look.place)
        self._paths = files_under(look, ".parquet")
        self._prefixes = [
            "" if alone else os.path.relpath(path, look.place).replace(os.sep, "/") + "/"
            for path in self._paths
        ]
        self._counts: list[int] = []
        named = False
        self._columns: list[Columns] = []
        for path in self._paths:
            try:
                file = parquet.ParquetFile(path)
            except (ArrowInvalid, OSError) as error:
                raise InputError(
                    f"{path} cannot be read as parquet: {error}", expected="a whole file", param="source"
                ) from None
            self._columns.append(Columns.choose(file.schema_arrow.names, reading, path))
            self._counts.append(file.metadata.num_rows)
            named = named or _names_files(file, self._columns[-1])
        if not named:
            refuse_pictures(look, KIND)
        if not sum(self._counts):
            raise InputError(f"{look.place} has no rows", expected="one a picture", param="source")

    def __len__(self) -> int:
        return sum(self._counts)

    def records(self, first: int = 0) -> Iterator[Record]:
        for path, prefix, columns, count in zip(
            self._paths, self._prefixes, self._columns, self._counts, strict=True
        ):
            if first < count:
                yield from self._file_records(path, prefix, columns, first)
            first = max(first - count, 0)

    def _file_records(self, path: str, prefix: str, columns: Columns, first: int) -> Iterator[Record]:
        from pyarrow import parquet

        file = parquet.ParquetFile(path)
        changed = os.stat(path).st_mtime_ns
        named = _names_files(file, columns)
        wanted = [*columns.words, *([columns.image] if named else [])]
        start = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if first < start + rows:
                for number, (row, unread) in enumerate(_rows(file, group, rows, wanted)):
                    if start + number < first:
                        continue
                    captions, licence, wrong = row_words(row, columns, self._reading)
                    read: Opener = CellBytes(path, columns.image, group, number, changed)
                    flaw = unread or wrong
                    if named and not flaw:
                        file_name = row[columns.image] or ""
                        read, flaw = inside(os.path.dirname(path), file_name)
                        flaw = flaw if file_name else "its row names no file"
                    yield Record(self._name, f"{prefix}{start + number:07d}", captions, licence, read, flaw)
            start += rows


def _names_files(file: Any, columns: Columns) -> bool:
    """Whether the pictures of a parquet file are files beside it."""
    from pyarrow import types

    kind = file.schema_arrow.field(columns.image).type
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _rows(file: Any, group: int, count: int, wanted: list[str]) -> Iterator[tuple[dict[str, Any], str]]:
    """All rows of a group, each with why it cannot be read."""
    from pyarrow import ArrowException

    done = 0
    try:
        for batch in file.iter_batches(1024, row_groups=[group], columns=wanted, use_threads=False):
            for row in _texts(batch):
                done += 1
                yield row
    except (ArrowException, OSError) as error:
        for _ in range(done, count):
            yield {}, f"its row cannot be read: {error}"


def _texts(batch: Any) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        yield from [(row, "") for row in batch.to_pylist()]
        return
    except UnicodeDecodeError:
        pass
    for number in range(batch.num_rows):
        try:
            yield batch.slice(number, 1).to_pylist()[0], ""
        except UnicodeDecodeError as error:
            yield {}, f"its row is no UTF-8 (byte {error.start})"


def _finds(look: Look) -> bool:
    return ".parquet" in look.suffixes


KIND = Kind(
    name="parquet",
    holds="parquet files",
    finds=_finds,
    open=ParquetRows,
    takes=frozenset({"image", "captions"}),
)
