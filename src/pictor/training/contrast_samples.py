"""Pictures with captions that are to be told apart, and which captions are true of which pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from transformers import CLIPTokenizer

from pictor.data.picturebook import Picturebook, Scene, describes
from pictor.training.phrase_bank import names_of, true_phrases
from pictor.training.picture_views import varied
from pictor.training.pictures import FolderPictures
from pictor.training.tokenizer import tokenize

_CAPTIONS, _VIEWS, _PHRASES = 22, 62, 63
"""Numbers of random streams."""
_OWN_CAPTIONS = 1_000
"""Pictures of one's own whose captions are looked at."""


class Contrast(NamedTuple):
    """Pictures with captions, some of which are true of several."""

    pictures: list[NDArray[np.uint8]]
    captions: list[str]
    """First one of each picture, then those that are nearly right, if any."""
    labels: NDArray[np.bool_]
    """[pictures, captions]: which are true of which."""
    scenes: list[Scene]
    """Empty for one's own pictures."""


@dataclass(frozen=True, kw_only=True)
class ContrastSamples:
    """Draws samples by their numbers; can be pickled to other processes."""

    source: Picturebook | FolderPictures
    tokenizer: CLIPTokenizer
    size: int
    """Side of the pictures in pixels."""
    seed: int
    views: int
    """Samples that are of the same picture, one after the other."""
    varied: bool
    """Whether each sample is a view of its own."""
    phrases: bool
    """Whether to say which phrases are true."""

    def __call__(self, first: int, count: int) -> dict[str, NDArray[Any]]:
        """Samples first .. first + count - 1, a pure function of the seed and the numbers.

        Returns:
            image [B, H, W, 3] uint8; ids [S, T] int64, of the captions of all these pictures; labels [B, S]
            bool, which are true of which; and "true.*" [B] of `true_phrases`, where wished.
        """
        start = first // self.views
        shown = self.shown(range(start, (first + count - 1) // self.views + 1))
        numbers = range(first, first + count)
        rows = [number // self.views - start for number in numbers]
        pictures = [shown.pictures[row] for row in rows]
        if self.varied:
            rngs = [self._rng(number, _VIEWS) for number in numbers]
            pictures = [varied(picture, rng) for picture, rng in zip(pictures, rngs, strict=True)]
        arrays: dict[str, NDArray[Any]] = {
            "image": np.stack(pictures),
            "ids": tokenize(self.tokenizer, shown.captions).numpy(),
            "labels": shown.labels[rows],
        }
        if self.phrases and isinstance(self.source, Picturebook):
            things = names_of(self.source.mix.things)
            true = [
                true_phrases(shown.scenes[row], things, self._rng(number, _PHRASES))
                for number, row in zip(numbers, rows, strict=True)
            ]
            arrays |= {f"true.{name}": np.array([one[name] for one in true]) for name in true[0]}
        return arrays

    def _rng(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.seed, purpose], counter=[0, 0, 0, number]))

    @property
    def has_held_out(self) -> bool:
        """Whether some of its pictures are never learnt from."""
        return not isinstance(self.source, FolderPictures) or self.source.has_held_out

    def shown(self, numbers: Sequence[int], *, held_out: bool = False) -> Contrast:
        """Pictures by number; of those that are held out of one's own, each once."""
        if isinstance(self.source, FolderPictures):
            samples = [self.source.shown(number, held_out) for number in numbers]
            if held_out:  # there may be few, which come again and again
                samples = list({(one.pixels.tobytes(), one.caption): one for one in samples}.values())
            words = np.array([sample.caption for sample in samples])
            pictures = [_squared(sample.pixels, self.size) for sample in samples]
            return Contrast(pictures, words.tolist(), words[:, None] == words[None], [])
        book = self.source
        scenes = [book.scene(number, held_out=held_out) for number in numbers]
        true, false = [], []
        for number, scene in zip(numbers, scenes, strict=True):
            rng = book.rng(number, _CAPTIONS)
            true.append(book.caption(scene, rng))
            false.append(book.caption(book.confused(scene, rng), rng))
        captions = true + false
        labels = np.array([[describes(caption, scene) for caption in captions] for scene in scenes])
        drawn = [book.draw(scene, number) for number, scene in zip(numbers, scenes, strict=True)]
        return Contrast(drawn, [caption.text for caption in captions], labels, scenes)


def own_captions(own: FolderPictures) -> list[str]:
    """Captions of some of one's own pictures."""
    count = min(int(own.facts["data"]["pictures"]), _OWN_CAPTIONS)
    return [own.shown(number, False).caption for number in range(count)]


def _squared(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The shorter side scaled and the middle cut out, as describing prepares pictures."""
    if picture.shape[:2] == (side, side):
        return picture
    return np.asarray(ImageOps.fit(Image.fromarray(picture), (side, side), Image.Resampling.BICUBIC))
