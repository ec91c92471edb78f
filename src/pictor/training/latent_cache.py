"""Latents of a prepared folder's pictures, kept so that a frozen autoencoder encodes each of them once.

They lie in the folder, under the autoencoder's own hash, each by its content: hash of the picture's file,
size, and whether it is mirrored. What another autoencoder made is thus never taken for this one's, and what
is there serves pictures that stay where others come or go. Mean and deviation are kept where the autoencoder
tells both, so that each step draws latents of its own.

Bytes are appended and reach the disk before the line that names them, so that a build which was killed goes
on where it was. One process builds; others of the team, or of another run, wait for it.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.data.lock import LOCK, held
from pictor.data.manifest import MANIFEST
from pictor.data.prepared import Prepared
from pictor.data.whole_files import json_line, whole_file
from pictor.training.captioned_latents import CaptionedPictures, PictureEncoder
from pictor.training.devices import networks
from pictor.training.objectives import Objective
from pictor.training.parts import encode
from pictor.training.pictures import FolderPictures

FOLDER = "latents"
_BYTES, _INDEX, _ABOUT = "latents.bin", "index.jsonl", "about.json"
_AT_ONCE = 16
_WAIT = 1.0
Watch = Callable[[int, int], None]
"""Told how many views are kept, and of how many."""


class _View(NamedTuple):
    """A picture as it is shown."""

    key: str
    """Its content and its size."""
    mirrored: bool

    @property
    def name(self) -> str:
        return f"{self.key}-mirrored" if self.mirrored else self.key

    @property
    def size(self) -> str:
        return self.key.rpartition("-")[2]


@dataclass(frozen=True)
class LatentCache:
    """Kept latents to draw from; can be pickled to other processes.

    Args:
        folder: of one autoencoder's.
        data: the prepared pictures.
    """

    folder: Path
    data: Path
    _places: dict[str, tuple[int, tuple[int, ...]]] = field(repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.folder, self.data)

    @cached_property
    def _keys(self) -> list[str]:
        return _keys(self.data)

    @cached_property
    def _bytes(self) -> NDArray[np.uint8]:
        return np.memmap(self.folder / _BYTES, np.uint8, "r")

    def __call__(self, row: int, mirrored: bool, rng: np.random.Generator) -> NDArray[np.float32]:
        """Latents [C, h, w] of a row of the manifest, drawn anew where it is known how they vary."""
        offset, shape = self._places[_View(self._keys[row], mirrored).name]
        kept = self._bytes[offset : offset + _length(shape)].view(np.float32).reshape(shape)
        if len(kept) == 1:
            return np.array(kept[0])
        mean, deviation = kept
        drawn: NDArray[np.float32] = mean + deviation * rng.standard_normal(mean.shape, np.float32)
        return drawn


def use_kept_latents(objective: Objective, watch: Watch | None = None) -> None:
    """Let an objective on its device draw kept latents in the place of pictures; what is missing is made.

    Args:
        objective: one of captioned pictures between a frozen autoencoder's latents.
        watch: told as latents are made.

    Raises:
        InputError: it learns from no prepared folder, its pictures are cut anew each time, or there is no
            autoencoder whose encoding takes any time.
    """
    source = getattr(objective, "source", None)
    if not isinstance(source, CaptionedPictures) or not isinstance(source.pictures, FolderPictures):
        raise _refused("this objective does not encode pictures of a prepared folder", "data in [objective]")
    encoders = [m for net in networks(objective) for m in net.modules() if isinstance(m, PictureEncoder)]
    if not encoders:
        raise _refused("this objective has no frozen autoencoder", "one that encodes the pictures")
    if encoders[0].linear:
        raise _refused(
            "this autoencoder encodes by one product of matrices, which costs next to nothing",
            "an autoencoder whose encoder is a network",
        )
    data = source.pictures.folder
    pictures = Prepared(data)
    if pictures.margin:
        raise _refused(
            f"pictures of {data} have a margin of {pictures.margin} pixels and are cut anew each time",
            "pictures that stay as they are",
            "Prepare them with --margin 0, or leave cache_latents out.",
        )
    mirrored = (False, True) if source.pictures.variation.flip else (False,)
    identity = _identity(encoders[0].autoencoder)
    folder = data / FOLDER / identity[:16]
    busy = InputError(f"{folder} is being written", expected="a cache that nobody writes", param="data")
    while True:
        try:
            with held(folder / LOCK, busy):
                _build(folder, identity, encoders[0], pictures, mirrored, watch)
            break
        except InputError as error:
            if error is not busy:
                raise
            time.sleep(_WAIT)
    objective.source = replace(source, kept=_opened(folder, data))  # type: ignore[attr-defined]


def _refused(what: str, expected: str, remedy: str = "Leave cache_latents out.") -> InputError:
    return InputError(what, expected=expected, remedy=remedy, param="cache_latents")


def _identity(autoencoder: AutoencoderTiny | AutoencoderKL) -> str:
    """Of all that decides what it makes of a picture: weights and configuration."""
    told = {key: value for key, value in autoencoder.config.items() if not key.startswith("_")}
    digest = sha256(json.dumps(told, sort_keys=True, default=str).encode())
    for name, tensor in sorted(autoencoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _keys(data: Path) -> list[str]:
    """A picture and its size, for each row of the manifest."""
    from pyarrow import parquet

    table = parquet.read_table(data / MANIFEST, columns=["sha256", "bucket"])
    columns = (table[name].to_pylist() for name in ("sha256", "bucket"))
    return [f"{picture}-{size}" for picture, size in zip(*columns, strict=True)]


def _opened(folder: Path, data: Path) -> LatentCache:
    return LatentCache(folder, data, dict(_places(folder)))


def _places(folder: Path) -> Iterator[tuple[str, tuple[int, tuple[int, ...]]]]:
    """What the index names, up to the first line that is not whole or whose bytes are not there."""
    size = (folder / _BYTES).stat().st_size if (folder / _BYTES).is_file() else 0
    lines = (folder / _INDEX).read_text("utf-8").splitlines() if (folder / _INDEX).is_file() else []
    for line in lines:
        try:
            told = json.loads(line)
            offset, shape = int(told["at"]), tuple(int(side) for side in told["shape"])
            key = str(told["key"])
        except (ValueError, LookupError, TypeError):
            return
        if offset + _length(shape) > size:
            return
        yield key, (offset, shape)


def _build(
    folder: Path,
    identity: str,
    encoder: PictureEncoder,
    pictures: Prepared,
    mirrored: tuple[bool, ...],
    watch: Watch | None,
) -> None:
    """Make what is missing, a few pictures at a time."""
    _check_about(folder, identity)
    there = dict(_places(folder))
    keys = _keys(pictures.folder)
    rows = {_View(keys[row], flip): row for row in pictures.rows.tolist() for flip in mirrored}
    missing = sorted((view for view in rows if view.name not in there), key=lambda view: view.size)
    end = max((at + _length(shape) for at, shape in there.values()), default=0)
    with whole_file(folder / _INDEX) as index:  # a line that is not whole ends what can be read
        index.writelines(_line(name, at, shape) for name, (at, shape) in there.items())
    with (folder / _BYTES).open("ab") as stream, (folder / _INDEX).open("ab") as index:
        stream.truncate(end)
        done = len(rows) - len(missing)
        for _, alike in groupby(missing, key=lambda view: view.size):
            for part in _batched(alike):
                pixels = np.stack([pictures.plain(rows[view]).pixels for view in part])
                shown = [
                    image[:, ::-1] if view.mirrored else image
                    for view, image in zip(part, pixels, strict=True)
                ]
                moments = _moments(encoder, np.stack(shown))
                stream.write(moments.tobytes())
                stream.flush()
                os.fsync(stream.fileno())
                shape = moments.shape[1:]
                index.writelines(
                    _line(view.name, end + number * _length(shape), shape) for number, view in enumerate(part)
                )
                index.flush()
                end += moments.nbytes
                done += len(part)
                if watch is not None:
                    watch(done, len(rows))


def _check_about(folder: Path, identity: str) -> None:
    about = folder / _ABOUT
    if not about.is_file():
        about.write_text(json.dumps({"autoencoder": identity}) + "\n", "utf-8")
        return
    try:
        told = json.loads(about.read_text("utf-8"))["autoencoder"]
    except (ValueError, LookupError, TypeError):
        told = None
    if told != identity:
        raise InputError(
            f"{folder} holds latents of another autoencoder",
            expected=f"those of {identity[:16]}",
            remedy="Remove that folder; it is made anew.",
            param="cache_latents",
        )


def _batched(views: Iterable[_View]) -> Iterator[list[_View]]:
    rest = iter(views)
    while part := list(islice(rest, _AT_ONCE)):
        yield part


def _line(name: str, at: int, shape: tuple[int, ...]) -> bytes:
    return json_line({"key": name, "at": at, "shape": list(shape)})


def _length(shape: tuple[int, ...]) -> int:
    """Bytes of numbers in float32."""
    return 4 * math.prod(shape)


@torch.no_grad()
def _moments(encoder: PictureEncoder, image_BHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Latents of about unit variance, [B, 1, C, h, w], or [B, 2, C, h, w] with their deviations."""
    autoencoder = encoder.autoencoder
    image = torch.from_numpy(image_BHW3).to(encoder.bias.device).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    if isinstance(autoencoder, AutoencoderTiny):
        found = encode(autoencoder, image)[:, None]
    else:
        coded = autoencoder.encode(image).latent_dist
        shift, scale = autoencoder.config.shift_factor or 0.0, autoencoder.config.scaling_factor
        found = torch.stack([(coded.mean - shift) * scale, coded.std * scale], 1)
    kept: NDArray[np.float32] = found.float().cpu().numpy()
    return kept
