"""A folder of pictures, each with a .txt of the same name beside it.

Every line of the .txt that is not blank is a caption. A picture without a .txt has none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from pictor.core.errors import InputError
from pictor.data.sources.registry import Kind, Look, visible_files
from pictor.data.sources.source import SUFFIXES, Reading, Record, file_at, inside, shortened

_NO_CAPTIONS = {"readme", "license", "licence", "credits", "notice", "copying"}
"""Texts that lie in folders of pictures and belong to none of them."""


class PictureFolder:
    """The pictures of a folder and the folders in it, by path."""

    def __init__(self, place: str, name: str, reading: Reading) -> None:
        self._place, self._name, self._licence = place, name, reading.licence
        self._paths: list[str] = []
        self._texts: dict[str, str] = {}
        """Of pictures that have one, by theirs, as it is spelled."""
        orphans: list[str] = []
        for folder, names in visible_files(place):
            inner = os.path.relpath(folder, place).replace(os.sep, "/")
            orphans += self._take("" if inner == "." else f"{inner}/", names)
        if orphans:
            raise InputError(
                f"{place} has captions of pictures that are not there: {shortened(orphans)}",
                expected="a picture of the same name beside each .txt",
                remedy="Bring the pictures back, or move these files elsewhere.",
                param="source",
            )
        self._paths.sort()

    def _take(self, prefix: str, names: list[str]) -> list[str]:
        """Note a folder's pictures; returns its texts that belong to none."""
        pictures: dict[str, str] = {}
        texts: dict[str, str] = {}
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() in SUFFIXES:
                if stem in pictures:
                    raise self._twice(prefix, "pictures", pictures[stem], name)
                pictures[stem] = name
            elif suffix.lower() == ".txt":
                if stem in texts:
                    raise self._twice(prefix, "texts", texts[stem], name)
                texts[stem] = name
            elif name in ("metadata.jsonl", "metadata.csv"):
                raise InputError(
                    f"{self._place} has {prefix}{name} in a folder within it",
                    expected="that folder as the source, or none",
                    remedy=f"Name {os.path.join(self._place, prefix)} as a source.",
                    param="source",
                )
        self._paths += [prefix + name for name in pictures.values()]
        self._texts |= {
            prefix + pictures[stem]: prefix + name for stem, name in texts.items() if stem in pictures
        }
        return [
            prefix + name
            for stem, name in texts.items()
            if stem not in pictures and stem.lower() not in _NO_CAPTIONS
        ]

    def _twice(self, prefix: str, what: str, one: str, other: str) -> InputError:
        return InputError(
            f"{self._place}/{prefix} has two {what} of one name, {one} and {other}",
            expected="one, since a .txt is the caption of the picture of its name",
            remedy="Rename one of them.",
            param="source",
        )

    def __len__(self) -> int:
        return len(self._paths)

    def records(self, first: int = 0) -> Iterator[Record]:
        for key in self._paths[first:]:
            captions, flaw = self._captions(self._texts[key]) if key in self._texts else ((), "")
            read, absent = file_at(os.path.join(self._place, key))
            yield Record(self._name, key, captions, self._licence, read, absent or flaw)

    def _captions(self, name: str) -> tuple[tuple[str, ...], str]:
        read, flaw = inside(self._place, name)
        if flaw:
            return (), f"its caption cannot be read: {flaw}"
        try:
            lines = read().decode("utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            return (), f"its caption is no UTF-8 (byte {error.start})"
        except OSError as error:
            return (), f"its caption cannot be read: {error}"
        return tuple(line.strip() for line in lines if line.strip()), ""


def _finds(look: Look) -> bool:
    return os.path.isdir(look.place) and any(suffix in look.suffixes for suffix in SUFFIXES)


def _open(look: Look, name: str, reading: Reading) -> PictureFolder:
    return PictureFolder(look.place, name, reading)


KIND = Kind(
    name="folder",
    holds="pictures, each with a .txt of its name",
    finds=_finds,
    open=_open,
    last=True,
)
