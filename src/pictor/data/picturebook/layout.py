"""Where objects stand, and how large they are: apart from each other, and whole within the picture."""

from __future__ import annotations

import numpy as np

from pictor.data.picturebook.scene import Item
from pictor.data.picturebook.surroundings import Relation

Coat = tuple[str, str | None]
"""A thing and its colour."""

_SPOTS: dict[int, tuple[tuple[tuple[float, float], ...], ...]] = {
    2: (((0.26, 0.55), (0.74, 0.55)),),
    3: (((0.5, 0.27), (0.26, 0.73), (0.74, 0.73)), ((0.26, 0.27), (0.74, 0.27), (0.5, 0.73))),
    4: (((0.26, 0.27), (0.74, 0.27), (0.26, 0.73), (0.74, 0.73)),),
}
"""Centres (x, y) of two to four objects."""
_SEVERAL = {2: (0.40, 0.46), 3: (0.37, 0.43), 4: (0.37, 0.43)}
_WHOLE = (0.70, 0.84)
_SMALL = (0.38, 0.54)
_RELATED = (0.40, 0.46)


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _inside(value: float, size: float) -> float:
    return min(max(value, size / 2 + 0.01), 1 - size / 2 - 0.01)


def alike(
    thing: str, colour: str | None, count: int, small: bool, rng: np.random.Generator
) -> tuple[Item, ...]:
    """One to four alike objects; `small` lets a single one be small and stand anywhere."""
    if count == 1:
        size = _uniform(rng, *(_SMALL if small else _WHOLE))
        slack = (1 - size) / 2 * (0.9 if small else 0.7)
        x, y = 0.5 + _uniform(rng, -slack, slack), 0.5 + _uniform(rng, -slack, slack)
        return (Item(thing, colour, size, x, y),)
    spots = _SPOTS[count][int(rng.integers(len(_SPOTS[count])))]
    size = _uniform(rng, *_SEVERAL[count])
    items = []
    for x, y in spots:
        dx, dy = _uniform(rng, -0.015, 0.015), _uniform(rng, -0.03, 0.03)
        items.append(Item(thing, colour, size, _inside(x + dx, size), _inside(y + dy, size)))
    return tuple(items)


def pair(first: Coat, second: Coat, relation: Relation, rng: np.random.Generator) -> tuple[Item, Item]:
    """The two objects of a relation, the first as the relation says to the second."""
    sizes = _uniform(rng, *_RELATED), _uniform(rng, *_RELATED)
    shift = _uniform(rng, -0.05, 0.05)
    if relation.upright:
        centres = [(0.5 + shift, 0.5 - sizes[0] / 2 - 0.01), (0.5 + shift, 0.5 + sizes[1] / 2 - 0.01)]
        if relation.name == "under":
            centres = [(0.5 + shift, 0.5 + sizes[0] / 2 - 0.01), (0.5 + shift, 0.5 - sizes[1] / 2 - 0.01)]
    else:
        left = relation.name == "left of" or (relation.name == "next to" and rng.random() < 0.5)
        centres = [(0.26, 0.56 + shift), (0.74, 0.56 + shift)]
        centres = centres if left else centres[::-1]
    one, two = (
        Item(thing, colour, size, _inside(x, size), _inside(y, size))
        for (thing, colour), size, (x, y) in zip((first, second), sizes, centres, strict=True)
    )
    return one, two
