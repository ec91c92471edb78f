"""A folder of pictures with metadata.jsonl or metadata.csv: the imagefolder convention.

A row has `file_name`, a path within the folder, and captions in `text`, `caption` or `captions`; in JSON a
caption column may hold a list. A picture that no row names is flawed, unless
the file itself is the source.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from pictor.core.errors import InputError
from pictor.data.sources.registry import Kind, Look, visible_files
from pictor.data.sources.source import SUFFIXES, Columns, Reading, Record, inside, row_words, shortened

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
        except (ValueError, RecursionError) as error:  # of JSON and of UTF-8, or nested without end
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
    """The rows of a metadata file, in its order; then the pictures that it does not list."""

    def __init__(self, path: str, name: str, reading: Reading, alone: bool) -> None:
        self._folder, self._name, self._reading = os.path.dirname(path), name, reading
        self._file = _Lines(path) if path.endswith(".jsonl") else _Table(path)
        known: dict[str, None] = {}
        for _, row in self._file.rows():
            known.update(dict.fromkeys(row))
        if not known:
            raise InputError(f"{path} has no rows", expected="one a picture", param="source")
        self._columns = Columns.choose(list(known), reading, path, _IMAGE)
        listed = self._check(path)
        self._count = len(listed)
        self._unlisted = [] if alone else self._others(listed)
        self._why = f"{os.path.basename(path)} does not list it"

    def _others(self, listed: Iterable[str]) -> list[str]:
        """Pictures of the folder that are not listed."""
        known = {os.path.normpath(key) for key in listed}
        found = (
            os.path.relpath(os.path.join(folder, name), self._folder)
            for folder, names in visible_files(self._folder)
            for name in names
            if name.lower().endswith(SUFFIXES)
        )
        return sorted(key.replace(os.sep, "/") for key in found if key not in known)

    def _check(self, path: str) -> dict[str, int]:
        """Look for every picture once; returns their lines by name."""
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
        return lines

    def __len__(self) -> int:
        return self._count + len(self._unlisted)

    def records(self, first: int = 0) -> Iterator[Record]:
        for _, row in self._file.rows(first):
            key = row[self._columns.image]
            captions, licence, wrong = row_words(row, self._columns, self._reading)
            read, flaw = inside(self._folder, key)
            yield Record(self._name, key, captions, licence, read, flaw or wrong)
        for key in self._unlisted[max(first - self._count, 0) :]:
            read, flaw = inside(self._folder, key)
            yield Record(self._name, key, (), self._reading.licence, read, flaw or self._why)


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
    alone = os.path.isfile(look.place)
    path = look.place if alone else os.path.join(look.place, files[0])
    return ImageFolder(path, name, reading, alone)


KIND = Kind(
    name="imagefolder",
    holds="metadata.jsonl or metadata.csv beside pictures",
    finds=_finds,
    open=_open,
    takes=frozenset({"image", "captions"}),
)
