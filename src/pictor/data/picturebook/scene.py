"""The record of one picture."""

from __future__ import annotations

from dataclasses import dataclass

from pictor.data.picturebook.hold_out import pair_held_out, triple_held_out


@dataclass(frozen=True, slots=True)
class Item:
    """One object in a picture."""

    thing: str
    colour: str | None
    """None is the natural colour."""
    size: float
    """Side as a share of the picture's side."""
    x: float
    y: float
    """Centre as shares of the picture's side, from the left and from the top."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What one picture shows."""

    items: tuple[Item, ...]
    """One to four alike objects, or the two of a relation: items[0] RELATION items[1]."""
    relation: str | None
    place: str
    night: bool
    style: str

    @property
    def subject(self) -> Item:
        return self.items[0]

    @property
    def other(self) -> Item | None:
        """The second object of a relation."""
        return self.items[1] if self.relation else None

    @property
    def count(self) -> int:
        """How many alike objects there are."""
        return 1 if self.relation else len(self.items)


def is_held_out(scene: Scene) -> bool:
    """Whether a scene holds an object in a colour, or a relation, that training never sees."""
    if any(pair_held_out(item.thing, item.colour) for item in scene.items):
        return True
    other = scene.other
    return (
        other is not None
        and scene.relation is not None
        and triple_held_out(scene.subject.thing, scene.relation, other.thing)
    )
