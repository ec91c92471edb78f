"""Training pictures to compare with: those whose captions would be nearest to a prompt, and any at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pictor.data.picturebook import Caption, Item, Mix, Picturebook, Scene
from pictor.data.picturebook.surroundings import PLACES, RELATIONS, STYLES
from pictor.data.picturebook.vocabulary import COLOURS, THINGS

_UNSAID = -2
_NONE = -1
_TURN = {"under": "on", "right of": "left of"}
_NAMES = {
    "thing": [thing.name for thing in THINGS],
    "colour": [colour.name for colour in COLOURS],
    "place": [place.name for place in PLACES],
    "style": [style.name for style in STYLES],
    "relation": [relation.name for relation in RELATIONS],
}
_NUMBERS = {kind: {name: number for number, name in enumerate(names)} for kind, names in _NAMES.items()}
# Equal counts of shared attributes are told apart by which ones: the object before all else.
_WEIGHTS = np.array([1.06, 1.04, 1.05, 1.01, 1.0, 1.02, 1.03, 1.055, 1.0])


class Library:
    """The first pictures of a training run's book.

    Args:
        size: side of its pictures in pixels.
        seed: of the book that the model was trained on.
        scenes: how many of its pictures are searched.
        font: as in `Picturebook`.
        mix: kinds of scene of that book.
    """

    def __init__(
        self, size: int, seed: int, scenes: int, font: Path | None = None, mix: Mix | None = None
    ) -> None:
        self.book = Picturebook(size, seed, font, mix)
        self.scenes = [self.book.scene(number) for number in range(scenes)]
        self._rows = np.array([_scene_row(scene) for scene in self.scenes], np.int16)

    def nearest(self, caption: Caption, count: int = 1) -> list[int]:
        """Numbers of the pictures that share most of what a caption names, best first."""
        wanted = np.array(_caption_row(caption), np.int16)
        shared = ((self._rows == wanted) & (wanted != _UNSAID)) @ _WEIGHTS
        # Stable, so that equals come in their numbers' order on every machine.
        return [int(number) for number in np.argsort(-shared, kind="stable")[:count]]

    def draw(self, numbers: Sequence[int]) -> list[NDArray[np.uint8]]:
        """Pictures as training saw them."""
        return [self.book.draw(self.scenes[number], number) for number in numbers]


def _in_order(relation: str | None, first: Item, second: Item | None) -> tuple[str | None, Item, Item | None]:
    """One name for each arrangement: "A under B" is "B on A"."""
    if relation in _TURN and second is not None:
        return _TURN[relation], second, first
    return relation, first, second


def _scene_row(scene: Scene) -> list[int]:
    relation, first, second = _in_order(scene.relation, scene.subject, scene.other)
    return [
        _number("thing", first.thing),
        _number("colour", first.colour),
        scene.count,
        _number("place", scene.place),
        int(scene.night),
        _number("style", scene.style),
        _number("relation", relation),
        _number("thing", second.thing if second else None),
        _number("colour", second.colour if second else None),
    ]


def _caption_row(caption: Caption) -> list[int]:
    first = Item(caption.thing, caption.colour, 0, 0, 0)
    second = Item(caption.other_thing, caption.other_colour, 0, 0, 0) if caption.other_thing else None
    relation, first, second = _in_order(caption.relation, first, second)

    def said(name: str, value: str | None) -> int:
        return _UNSAID if value is None else _number(name, value)

    return [
        _number("thing", first.thing),
        said("colour", first.colour),
        _UNSAID if caption.count is None else caption.count,
        said("place", caption.place),
        _UNSAID if caption.night is None else int(caption.night),
        said("style", caption.style),
        _number("relation", relation),
        _number("thing", second.thing if second else None),
        said("colour", second.colour if second else None),
    ]


def _number(name: str, value: str | None) -> int:
    return _NONE if value is None else _NUMBERS[name][value]
