"""Words for a scene, in English and Chinese: always true, not always complete."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pictor.data.picturebook.vocabulary import COLOUR_BY_NAME, PLACE_BY_NAME, THING_BY_NAME

_FRAMES = ("{}", "{}", "{}", "a picture of {}", "a drawing of {}", "{}, emoji")
_ZH_FRAMES = ("{}", "{}", "{}", "{}的图片", "一幅{}的画")
_PLURAL = ("grapes", "cherries")
_MASS = ("bread", "cheese", "corn")


@dataclass(frozen=True, slots=True)
class Caption:
    """Words, and which attributes of the scene they name (None: unsaid)."""

    text: str
    thing: str
    colour: str | None
    place: str | None


def noun_phrase(name: str, colour: str | None) -> str:
    """Words for one object, with the article that the words take: "an orange cat", "red cherries"."""
    words = f"{colour} {name}" if colour else name
    if name in _PLURAL or name in _MASS:
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def english(thing: str, colour: str | None, place: str | None, rng: np.random.Generator) -> str:
    """One English caption.

    Args:
        thing: natural name of the object.
        colour: its colour, None to leave it unsaid.
        place: the background, None to leave it unsaid.
        rng: chooses synonym, phrase and frame.
    """
    name = str(rng.choice(THING_BY_NAME[thing].names))
    bare = rng.random() < 0.15
    phrase = (f"{colour} {name}" if colour else name) if bare else noun_phrase(name, colour)
    if place:
        phrase = f"{phrase} {rng.choice(PLACE_BY_NAME[place].phrases)}"
    return str(rng.choice(_FRAMES)).format(phrase)


def chinese(thing: str, colour: str | None, place: str | None, rng: np.random.Generator) -> str:
    """One Chinese caption; arguments as in `english`."""
    entry = THING_BY_NAME[thing]
    words = entry.zh
    if colour:
        full = COLOUR_BY_NAME[colour].zh
        words = (
            full + "的"
            if rng.random() < 0.6
            else full.removesuffix("色") + ("" if len(entry.zh) > 1 else "色")
        ) + words
    if rng.random() < 0.6:
        words = f"一{entry.measure}{words}"
    if place:
        words = f"{rng.choice(PLACE_BY_NAME[place].zh_phrases)}{words}"
    return str(rng.choice(_ZH_FRAMES)).format(words)
