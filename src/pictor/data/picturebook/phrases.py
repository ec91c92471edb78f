"""The picturebook's words as tables, from which captions can be put together and compared with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pictor.data.picturebook.captions import noun_phrase, zh_counted
from pictor.data.picturebook.surroundings import (
    NIGHT_PHRASES,
    NIGHT_SKY_PHRASES,
    PLACES,
    STYLES,
    ZH_NIGHT,
    ZH_NIGHT_SKY,
)
from pictor.data.picturebook.vocabulary import COLOURS, THING_BY_NAME, THINGS, Thing

_MARK = "COLOUR"


def phrase_tables(things: Sequence[str] = ()) -> dict[str, Any]:
    """Tables by language; see `pictor.families.parts.describing` for their form.

    Args:
        things: names of the objects to speak of; none for all.
    """
    chosen = [THING_BY_NAME[name] for name in things] or list(THINGS)
    return {
        "en": {
            "pattern": "{thing}{place}{style}",
            "things": {thing.name: _english(thing) for thing in chosen},
            "colours": {
                colour.name: {
                    "colour": colour.name,
                    "a_colour": f"{'an' if colour.name[0] in 'aeiou' else 'a'} {colour.name}",
                }
                for colour in COLOURS
            },
            "places": _places("en"),
            "styles": {style.name: f", {style.after[0]}" for style in STYLES if style.after},
        },
        "zh": {
            "pattern": "{place}{thing}{style}",
            "things": {thing.name: _chinese(thing) for thing in chosen},
            "colours": {colour.name: {"colour": f"{colour.zh}的"} for colour in COLOURS},
            "places": _places("zh"),
            "styles": {style.name: f",{style.zh_after[0]}" for style in STYLES if style.zh_after},
        },
    }


def _counts(thing: Thing) -> range:
    return range(1, 5 if thing.countable else 2)


def _english(thing: Thing) -> dict[str, list[str]]:
    plain = [noun_phrase(thing, thing.name, None, count) for count in _counts(thing)]
    coloured = [noun_phrase(thing, thing.name, _MARK, count) for count in _counts(thing)]
    slots = [text.replace(f"a {_MARK}", "{a_colour}").replace(_MARK, "{colour}") for text in coloured]
    return {"plain": plain, "coloured": slots}


def _chinese(thing: Thing) -> dict[str, list[str]]:
    name = thing.zh_names[0]
    return {
        "plain": [zh_counted(thing, name, count) for count in _counts(thing)],
        "coloured": [zh_counted(thing, f"{{colour}}{name}", count) for count in _counts(thing)],
    }


def _places(language: str) -> dict[str, str]:
    """By day, and by night where that can be seen."""
    english = language == "en"
    table = {place.name: f" {place.phrases[0]}" if english else place.zh_phrases[0] for place in PLACES}
    for place in PLACES:
        if place.outdoors:
            by_day = table[place.name]
            by_night = f"{by_day} {NIGHT_PHRASES[0]}" if english else f"{ZH_NIGHT}{by_day}"
            if place.name == "sky":
                by_night = f" {NIGHT_SKY_PHRASES[0]}" if english else ZH_NIGHT_SKY[0]
            table[f"{place.name} at night"] = by_night
    return table
