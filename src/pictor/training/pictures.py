"""Where training's captioned pictures come from: the picturebook, or what `pictor data prepare` wrote.

A source answers by numbers: sample n is a function of the source and of n alone, so that a run goes on
exactly and other processes can draw for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.data.manifest import MANIFEST
from pictor.data.picturebook import Picturebook
from pictor.data.prepared import Prepared, Variation, read_summary

_PURPOSE = 31
"""Number of the random stream that captions, times and noise are drawn from."""


JUDGED_AT_ONCE = 32
"""Held-out samples that are of one size: each so many, from 0 on."""


class Shown(NamedTuple):
    """A picture with a caption."""

    pixels: NDArray[np.uint8]
    """[H, W, 3]."""
    caption: str
    rng: np.random.Generator
    """For what else has to be drawn for this sample."""


def identity(folder: Path) -> str:
    """Which pictures, captions and splits a prepared folder holds, in 16 hexadecimal digits.

    Raises:
        InputError: the folder is not whole.
    """
    read_summary(folder)
    with (folder / MANIFEST).open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:16]


class Pictures(Protocol):
    """Captioned pictures without an end."""

    @property
    def has_held_out(self) -> bool:
        """Whether there are pictures that training never sees."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a model's pictor.json says of them."""

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """Width and height of what it shows; one batch is of one size."""

    def in_batches(self, size: int) -> Pictures:
        """The same pictures, ordered so that each batch of so many samples is of one size."""

    def shown(self, number: int, held_out: bool) -> Shown:
        """Sample `number`, of those for training or of those to judge by: see `JUDGED_AT_ONCE`."""


@dataclass(frozen=True)
class BookPictures:
    """The picturebook's."""

    book: Picturebook
    has_held_out: bool = field(default=True, init=False)

    @property
    def facts(self) -> Mapping[str, Any]:
        book = {"seed": self.book.seed, "mix": asdict(self.book.mix)}
        return {"name": "picturebook", "corpus": self.book.identity, "picturebook": book}

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        return ((self.book.size, self.book.size),)

    def in_batches(self, size: int) -> Pictures:
        return self  # all are of one size

    def shown(self, number: int, held_out: bool) -> Shown:
        scene = self.book.scene(number, held_out=held_out)
        rng = self.book.rng(number, _PURPOSE)
        pixels = self.book.draw(scene, number)
        return Shown(pixels, self.book.caption(scene, rng).text, rng)


@dataclass(frozen=True)
class FolderPictures:
    """A prepared folder's.

    Args:
        folder: that `pictor data prepare` wrote.
        seed: of order and variation.
        variation: of pictures and captions from time to time.
        batch_size: of the run.

    Raises:
        InputError: it is no whole folder of prepared pictures, or has none to train on.
        MissingExtraError: pyarrow is not installed.
    """

    folder: Path
    seed: int
    variation: Variation
    batch_size: int = 1

    def __post_init__(self) -> None:
        _ = self._seen  # errors of the folder show at once

    @cached_property
    def _seen(self) -> Prepared:
        return Prepared(self.folder, seed=self.seed, batch_size=self.batch_size, variation=self.variation)

    @cached_property
    def has_held_out(self) -> bool:
        return self._judged.split == "val"

    @cached_property
    def _judged(self) -> Prepared:
        """Held-out pictures; where all were wanted for training, those."""
        try:
            return Prepared(self.folder, split="val", seed=self.seed, batch_size=JUDGED_AT_ONCE)
        except InputError:
            return Prepared(self.folder, seed=self.seed, batch_size=JUDGED_AT_ONCE)

    @property
    def facts(self) -> Mapping[str, Any]:
        name = self.folder.resolve().parent.name if self.folder.name == "data" else self.folder.name
        pictures = {"pictures": len(self._seen)}
        return {"name": name, "corpus": identity(self.folder), "data": pictures}

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        return self._seen.used_sizes

    def in_batches(self, size: int) -> Pictures:
        return replace(self, batch_size=size)

    def shown(self, number: int, held_out: bool) -> Shown:
        sample = self._seen.sample(number) if not held_out else self._judged.as_it_is(number)
        key = np.array([self.seed, _PURPOSE], np.uint64)
        counter = np.array([0, 0, int(held_out), number], np.uint64)
        rng = np.random.Generator(np.random.Philox(key=key, counter=counter))
        return Shown(sample.pixels, sample.caption, rng)

    def view(self, number: int) -> tuple[int, bool]:
        """Of sample `number` for training: its row in the manifest, and whether it is mirrored."""
        sample = self._seen.sample(number)
        return sample.row, sample.flipped
