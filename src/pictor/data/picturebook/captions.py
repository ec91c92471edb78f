"""Words for a scene, in English and Chinese: always true, not always complete."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pictor.data.picturebook.hold_out import template_held_out
from pictor.data.picturebook.scene import Item, Scene
from pictor.data.picturebook.surroundings import (
    NIGHT_PHRASES,
    NIGHT_SKY_PHRASES,
    PLACE_BY_NAME,
    RELATION_BY_NAME,
    STYLE_BY_NAME,
    ZH_NIGHT,
    ZH_NIGHT_SKY,
)
from pictor.data.picturebook.vocabulary import (
    COLOUR_BY_NAME,
    THING_BY_NAME,
    Thing,
    article,
    has_article,
    plural,
)

_COUNTS = {2: "two", 3: "three", 4: "four"}
_ZH_COUNTS = {1: "一", 2: "两", 3: "三", 4: "四"}
_PLAIN_FRAMES = 6
"""How often the bare words stand against each of the other frames."""
_FRAMES = (
    ("{}",) * _PLAIN_FRAMES
    + ("a picture of {}", "a drawing of {}", "an image of {}", "an illustration of {}", "a photo of {}")
    + (
        "{}, emoji",
        "{}, illustration",
        "{}, clip art",
        "draw {}",
        "show me {}",
        "i want {}",
        "please draw {}",
    )
    + ("a cute picture of {}", "a simple drawing of {}", "{} please", "an icon of {}", "{}, children's book")
)
_ZH_FRAMES = (
    ("{}",) * _PLAIN_FRAMES
    + ("{}的图片", "{}的画", "一幅{}的画", "一张{}的图片", "画{}", "请画{}", "我想要{}", "这是{}", "给我看{}")
    + ("{},插画", "{},图标", "{}的插图", "简单的画:{}", "一张{}的照片")
)
_ORDERS = ("place last", "place last", "place last", "place first")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Words, and which attributes of the scene they name (None: unsaid)."""

    text: str
    language: str
    """"en" or "zh"."""
    template: str
    """The form that the words were put in."""
    thing: str
    colour: str | None = None
    count: int | None = None
    place: str | None = None
    night: bool | None = None
    style: str | None = None
    relation: str | None = None
    other_thing: str | None = None
    other_colour: str | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """Which attributes a caption is to name."""

    colour: bool = True
    other_colour: bool = True
    place: bool = True
    night: bool = True
    style: bool = True
    relation: bool = True


def choose_said(scene: Scene, rng: np.random.Generator) -> Said:
    """Drop attributes at random; what decides the picture most is dropped least."""
    colour, other, place, night, style = rng.random(5)
    return Said(
        colour=bool(colour < 0.93),
        other_colour=bool(other < 0.93),
        place=bool(place < (0.5 if scene.place == "white" else 0.85)),
        night=bool(night < 0.95),
        style=bool(style < (0.05 if scene.style == "plain" else 0.95)),
    )


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[int(rng.integers(len(choices)))]


def noun_phrase(thing: Thing, name: str, colour: str | None, count: int = 1, *, bare: bool = False) -> str:
    """English for some alike objects: "an orange cat", "red cherries", "two slices of cake"."""
    words = (
        f"{colour} {plural(name) if count > 1 else name}" if colour else plural(name) if count > 1 else name
    )
    if count > 1:
        return f"{_COUNTS[count]} {words}"
    if bare or not has_article(name):
        return words
    return f"{article(words)} {words}"


def _english_object(item: Item, colour: bool, count: int, rng: np.random.Generator) -> str:
    thing = THING_BY_NAME[item.thing]
    names = [name for name in thing.names if count == 1 or has_article(name)]
    # The natural name is said most, its synonyms now and then.
    name = names[0] if rng.random() < 0.7 else _pick(rng, tuple(names))
    word = _pick(rng, COLOUR_BY_NAME[item.colour].words) if colour and item.colour else None
    return noun_phrase(thing, name, word, count, bare=bool(rng.random() < 0.12))


def _english_place(scene: Scene, said: Said, rng: np.random.Generator) -> str:
    night = scene.night and said.night
    if scene.place == "sky" and scene.night:
        return _pick(rng, NIGHT_SKY_PHRASES) if said.place and night else ""
    words = [_pick(rng, PLACE_BY_NAME[scene.place].phrases)] if said.place else []
    return " ".join([*words, _pick(rng, NIGHT_PHRASES)] if night else words)


def english(scene: Scene, said: Said, frame: str, order: str, rng: np.random.Generator) -> str:
    """One English caption.

    Args:
        scene: what to speak of.
        said: which attributes to name.
        frame: a template with one {} for the description.
        order: "place last" or "place first".
        rng: chooses synonyms and phrases.
    """
    words = _english_object(scene.subject, said.colour, scene.count, rng)
    other = scene.other
    if other is not None and scene.relation is not None and said.relation:
        relation = _pick(rng, RELATION_BY_NAME[scene.relation].words)
        words = f"{words} {relation} {_english_object(other, said.other_colour, 1, rng)}"
    place = _english_place(scene, said, rng)
    if place:
        words = f"{words} {place}" if order == "place last" else f"{place}, {words}"
    style = STYLE_BY_NAME[scene.style]
    if said.style and style.after:
        before = order == "place last" and rng.random() < 0.4
        words = f"{_pick(rng, style.before)} {words}" if before else f"{words}, {_pick(rng, style.after)}"
        frame = "{}" if before else frame
    return frame.format(words)


def zh_counted(thing: Thing, words: str, count: int) -> str:
    """Chinese for some alike objects, named by these words: "三个红苹果"."""
    return f"{_ZH_COUNTS[count]}{thing.measure}{words}"


def _chinese_object(item: Item, colour: bool, count: int | None, rng: np.random.Generator) -> str:
    thing = THING_BY_NAME[item.thing]
    name = thing.zh_names[0] if rng.random() < 0.7 else _pick(rng, thing.zh_names)
    words = name
    if colour and item.colour:
        full = COLOUR_BY_NAME[item.colour].zh
        short = full.removesuffix("色") + ("" if len(name) > 1 else "色")
        words = (full + "的" if rng.random() < 0.7 else short) + name
    return zh_counted(thing, words, count) if count else words


def chinese(scene: Scene, said: Said, frame: str, order: str, rng: np.random.Generator) -> str:
    """One Chinese caption; arguments as in `english`, where the place stands by Chinese order."""
    count = scene.count if scene.count > 1 or rng.random() < 0.6 else None
    words = _chinese_object(scene.subject, said.colour, count, rng)
    other = scene.other
    if other is not None and scene.relation is not None and said.relation:
        behind = _chinese_object(other, said.other_colour, 1 if rng.random() < 0.4 else None, rng)
        words = _pick(rng, RELATION_BY_NAME[scene.relation].zh).format(behind) + words
    night = scene.night and said.night
    place = ""
    if scene.place == "sky" and scene.night:
        place = _pick(rng, ZH_NIGHT_SKY) if said.place and night else ""
    elif said.place:
        place = (ZH_NIGHT if night else "") + _pick(rng, PLACE_BY_NAME[scene.place].zh_phrases)
    elif night:
        place = f"{ZH_NIGHT}的"
    if place:
        words = f"{place}{words}" if order == "place last" else f"{place.removesuffix('的')},{words}"
    style = STYLE_BY_NAME[scene.style]
    if said.style and style.zh_after:
        before = order == "place last" and rng.random() < 0.5
        words = f"{_pick(rng, style.zh_before)}{words}" if before else f"{words},{_pick(rng, style.zh_after)}"
    return frame.format(words)


def caption(
    scene: Scene,
    said: Said,
    rng: np.random.Generator,
    *,
    language: str,
    held_out_template: bool | None = False,
) -> Caption:
    """True words for a scene.

    Args:
        scene: what to speak of.
        said: which attributes to name.
        rng: chooses template, synonyms and phrases.
        language: "en" or "zh".
        held_out_template: use the templates that training never sees, or those it sees; None for all.
    """
    frames = _FRAMES if language == "en" else _ZH_FRAMES
    while True:
        frame = _pick(rng, frames)
        # "A picture of on mars, a rabbit" is no English: a place goes first only where nothing stands before.
        order = _pick(rng, _ORDERS) if frame.startswith("{}") else "place last"
        template = f"{language}|{frame}|{order}"
        if held_out_template is None or template_held_out(template) == held_out_template:
            break
    speak = english if language == "en" else chinese
    other = scene.other if said.relation else None
    # A dark sky without its place would be called by neither, and its words say both or nothing.
    dark_sky = scene.place == "sky" and scene.night and not (said.place and said.night)
    place = scene.place if said.place and not dark_sky else None
    night = scene.night if (said.night and not dark_sky) and (scene.night or said.place) else None
    return Caption(
        text=speak(scene, said, frame, order, rng),
        language=language,
        template=template,
        thing=scene.subject.thing,
        colour=scene.subject.colour if said.colour else None,
        count=scene.count,
        place=place,
        night=night,
        style=scene.style if said.style and scene.style != "plain" else None,
        relation=scene.relation if other else None,
        other_thing=other.thing if other else None,
        other_colour=other.colour if other and said.other_colour else None,
    )


def describes(words: Caption, scene: Scene) -> bool:
    """Whether every attribute that a caption names is the scene's own.

    A caption without a colour is true of every colour; natural colour is never named. "A left of B" is true
    of "B right of A" and of "A next to B", where the positions agree.
    """
    if words.place not in (None, scene.place) or words.night not in (None, scene.night):
        return False
    if words.style not in (None, scene.style) or words.count not in (None, scene.count):
        return False
    readings: list[tuple[Item, Item | None]]
    if words.relation is None:
        # A caption that leaves the second object unsaid is true of either.
        readings = [(item, None) for item in scene.items]
    elif scene.relation is None:
        return False
    else:
        readings = [(one, two) for name, one, two in _relations_of(scene) if name == words.relation]
    return any(
        words.thing == first.thing
        and words.colour in (None, first.colour)
        and (
            second is None
            or (words.other_thing == second.thing and words.other_colour in (None, second.colour))
        )
        for first, second in readings
    )


def _relations_of(scene: Scene) -> list[tuple[str, Item, Item]]:
    """Every relation that holds between the two objects of a scene."""
    first, second = scene.items
    upright = scene.relation is not None and RELATION_BY_NAME[scene.relation].upright
    if upright:
        top, bottom = sorted((first, second), key=lambda item: item.y)
        return [("on", top, bottom), ("under", bottom, top)]
    left, right = sorted((first, second), key=lambda item: item.x)
    return [
        ("left of", left, right),
        ("right of", right, left),
        ("next to", left, right),
        ("next to", right, left),
    ]
