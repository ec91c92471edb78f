"""Arrays in a folder that are costly to make, by name: each is made once, and read from disk.

A folder is of one maker, a network's weights for example, whose hash is in its `about.json`: what another
made is never taken for this one's. Bytes are appended and reach the disk before the line of the index that
names them, so that a build which was killed goes on where it was. One process writes; others wait for it.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pictor.core.errors import InputError
from pictor.data.lock import LOCK, held
from pictor.data.whole_files import json_line, whole_file

Array = NDArray[Any]
Places = dict[str, tuple[int, tuple[int, ...], str]]
"""Name -> offset in bytes, shape and type of an array."""
Watch = Callable[[int, int], None]
"""Told how many are kept, and of how many."""

_BYTES, _INDEX, _ABOUT = "arrays.bin", "index.jsonl", "about.json"
_WAIT = 1.0


@dataclass(frozen=True)
class Maker:
    """Whose arrays a folder holds."""

    kind: str
    """Such as "autoencoder"."""
    identity: str
    """Hash of all that decides what it makes."""
    param: str
    """Of the recipe, which errors name."""


@dataclass(frozen=True)
class KeptArrays:
    """What a folder holds; can be pickled to other processes."""

    folder: Path
    _places: Places = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return opened, (self.folder,)

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> Array:
        """An array as it lies on disk, not to be written to.

        Raises:
            KeyError: there is none of this name.
        """
        offset, shape, kind = self._places[name]
        length = math.prod(shape) * np.dtype(kind).itemsize
        return self._bytes[offset : offset + length].view(kind).reshape(shape)

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / _BYTES, np.uint8, "r")


class Growing:
    """A folder that this process alone adds to, within `growing`."""

    def __init__(self, places: Places, stream: Any, index: Any, end: int) -> None:
        self._places, self._stream, self._index, self._end = places, stream, index, end

    @property
    def names(self) -> Collection[str]:
        return self._places.keys()

    def add(self, names: Sequence[str], arrays: Array) -> None:
        """Keep the rows of an array under their names."""
        rows = np.ascontiguousarray(arrays)
        self._stream.write(rows.tobytes())
        self._stream.flush()
        os.fsync(self._stream.fileno())
        for name, row in zip(names, rows, strict=True):
            self._places[name] = place = (self._end, row.shape, row.dtype.name)
            self._index.write(_line(name, *place))
            self._end += row.nbytes
        self._index.flush()


def opened(folder: Path) -> KeptArrays:
    """What is there; the folder may have nothing yet."""
    return KeptArrays(folder, _places(folder))


@contextmanager
def growing(folder: Path, maker: Maker) -> Iterator[Growing]:
    """Add to a folder; waits until no other process does.

    Raises:
        InputError: the folder is of another maker.
    """
    busy = InputError(f"{folder} is being written", expected="a cache that nobody writes", param="data")
    while True:
        try:
            with held(folder / LOCK, busy):
                _check_about(folder, maker)
                places = _places(folder)
                with whole_file(folder / _INDEX) as index:  # a line that is not whole ends what can be read
                    index.writelines(_line(name, *place) for name, place in places.items())
                ends = [
                    at + math.prod(shape) * np.dtype(kind).itemsize for at, shape, kind in places.values()
                ]
                with (folder / _BYTES).open("ab") as stream, (folder / _INDEX).open("ab") as lines:
                    stream.truncate(end := max(ends, default=0))
                    yield Growing(places, stream, lines, end)
            return
        except InputError as error:
            if error is not busy:
                raise
            time.sleep(_WAIT)


def identity_of(networks: dict[str, nn.Module]) -> str:
    """Of all that decides what networks make of what they are given: weights and configuration."""
    digest = sha256()
    for name, network in sorted(networks.items()):
        config: Any = network.config
        config = config if isinstance(config, dict) else config.to_dict()
        told = {key: value for key, value in config.items() if not key.startswith("_")}
        digest.update(json.dumps([name, told], sort_keys=True, default=str).encode())
        for key, tensor in sorted(network.state_dict().items()):
            digest.update(key.encode())
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _places(folder: Path) -> Places:
    """What the index names, up to the first line that is not whole or whose bytes are not there."""
    size = (folder / _BYTES).stat().st_size if (folder / _BYTES).is_file() else 0
    lines = (folder / _INDEX).read_text("utf-8").splitlines() if (folder / _INDEX).is_file() else []
    places: Places = {}
    for line in lines:
        try:
            told = json.loads(line)
            offset, shape = int(told["at"]), tuple(int(side) for side in told["shape"])
            key, kind = str(told["key"]), np.dtype(str(told["type"]))
        except (ValueError, LookupError, TypeError):
            break
        if offset + math.prod(shape) * kind.itemsize > size:
            break
        places[key] = (offset, shape, kind.name)
    return places


def _line(name: str, at: int, shape: tuple[int, ...], kind: str) -> bytes:
    return json_line({"key": name, "at": at, "shape": list(shape), "type": kind})


def _check_about(folder: Path, maker: Maker) -> None:
    about = folder / _ABOUT
    if not about.is_file():
        about.write_text(json.dumps({maker.kind: maker.identity}) + "\n", "utf-8")
        return
    try:
        told = json.loads(about.read_text("utf-8"))[maker.kind]
    except (ValueError, LookupError, TypeError):
        told = None
    if told != maker.identity:
        raise InputError(
            f"{folder} is of another {maker.kind}",
            expected=f"that of {maker.identity[:16]}",
            remedy="Remove that folder; it is made anew.",
            param=maker.param,
        )
