"""What every source of pictures gives: records in a stable order, each with an opener of its bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pictor.core.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""What files of pictures are called; what they hold decides how they are read."""
IMAGE_COLUMNS = ("image", "file_name", "path", "image_path")
CAPTION_COLUMNS = ("text", "caption", "captions")
LICENCE_COLUMNS = ("license", "licence")
MAX_BYTES = 256 * 2**20
"""Larger files are not read: no picture within the limit of pixels needs them."""


class Opener(Protocol):
    """Reads a picture's encoded bytes.

    It is pickled to the processes that decode. Its repr names the very bytes: file, place and time of change.
    """

    def __call__(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Record:
    """One picture of a source, not read yet."""

    source: str
    """Name of the source, unique among those opened together."""
    key: str
    """Name of the picture, unique within its source."""
    captions: tuple[str, ...]
    licence: str
    """Empty where nobody says."""
    read: Opener
    flaw: str = ""
    """Why it cannot be used, where that is known without reading it."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read sources, where the user says more than their places."""

    image: str | None = None
    """Column of the pictures; None for the first of `IMAGE_COLUMNS` that is there."""
    captions: tuple[str, ...] = ()
    """Columns of captions; empty for the first of `CAPTION_COLUMNS` that is there."""
    split: str | None = None
    """Of a data set that has several."""
    licence: str = ""
    """Of the pictures that do not state their own."""


class Source(Protocol):
    """Pictures in an order that does not change while their files do not."""

    def __len__(self) -> int: ...

    def records(self, first: int = 0) -> Iterator[Record]:
        """Records from number `first` on, one at a time; going there is cheap where the format allows."""
        ...


@dataclass(frozen=True, slots=True)
class FileBytes:
    """A file of its own."""

    path: str
    size: int
    changed: int
    """Time of the last change in nanoseconds."""

    def __call__(self) -> bytes:
        return _read(self.path, 0, self.size)


@dataclass(frozen=True, slots=True)
class SliceBytes:
    """A stretch of a file."""

    path: str
    offset: int
    size: int
    changed: int

    def __call__(self) -> bytes:
        return _read(self.path, self.offset, self.size)


def file_at(path: str) -> tuple[Opener, str]:
    """The opener of a file, and why there is none."""
    try:
        status = os.stat(path)
    except OSError as error:
        return FileBytes(path, 0, 0), f"there is no file ({error.strerror})"
    except ValueError as error:  # a zero byte in its name
        return FileBytes(path, 0, 0), f"there is no file ({error})"
    flaw = "" if stat.S_ISREG(status.st_mode) else "it is no ordinary file"
    return FileBytes(path, status.st_size, status.st_mtime_ns), flaw


def inside(folder: str, name: str) -> tuple[Opener, str]:
    """`file_at` of a file that a source names: none but those in its folder, wherever links lead."""
    path = os.path.join(folder, name)
    try:
        root = os.path.realpath(folder)
        within = os.path.commonpath([root, os.path.realpath(path)]) == root
    except (OSError, ValueError) as error:  # links without end, a zero byte, another drive
        return FileBytes(path, 0, 0), f"there is no file ({error})"
    return file_at(path) if within else (FileBytes(path, 0, 0), "its path leaves the folder of its source")


def _read(path: str, offset: int, size: int) -> bytes:
    if size > MAX_BYTES:
        raise OSError(f"it has {size / 2**20:.0f} MiB, more than {MAX_BYTES // 2**20}")
    with open(path, "rb", buffering=0) as file:
        if offset:
            file.seek(offset)
        return file.read(size)


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table are what."""

    image: str
    captions: tuple[str, ...]
    licence: str | None

    @classmethod
    def choose(
        cls, known: Sequence[str], reading: Reading, where: str, images: Sequence[str] = IMAGE_COLUMNS
    ) -> Columns:
        """Those that the user named, else those with a usual name.

        Raises:
            InputError: a named column is not there, or none with a usual name; says which there are.
        """

        def present(names: Sequence[str]) -> list[str]:
            return [name for name in names if name in known]

        def missing(what: str, param: str) -> InputError:
            return InputError(
                f"{where} has no {what}",
                expected=f"one of its columns {', '.join(known)}",
                remedy=f"Name it with --{param}.",
                param=param,
            )

        for name, param in (
            *((name, "caption-column") for name in reading.captions),
            *([(reading.image, "image-column")] if reading.image else []),
        ):
            if name not in known:
                raise missing(f"column {name!r}", param)
        image = reading.image or next(iter(present(images)), None)
        if image is None:
            raise missing(f"column of pictures ({', '.join(images)})", "image-column")
        captions = reading.captions or tuple(present(CAPTION_COLUMNS)[:1])
        if not captions:
            raise missing(f"column of captions ({', '.join(CAPTION_COLUMNS)})", "caption-column")
        return cls(image, captions, next(iter(present(LICENCE_COLUMNS)), None))

    @property
    def words(self) -> list[str]:
        """All but the pictures' column."""
        return [*self.captions, *([self.licence] if self.licence else [])]


def captions_of(value: Any) -> tuple[str, ...]:
    """The captions in a cell: a text, a list of texts, or nothing. Empty ones are none.

    Raises:
        ValueError: it is something else.
    """
    if value is None:
        return ()
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(text, str) for text in values):
        raise ValueError(f"is a {type(value).__name__}, no caption or list of captions")
    return tuple(text.strip() for text in values if text.strip())


def row_words(row: dict[str, Any], columns: Columns, reading: Reading) -> tuple[tuple[str, ...], str, str]:
    """Captions of all caption columns and the licence of a table's row, and why there are no captions."""
    licence = row.get(columns.licence) if columns.licence else None
    licence = str(licence) if licence else reading.licence
    captions: list[str] = []
    for name in columns.captions:
        try:
            captions += captions_of(row.get(name))
        except ValueError as error:
            return (), licence, f"its {name!r} {error}"
    return tuple(captions), licence, ""


def shortened(names: Sequence[str], most: int = 5) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
