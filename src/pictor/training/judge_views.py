"""What the judge learns of a scene, and the views of a picture that it learns from. Needs no torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictor.data.picturebook import Item, Picturebook, Scene
from pictor.data.picturebook.surroundings import PLACES, RELATION_BY_NAME, STYLES
from pictor.data.picturebook.vocabulary import COLOURS, THINGS

NATURAL = "natural"
"""The colour of what keeps the font's own colours."""
SIDE, STACK = "side", "stack"
"""Layouts of two different objects: from left to right, and from top to bottom."""
CLASSES: dict[str, list[str]] = {
    "layout": ["1", "2", "3", "4", SIDE, STACK],
    "place": [place.name for place in PLACES],
    "night": ["day", "night"],
    "style": [style.name for style in STYLES],
    "thing": [thing.name for thing in THINGS],
    "colour": [NATURAL, *(colour.name for colour in COLOURS)],
}
NO_LABEL = -100
"""What cross_entropy passes over."""


def in_reading_order(scene: Scene) -> tuple[str, tuple[Item, ...]]:
    """The layout, and the one or two objects that a reader names first and second."""
    if scene.relation is None:
        return str(scene.count), scene.items[:1]
    if RELATION_BY_NAME[scene.relation].upright:
        return STACK, tuple(sorted(scene.items, key=lambda item: item.y))
    return SIDE, tuple(sorted(scene.items, key=lambda item: item.x))


def labels(scene: Scene) -> dict[str, int]:
    """Class numbers by the network's names; what a scene does not have is passed over by the loss."""
    layout, items = in_reading_order(scene)
    found = {
        "layout": CLASSES["layout"].index(layout),
        "place": CLASSES["place"].index(scene.place),
        "night": int(scene.night),
        "style": CLASSES["style"].index(scene.style),
        "thing2": NO_LABEL,
        "colour2": NO_LABEL,
    }
    for number, item in enumerate(items, 1):
        found[f"thing{number}"] = CLASSES["thing"].index(item.thing)
        found[f"colour{number}"] = CLASSES["colour"].index(item.colour or NATURAL)
    return found


def shrunk(picture_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The plain view, which pictures are judged by: the mean over each pixel's area, [size, size, 3]."""
    if picture_HWC.shape[:2] == (size, size):
        return picture_HWC
    return np.asarray(Image.fromarray(picture_HWC).resize((size, size), Image.Resampling.BOX))


_FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


def view(picture_HWC: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One view of a picture, [size, size, 3]; a fifth of views are plain."""
    if rng.random() < 0.2:
        return shrunk(picture_HWC, size)
    side = len(picture_HWC)
    kept = side * float(rng.uniform(0.9, 1.0))
    left, top = (float(rng.uniform(0, side - kept)) for _ in range(2))
    image = Image.fromarray(picture_HWC).resize(
        (size, size), _FILTERS[int(rng.integers(len(_FILTERS)))], box=(left, top, left + kept, top + kept)
    )
    if rng.random() < 0.35:  # soft, as autoencoders and undecided denoisers leave it
        low = int(rng.integers(size * 3 // 8, size))
        image = image.resize((low, low), Image.Resampling.BILINEAR).resize(
            (size, size), Image.Resampling.BICUBIC
        )
    if rng.random() < 0.2:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(35, 90)), subsampling=0)
        image = Image.open(buffer)
    pixels = np.asarray(image, np.float32)
    if rng.random() < 0.6:  # light and contrast, alike in the three colours
        middle = pixels.mean()
        pixels = (pixels - middle) * float(rng.uniform(0.85, 1.1)) + middle + float(rng.uniform(-12, 12))
    if rng.random() < 0.3:
        # In blotches as often as in single pixels.
        cells = size if rng.random() < 0.5 else size // 4
        noise = rng.standard_normal((cells, cells, 3), np.float32) * float(rng.uniform(2, 10))
        pixels = pixels + np.kron(noise, np.ones((size // cells, size // cells, 1), np.float32))
    return np.asarray(np.rint(np.clip(pixels, 0, 255)), np.uint8)


_HELD_OUT_EVERY = 5
"""The judge must know compositions that models are not told; one picture in five shows one."""


class JudgeViews:
    """Numbered views of the pictures of one book; can be pickled to processes that draw.

    Args:
        size: side of the views in pixels.
        drawn: sides that pictures are drawn at, in turn.
        views: views of each picture; view number n is of picture n // views.
        seed: of the book.
        font: as in `Picturebook`.
    """

    def __init__(self, size: int, drawn: Sequence[int], views: int, seed: int, font: Path | None) -> None:
        self.size = size
        self.views = views
        self.books = [Picturebook(side, seed, font) for side in drawn]

    def __call__(self, first: int, count: int) -> dict[str, NDArray[np.generic]]:
        """Views first .. first + count - 1: `image`, uint8 [count, size, size, 3], and labels by name."""
        images, marked = [], []
        picture, drawn = -1, np.empty(0, np.uint8)
        for number in range(first, first + count):
            if number // self.views != picture:
                picture = number // self.views
                scene = self.books[0].scene(picture, held_out=picture % _HELD_OUT_EVERY == 0)
                # The side changes less often than that, so that each side meets both kinds of composition.
                drawn = self.books[picture // _HELD_OUT_EVERY % len(self.books)].draw(scene, picture)
            images.append(view(drawn, self.size, self.books[0].rng(picture, 61 + number % self.views)))
            marked.append(labels(scene))
        return self._together(images, marked)

    def plain(
        self, numbers: Sequence[int], held_out: bool
    ) -> tuple[dict[str, NDArray[np.generic]], list[Scene]]:
        """Plain views of pictures by number, as above, and their scenes."""
        scenes = [self.books[0].scene(number, held_out=held_out) for number in numbers]
        drawn = [self.books[0].draw(scene, number) for number, scene in zip(numbers, scenes, strict=True)]
        return self._together([shrunk(one, self.size) for one in drawn], [labels(s) for s in scenes]), scenes

    def _together(
        self, images: list[NDArray[np.uint8]], marked: list[dict[str, int]]
    ) -> dict[str, NDArray[np.generic]]:
        arrays: dict[str, NDArray[np.generic]] = {"image": np.stack(images)}
        return arrays | {name: np.array([one[name] for one in marked], np.int64) for name in marked[0]}
