"""Tar shards in the WebDataset convention: the files of one picture have one name and stand together.

    000012.jpg  000012.txt  000012.json

Captions are the lines of the .txt, or `text`, `caption` or `captions` of the .json, which may also hold
`license`. The name of a file ends at its first dot.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator

import numpy as np

from pictor.core.errors import InputError
from pictor.data.sources.registry import Kind, Look, files_under, refuse_pictures
from pictor.data.sources.source import (
    SUFFIXES,
    Columns,
    Opener,
    Reading,
    Record,
    SliceBytes,
    row_words,
)

_PICTURE, _TEXT, _JSON = 0, 2, 4
"""Where a row of the index has the offset of each member, 0 where there is none; its size follows."""


class _Shard:
    """One tar file, whose members' places are noted and whose contents are not read."""

    def __init__(self, path: str, prefix: str) -> None:
        self.path, self.prefix = path, prefix
        self.changed = os.stat(path).st_mtime_ns
        self.keys: list[str] = []
        self.words_only: list[str] = []
        rows: list[list[int]] = []
        seen: set[str] = set()
        for key, row in self._samples():
            if key in seen:
                raise self._twice(key, "in two places")
            seen.add(key)
            if row[_PICTURE]:
                self.keys.append(key)
                rows.append(row)
            else:
                self.words_only.append(key)
        self.places = np.array(rows, np.int64).reshape(-1, 6)

    def _samples(self) -> Iterator[tuple[str, list[int]]]:
        key, row = None, [0] * 6
        try:
            with tarfile.open(self.path, "r:") as tar:
                while (member := tar.next()) is not None:
                    tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
                    folder, _, name = member.name.rpartition("/")
                    if not member.isfile() or name.startswith("."):
                        continue
                    stem, _, suffix = name.partition(".")
                    stem = f"{folder}/{stem}" if folder else stem
                    at = _slot(suffix)
                    if at is None and name.lower().endswith(SUFFIXES):
                        raise self._dotted(member.name)
                    if at is None:
                        continue
                    if stem != key:
                        if key is not None:
                            yield key, row
                        key, row = stem, [0] * 6
                    if row[at]:
                        raise self._twice(stem, f"twice as a {'picture' if at == _PICTURE else suffix}")
                    row[at : at + 2] = member.offset_data, member.size
        except tarfile.TarError as error:
            raise InputError(
                f"{self.path} cannot be read as a tar: {error}",
                expected="a whole .tar that is not compressed",
                remedy="Fetch it anew, or leave it out.",
                param="source",
            ) from None
        if key is not None:
            yield key, row

    def _dotted(self, name: str) -> InputError:
        return InputError(
            f"{self.path} has a picture {name!r}, whose name ends at its first dot",
            expected="no dot in it but the last",
            remedy="Write the tar with other names.",
            param="source",
        )

    def _twice(self, key: str, how: str) -> InputError:
        return InputError(f"{self.path} has {key!r} {how}", expected="one picture a name", param="source")


def _slot(suffix: str) -> int | None:
    suffix = suffix.lower()
    if f".{suffix}" in SUFFIXES:
        return _PICTURE
    return {"txt": _TEXT, "json": _JSON}.get(suffix)


class TarShards:
    """The pictures of tar files, in the order of the files' names and of their members."""

    def __init__(self, look: Look, name: str, reading: Reading) -> None:
        refuse_pictures(look, KIND)
        self._name, self._reading = name, reading
        paths = files_under(look, ".tar")
        alone = os.path.isfile(look.place)
        self._shards = [
            _Shard(path, "" if alone else os.path.relpath(path, look.place).replace(os.sep, "/") + "/")
            for path in paths
        ]
        lost = [f"{shard.prefix}{key}" for shard in self._shards for key in shard.words_only]
        if lost:
            raise InputError(
                f"{look.place} has captions of pictures that are not there: {lost[0]} of {len(lost)}",
                expected="a picture of the same name in the same tar",
                param="source",
            )
        if not len(self):
            raise InputError(
                f"{look.place} has no pictures in its {len(paths)} tar files",
                expected=f"members called {', '.join('*' + suffix for suffix in SUFFIXES)}",
                param="source",
            )

    def __len__(self) -> int:
        return sum(len(shard.keys) for shard in self._shards)

    def records(self, first: int = 0) -> Iterator[Record]:
        for shard in self._shards:
            if first >= len(shard.keys):
                first -= len(shard.keys)
                continue
            for key, place in zip(shard.keys[first:], shard.places[first:].tolist(), strict=True):
                yield self._record(shard, shard.prefix + key, place)
            first = 0

    def _record(self, shard: _Shard, key: str, place: list[int]) -> Record:
        def part(at: int) -> Opener:
            return SliceBytes(shard.path, place[at], place[at + 1], shard.changed)

        captions: tuple[str, ...] = ()
        licence, flaw = self._reading.licence, ""
        try:
            if place[_JSON]:
                row = json.loads(part(_JSON)())
                if not isinstance(row, dict):
                    raise ValueError(f"it is a {type(row).__name__}")
                if not place[_TEXT] or self._reading.captions:
                    known = list(dict.fromkeys(["image", *row]))
                    columns = Columns.choose(known, self._reading, "its .json", ("image",))
                    captions, licence, flaw = row_words(row, columns, self._reading)
                else:
                    licence = str(row.get("license") or row.get("licence") or licence)
            if place[_TEXT] and not self._reading.captions:
                lines = part(_TEXT)().decode("utf-8-sig").splitlines()
                captions = tuple(line.strip() for line in lines if line.strip())
        except InputError as error:
            flaw = error.what
        except (ValueError, RecursionError) as error:
            flaw = f"its .txt or .json cannot be read ({error})"
        return Record(self._name, key, captions, licence, part(_PICTURE), flaw)


def _finds(look: Look) -> bool:
    return ".tar" in look.suffixes


KIND = Kind(
    name="webdataset",
    holds="tar shards",
    finds=_finds,
    open=TarShards,
    takes=frozenset({"captions"}),
)
