"""Which attributes of its caption a picture has, by the judge; and shares of them with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pictor.data.picturebook import Caption
from pictor.data.picturebook.surroundings import RELATION_BY_NAME
from pictor.evaluation.judge import Sight
from pictor.evaluation.metrics import wilson
from pictor.training.judge_views import SIDE, STACK

ATTRIBUTES = ("object", "colour", "count", "background", "style", "relation")
ALL = "all correct"
Marks = dict[str, bool]
"""Attribute -> whether the picture has it as the caption says. What a caption leaves unsaid is not in it."""

_FIRST_COMES_SECOND = ("under", "right of")


def marks(caption: Caption, sight: Sight, index: int) -> Marks:
    """Judge one picture by its caption.

    Two objects are compared with the caption in the order that the judge finds likelier, so that a picture
    with the right objects on the wrong sides has a wrong relation and right objects.

    Args:
        caption: what was asked for.
        sight: what the judge sees.
        index: the picture's row in it.
    """
    found = _pair(caption, sight, index) if caption.relation else _alike(caption, sight, index)
    if caption.place is not None or caption.night is not None:
        place = caption.place is None or sight.best("place")[index] == caption.place
        night = caption.night is None or sight.best("night")[index] == ("night" if caption.night else "day")
        found["background"] = place and night
    if caption.style is not None:
        found["style"] = sight.best("style")[index] == caption.style
    return found


def _alike(caption: Caption, sight: Sight, index: int) -> Marks:
    found = {"object": sight.best("thing1")[index] == caption.thing}
    if caption.colour is not None:
        found["colour"] = sight.best("colour1")[index] == caption.colour
    if caption.count is not None:
        found["count"] = sight.best("layout")[index] == str(caption.count)
    return found


def _pair(caption: Caption, sight: Sight, index: int) -> Marks:
    relation = RELATION_BY_NAME[str(caption.relation)]
    wanted = [(caption.thing, caption.colour), (str(caption.other_thing), caption.other_colour)]
    straight, crossed = (
        sight.odds("thing1", index, one[0]) + sight.odds("thing2", index, two[0])
        for one, two in (wanted, wanted[::-1])
    )
    turned = crossed > straight
    seen = wanted[::-1] if turned else wanted
    found = {"object": all(sight.best(f"thing{n}")[index] == thing for n, (thing, _) in enumerate(seen, 1))}
    colours = [(n, colour) for n, (_, colour) in enumerate(seen, 1) if colour is not None]
    if colours:
        found["colour"] = all(sight.best(f"colour{n}")[index] == colour for n, colour in colours)
    layout = sight.best("layout")[index] == (STACK if relation.upright else SIDE)
    order = relation.name == "next to" or turned == (relation.name in _FIRST_COMES_SECOND)
    found["relation"] = layout and order
    return found


@dataclass(frozen=True, slots=True)
class Share:
    """Successes of trials, at least one, with a 95% interval."""

    right: int
    total: int

    @property
    def share(self) -> float:
        return self.right / self.total

    @property
    def interval(self) -> tuple[float, float]:
        return wilson(self.right, self.total)


def tally(judged: Iterable[Marks]) -> dict[str, Share]:
    """Shares by attribute, and of pictures with all of theirs; attributes not asked for are absent."""
    rows: Sequence[Marks] = list(judged)
    shares = {}
    for name in ATTRIBUTES:
        asked = [row[name] for row in rows if name in row]
        if asked:
            shares[name] = Share(sum(asked), len(asked))
    if rows:
        shares[ALL] = Share(sum(all(row.values()) for row in rows), len(rows))
    return shares
