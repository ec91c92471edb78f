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
    retold: str | None = None
    """What the caption says in another language, where the source tells it."""


class View(NamedTuple):
    """A picture as it is shown each time."""

    content: str
    """Of its file, and its size: "HASH-SIZE"."""
    row: int
    """In the source's order."""
    mirrored: bool = False

    @property
    def name(self) -> str:
        return f"{self.content}-mirrored" if self.mirrored else self.content

    @property
    def size(self) -> str:
        return self.content.rpartition("-")[2]


class StillPictures(Protocol):
    """Pictures that no chance changes, but for mirroring."""

    @property
    def folder(self) -> Path:
        """Where what is made of them can be kept."""

    def views(self) -> list[View]:
        """All that training sees."""

    def view(self, number: int) -> View:
        """What training sees as sample `number`."""

    def look(self, view: View) -> NDArray[np.uint8]:
        """Its pixels [H, W, 3]."""


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

    @property
    def folder(self) -> Path | None:
        """Where what is made of pictures or captions can be kept."""

    @property
    def still(self) -> StillPictures | None:
        """The same, where training sees them as they are each time."""

    @property
    def captions(self) -> Sequence[str] | None:
        """All that training reads besides the empty one; None where there is no end of them."""

    def in_batches(self, size: int) -> Pictures:
        """The same pictures, ordered so that each batch of so many samples is of one size."""

    def shown(self, number: int, held_out: bool) -> Shown:
        """Sample `number`, of those for training or of those to judge by: see `JUDGED_AT_ONCE`."""


@dataclass(frozen=True)
class BookPictures:
    """The picturebook's."""

    book: Picturebook
    retold: str | None = None
    """Language in which what each caption says is told again."""
    has_held_out: bool = field(default=True, init=False)
    folder: Path | None = field(default=None, init=False)
    still: StillPictures | None = field(default=None, init=False)
    captions: Sequence[str] | None = field(default=None, init=False)

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
        retold = None
        if self.retold is not None:
            retold = self.book.retold(scene, self.book.rng(number, _PURPOSE), self.retold).text
        return Shown(pixels, self.book.caption(scene, rng).text, rng, retold)


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

    @property
    def still(self) -> StillPictures | None:
        return None if self._seen.margin else self

    @property
    def captions(self) -> Sequence[str] | None:
        if self.variation.shuffle_tags or self.variation.drop_tags:
            return None
        return self._seen.captions

    @cached_property
    def _contents(self) -> list[str]:
        """A picture and its size, for each row of the manifest."""
        from pyarrow import parquet

        table = parquet.read_table(self.folder / MANIFEST, columns=["sha256", "bucket"])
        columns = (table[name].to_pylist() for name in ("sha256", "bucket"))
        return [f"{picture}-{size}" for picture, size in zip(*columns, strict=True)]

    def views(self) -> list[View]:
        ways = (False, True) if self.variation.flip else (False,)
        return [View(self._contents[row], row, way) for row in self._seen.rows.tolist() for way in ways]

    def view(self, number: int) -> View:
        sample = self._seen.sample(number)
        return View(self._contents[sample.row], sample.row, sample.flipped)

    def look(self, view: View) -> NDArray[np.uint8]:
        pixels = self._seen.plain(view.row).pixels
        return pixels[:, ::-1] if view.mirrored else pixels
