"""A vocabulary's phrases as a text encoder puts them, and which of them say what a scene shows.

`pictor describe` puts captions together in steps: the object, then number and colour, then the place, then
the style (`pictor.engine.describe`). For each step there is a group of phrases that differ in this alone, and
one of them says all that can be said. So a picture can be told against the whole vocabulary at once, which a
batch's own captions cannot do.

Legend of array shapes: B pictures, L languages, T objects, N phrases, D numbers of the common space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pictor.data.picturebook import Scene
from pictor.data.picturebook.phrases import phrase_tables
from pictor.data.picturebook.surroundings import PLACES, STYLES
from pictor.data.picturebook.vocabulary import COLOURS, THING_BY_NAME, THINGS
from pictor.families.parts.describing import Words

_COUNTS = (1, 2, 3, 4)
_COLOURS = (None, *(colour.name for colour in COLOURS))
_PLACES = ("", *(place.name for place in PLACES), *(f"{p.name} at night" for p in PLACES if p.outdoors))
_STYLES = ("", *(style.name for style in STYLES if style.after))
_GROUPS = (len(_COUNTS) * len(_COLOURS), len(_PLACES), len(_STYLES))
_LANGUAGES = ("en", "zh")


def names_of(things: Sequence[str]) -> tuple[str, ...]:
    """The objects of a mix that names these; none for all."""
    return tuple(things) or tuple(thing.name for thing in THINGS)


def true_phrases(scene: Scene, things: Sequence[str], rng: np.random.Generator) -> dict[str, int]:
    """Which phrases say what a scene shows.

    Args:
        scene: of these objects. Of two in a relation either is asked for, and both are true.
        things: as `names_of` has them.
        rng: chooses the language, and which of two.

    Returns:
        `language`, `thing`, `also` (the other object, else the same), `look` (number and colour), `place` and
        `style`, as indices.
    """
    asked = int(rng.integers(2)) if scene.relation else 0
    item, other = scene.items[asked], scene.items[1 - asked if scene.relation else 0]
    return {
        "language": int(rng.integers(len(_LANGUAGES))),
        "thing": things.index(item.thing),
        "also": things.index(other.thing),
        "look": _COUNTS.index(scene.count) * len(_COLOURS) + _COLOURS.index(item.colour),
        "place": _PLACES.index(f"{scene.place} at night" if scene.night else scene.place),
        "style": _STYLES.index(scene.style) if scene.style in _STYLES else 0,
    }


class PhraseBank(nn.Module):
    """Tells pictures against the phrases of some objects.

    Args:
        things: names of objects of the picturebook; none for all.
        encode: from texts to where they lie, [N, D].
    """

    def __init__(self, things: Sequence[str], encode: Callable[[Sequence[str]], torch.Tensor]) -> None:
        super().__init__()
        tables, names = phrase_tables(things), names_of(things)
        rows = [
            torch.stack([encode(_phrases(Words(**tables[language]), name)) for name in names])
            for language in _LANGUAGES
        ]
        self.phrases_LTND: torch.Tensor
        self.register_buffer("phrases_LTND", F.normalize(torch.stack(rows), dim=-1))
        # What cannot be counted has the same phrases for every number.
        countable_T1 = torch.tensor([THING_BY_NAME[name].countable for name in names])[:, None]
        self.missing_TN: torch.Tensor
        self.register_buffer("missing_TN", ~countable_T1 & (torch.arange(_GROUPS[0]) >= len(_COLOURS)))

    def forward(self, seen_BD: torch.Tensor, true: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Cross-entropy of each group's true phrase, by its name.

        Args:
            seen_BD: where the pictures lie, of the length that cosines are scaled by.
            true: of `true_phrases`, as tensors [B].
        """
        language_B, thing_B = true["language"], true["thing"]
        things_BT = torch.einsum("bd,btd->bt", seen_BD, self.phrases_LTND[language_B, :, 0])
        shares_BT = (F.one_hot(thing_B, things_BT.shape[1]) + F.one_hot(true["also"], things_BT.shape[1])) / 2
        rest_BN = torch.einsum("bd,bnd->bn", seen_BD, self.phrases_LTND[language_B, thing_B])
        looks, places, styles = rest_BN.split(_GROUPS, 1)  # type: ignore[no-untyped-call]
        return {
            "thing": F.cross_entropy(things_BT, shares_BT),
            "look": F.cross_entropy(looks.masked_fill(self.missing_TN[thing_B], -1e4), true["look"]),
            "place": F.cross_entropy(places, true["place"]),
            "style": F.cross_entropy(styles, true["style"]),
        }


def _phrases(words: Words, thing: str) -> list[str]:
    """Of one object: numbers and colours, then places, then styles."""
    forms = len(words.things[thing]["plain"])
    looks = [words.caption(thing, min(count, forms), colour) for count in _COUNTS for colour in _COLOURS]
    places = [words.caption(thing, place=place) for place in _PLACES]
    return [*looks, *places, *(words.caption(thing, style=style) for style in _STYLES)]
