"""A folder of pictures with metadata.jsonl or metadata.csv: the imagefolder convention.

A row has `file_name`, a path within the folder, and captions in `text`, `caption` or `captions`; in JSON a
caption column may hold a list.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from pictor.core.errors import InputError
from pictor.data.sources.registry import Kind, Look
from pictor.data.sources.source import Columns, Reading, Record, file_at, row_words, shortened

_FILES = ("metadata.jsonl", "metadata.csv")
_IMAGE = ("file_name",)


class _Lines:
    """The rows of a JSON-lines file; where each begins is noted, so that any can be gone to at once."""

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as file:
            lengths = [(len(line), bool(line.strip())) for line in file]
        ends = np.cumsum([length for length, _ in lengths], dtype=np.int64)
        starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
        full = np.array([is_full for _, is_full in lengths], bool)
        self._starts = starts[full] if lengths else starts[:0]
        self._numbers = np.flatnonzero(full) + 1

    def rows(self, first: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line numbers and rows."""
        if first >= len(self._starts):
            return
        with open(self.path, "rb") as file:
            file.seek(int(self._starts[first]))
            numbers = iter(self._numbers[first:].tolist())
            for line in file:
                if line.strip():
                    yield (number := next(numbers)), self._row(line, number)

    def _row(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except ValueError as error:  # of JSON and of UTF-8
            raise self._bad(number, str(error)) from None
        if not isinstance(row, dict):
            raise self._bad(number, f"it is a {type(row).__name__}")
        return row

    def _bad(self, number: int, why: str) -> InputError:
        return InputError(
            f"line {number} of {self.path} cannot be read: {why}",
            expected="a JSON object a line",
            param="source",
        )


class _Table:
    """The rows of a CSV file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def rows(self, first: int = 0) -> Iterator[tuple[int, dict[str, Any]]]:
        """Line numbers and rows."""
        try:
            with open(self.path, encoding="utf-8-sig", newline="") as file:
                reader = csv.DictReader(file)
                for number, row in enumerate(reader):
                    if None in row or None in row.values():
                        raise InputError(
                            f"line {reader.line_num} of {self.path} has more or fewer cells than the first",
                            expected=f"{len(reader.fieldnames or ())} cells",
                            remedy='Put "quotes" round captions with commas.',
                            param="source",
                        )
                    if number >= first:
                        yield reader.line_num, row
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(
                f"{self.path} cannot be read: {error}", expected="CSV in UTF-8", param="source"
            ) from None


class ImageFolder:
    """The rows of a metadata file, in its order."""

    def __init__(self, path: str, name: str, reading: Reading) -> None:
        self._folder, self._name, self._reading = os.path.dirname(path), name, reading
        self._file = _Lines(path) if path.endswith(".jsonl") else _Table(path)
        known: dict[str, None] = {}
        for _, row in self._file.rows():
            known.update(dict.fromkeys(row))
        if not known:
            raise InputError(f"{path} has no rows", expected="one a picture", param="source")
        self._columns = Columns.choose(list(known), reading, path, _IMAGE)
        self._count = self._check(path)

    def _check(self, path: str) -> int:
        """Look for every picture once; returns how many rows there are."""
        lines: dict[str, int] = {}
        absent: list[str] = []
        for number, row in self._file.rows():
            key = row.get(self._columns.image)
            if not isinstance(key, str) or not key or os.path.isabs(key) or ".." in key.split("/"):
                raise InputError(
                    f"{self._columns.image} is {key!r} in line {number} of {path}",
                    expected="a path within the folder",
                    param="source",
                )
            if key in lines:
                raise InputError(
                    f"lines {lines[key]} and {number} of {path} both name {key}",
                    expected="one row a picture",
                    remedy="Give several captions as a list in `captions`, or in several columns.",
                    param="source",
                )
            lines[key] = number
            if not os.path.isfile(os.path.join(self._folder, key)):
                absent.append(key)
        if absent:
            raise InputError(
                f"{path} has captions of pictures that are not there: {shortened(absent)}",
                expected=f"all {len(lines)} pictures in {self._folder}",
                remedy="Bring them back, or take their rows out.",
                param="source",
            )
        return len(lines)

    def __len__(self) -> int:
        return self._count

    def records(self, first: int = 0) -> Iterator[Record]:
        for number, row in self._file.rows(first):
            key = row[self._columns.image]
            where = f"line {number} of {self._file.path}"
            captions, licence = row_words(row, self._columns, self._reading, where)
            read, flaw = file_at(os.path.join(self._folder, key))
            yield Record(self._name, key, captions, licence, read, flaw)


def _files(look: Look) -> list[str]:
    return [name for name in _FILES if name in look.top]


def _finds(look: Look) -> bool:
    return bool(_files(look))


def _open(look: Look, name: str, reading: Reading) -> ImageFolder:
    files = _files(look)
    if len(files) > 1:
        raise InputError(
            f"{look.place} has both {' and '.join(files)}",
            expected="one of them",
            remedy="Name the file that you mean.",
            param="source",
        )
    path = look.place if os.path.isfile(look.place) else os.path.join(look.place, files[0])
    return ImageFolder(path, name, reading)


KIND = Kind(
    name="imagefolder",
    holds="metadata.jsonl or metadata.csv beside pictures",
    finds=_finds,
    open=_open,
    takes=frozenset({"image", "captions"}),
)
