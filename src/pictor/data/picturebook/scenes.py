"""The picturebook: an endless, seeded source of pictures, scene records and captions."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictor.core.errors import InputError
from pictor.data.picturebook import captions
from pictor.data.picturebook.captions import Caption, Said, choose_said
from pictor.data.picturebook.font import draw_emoji, find_font
from pictor.data.picturebook.hold_out import HOLD_OUT_RULE
from pictor.data.picturebook.layout import alike, pair
from pictor.data.picturebook.places import PAINTERS
from pictor.data.picturebook.recolour import Drawing, take_apart
from pictor.data.picturebook.scene import Item, Scene, is_held_out
from pictor.data.picturebook.styles import DRAWN
from pictor.data.picturebook.surroundings import (
    NIGHT_HIDES,
    PLACES,
    RELATION_BY_NAME,
    RELATIONS,
    STYLES,
    Place,
    Style,
)
from pictor.data.picturebook.vocabulary import COLOUR_BY_NAME, COLOURS, THING_BY_NAME, THINGS, Colour, Thing

_Named = TypeVar("_Named", Thing, Colour, Place)

_SPRITE = 128
_TRIES = 20_000
"""Draws after which a mix is taken to hold no scene of the wanted split: a second or two."""
_RELATED = 5
"""Number of the random stream that scenes of two given things are drawn from."""
_NAMES = {
    "things": set(THING_BY_NAME),
    "colours": {colour.name for colour in COLOURS},
    "places": {place.name for place in PLACES},
}
_VIEWS = 24
"""Variations of each background."""
_CACHED = 160
"""Largest side whose backgrounds are kept: all of them take 90 MB at 128 px."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Which kinds of scene a book holds, in shares of its pictures."""

    counted: float = 0.15
    """Two to four alike objects."""
    related: float = 0.25
    """Two objects in a relation; the rest shows one object."""
    styled: float = 0.25
    """Any style but the plain one."""
    night: float = 0.2
    """Night, among outdoor places."""
    natural: float = 0.25
    """Objects that keep the font's own colours."""
    small: float = 0.15
    """Single objects that are small and stand anywhere."""
    chinese: float = 0.4
    """Captions in Chinese."""
    things: tuple[str, ...] = ()
    """Natural names of the only objects drawn; all of them if empty."""
    colours: tuple[str, ...] = ()
    """The only colours that objects take; all if empty."""
    places: tuple[str, ...] = ()
    """The only places; all if empty."""

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Mix:
        """A mix from a table of TOML or JSON, where names stand in lists.

        Raises:
            TypeError: a key that a mix does not have.
            InputError: a value out of range.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in table.items()
        }
        return cls(**values)

    def told(self) -> str:
        """Words for what it says otherwise than the default mix: "related=0, natural=1"."""
        default, words = Mix(), []
        for name, value in asdict(self).items():
            if value != getattr(default, name):
                words.append(f"{name}={f'{len(value)} of them' if name in _NAMES else format(value, 'g')}")
        return ", ".join(words) or "the default one"

    def __post_init__(self) -> None:
        for name, known in _NAMES.items():
            chosen: tuple[str, ...] = getattr(self, name)
            unknown = sorted(set(chosen) - known)
            if unknown or len(chosen) in (1, 2):
                raise InputError(
                    f"mix.{name} names {', '.join(unknown)}" if unknown else f"mix.{name} names fewer than 3",
                    expected=f"at least three of the picturebook's {name}",
                    remedy="docs/corpus.md shows them.",
                    param=f"mix.{name}",
                )
        for name, value in asdict(self).items():
            if name in _NAMES:
                continue
            if not (math.isfinite(value) and 0 <= value <= 1):
                raise InputError(
                    f"mix.{name} is {value}",
                    expected="a share from 0 to 1",
                    remedy="mend it",
                    param=f"mix.{name}",
                )
        if self.counted + self.related > 1:
            raise InputError(
                f"mix.counted + mix.related is {self.counted + self.related:g}",
                expected="at most 1 together",
                remedy="lower one of them",
                param="mix.related",
            )


def corpus_identity(size: int, seed: int, mix: Mix | None = None) -> str:
    """Hash of what decides scenes and captions (not of the font), for caches, checkpoints and models."""
    text = repr((size, seed, THINGS, COLOURS, PLACES, STYLES, RELATIONS, HOLD_OUT_RULE, mix or Mix()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Picturebook:
    """Pictures by number: the same seed and number give the same picture on every machine with the same font.

    Args:
        size: side of the pictures in pixels, 16 to 512.
        seed: of the whole book.
        font: a colour emoji font; None finds Noto Color Emoji on the system.
        mix: which kinds of scene it holds.
    """

    def __init__(self, size: int, seed: int = 0, font: Path | None = None, mix: Mix | None = None) -> None:
        self.size = size
        self.seed = seed
        self.font = find_font(font)
        self.mix = mix or Mix()
        self._things = _chosen(THINGS, self.mix.things)
        self._colours = _chosen(COLOURS, self.mix.colours)
        self._places = _chosen(PLACES, self.mix.places)
        self._countable = [thing for thing in self._things if thing.countable]
        self._drawings: dict[str, Drawing] = {}
        self._views: dict[tuple[str, bool, int], NDArray[np.float32]] = {}

    @property
    def identity(self) -> str:
        return corpus_identity(self.size, self.seed, self.mix)

    def rng(self, index: int, purpose: int) -> np.random.Generator:
        """Randomness of one picture, counted and not consumed, so that order and workers do not matter."""
        return np.random.Generator(np.random.Philox(key=[self.seed, purpose], counter=[0, 0, 0, index]))

    def scene(self, index: int, *, held_out: bool = False) -> Scene:
        """The record of picture `index`.

        Args:
            index: number of the picture.
            held_out: draw from the compositions that the rule keeps from training; else from the others.

        Raises:
            InputError: the mix holds no such composition.
        """
        rng = self.rng(index, 2 if held_out else 1)
        for _ in range(_TRIES):
            scene = self._scene(rng)
            if is_held_out(scene) == held_out:
                return scene
        split = "a held-out composition" if held_out else "a composition that is not held out"
        raise InputError(
            f"none of {_TRIES} scenes of this mix is {split} ({self.mix.told()})",
            expected="a mix that holds some",
            remedy="Lower mix.natural, raise mix.related, or name more things and colours.",
            param="mix",
        )

    def related(self, index: int, first: str, relation: str, second: str) -> Scene:
        """A scene of these two things in this relation; place, style and colours are drawn by `index`."""
        rng = self.rng(index, _RELATED)
        place, night, style, hidden = self._surroundings(rng)
        coats = [(thing, self._coat(thing, hidden, rng)) for thing in (first, second)]
        items = pair(coats[0], coats[1], RELATION_BY_NAME[relation], rng)
        return Scene(items, relation, place.name, night, style.name)

    def _coat(self, thing: str, hidden: tuple[str, ...], rng: np.random.Generator) -> str | None:
        """A colour for an object that can be seen where it stands; None keeps its own."""
        if THING_BY_NAME[thing].surface == "never" or rng.random() < self.mix.natural:
            return None
        seen = [colour.name for colour in self._colours if colour.name not in hidden]
        return seen[int(rng.integers(len(seen)))] if seen else None

    def _surroundings(self, rng: np.random.Generator) -> tuple[Place, bool, Style, tuple[str, ...]]:
        """A place, whether it is night there, a style, and the colours that cannot be seen in them."""
        styled, place = rng.random() < self.mix.styled, self._places[int(rng.integers(len(self._places)))]
        night = bool(place.outdoors and rng.random() < self.mix.night)
        style = STYLES[int(rng.integers(1, len(STYLES))) if styled else 0]
        if place.name in style.hides_places or (night and style.hides_night):
            style = STYLES[0]
        hidden = place.hides + style.hides + (NIGHT_HIDES if night else ())
        if style.name == "neon":  # everything is dark there, so that only what glows tells the place
            hidden = style.hides
        return place, night, style, hidden

    def _scene(self, rng: np.random.Generator) -> Scene:
        kind = float(rng.random())
        place, night, style, hidden = self._surroundings(rng)
        counted = kind < self.mix.counted and len(self._countable) > 0
        related = self.mix.counted <= kind < self.mix.counted + self.mix.related
        pool = self._countable if counted else self._things
        thing = pool[int(rng.integers(len(pool)))].name
        colour = self._coat(thing, hidden, rng)
        if related:
            relation = RELATIONS[int(rng.integers(len(RELATIONS)))]
            second = thing
            while second == thing:
                second = self._things[int(rng.integers(len(self._things)))].name
            items = pair((thing, colour), (second, self._coat(second, hidden, rng)), relation, rng)
            return Scene(items, relation.name, place.name, night, style.name)
        count = int(rng.integers(2, 5)) if counted else 1
        small = count == 1 and bool(rng.random() < self.mix.small)
        return Scene(alike(thing, colour, count, small, rng), None, place.name, night, style.name)

    def _drawing(self, thing: str) -> Drawing:
        if thing not in self._drawings:
            entry = THING_BY_NAME[thing]
            surface = "main" if entry.surface == "never" else entry.surface
            self._drawings[thing] = take_apart(draw_emoji(entry.emoji, self.font, _SPRITE), surface)
        return self._drawings[thing]

    def sprite(self, thing: str, colour: str | None) -> NDArray[np.uint8]:
        """The object alone, [128, 128, 4], premultiplied."""
        drawing = self._drawing(thing)
        return drawing.plain if colour is None else drawing.painted(COLOUR_BY_NAME[colour].rgb)

    def _background(self, place: str, night: bool, view: int) -> NDArray[np.float32]:
        key = (place, night, view)
        if key in self._views:
            return self._views[key]
        # A background is the same in every book of this size: its variations are few and counted.
        rng = np.random.Generator(np.random.Philox(key=[view, 3]))
        canvas = np.asarray(PAINTERS[place](self.size, rng, night) * 255, np.float32)
        if self.size <= _CACHED:
            self._views[key] = canvas
        return canvas

    def draw(self, scene: Scene, index: int = 0) -> NDArray[np.uint8]:
        """The picture of a scene, [size, size, 3]; `index` chooses among the variations of its place."""
        view = int(self.rng(index, 3).integers(_VIEWS))
        canvas = self._background(scene.place, scene.night, view).copy()
        # What stands lower is nearer, and drawn over what is behind it.
        for item in sorted(scene.items, key=lambda item: item.y):
            side = max(4, round(item.size * self.size))
            # Premultiplied resizing keeps the transparent surroundings from bleeding into the edge.
            sprite = Image.fromarray(self.sprite(item.thing, item.colour), "RGBa")
            method = Image.Resampling.BOX if side * 2 < _SPRITE else Image.Resampling.BICUBIC
            layer = np.asarray(sprite.resize((side, side), method), np.float32)
            top = min(max(round(item.y * self.size - side / 2), 0), self.size - side)
            left = min(max(round(item.x * self.size - side / 2), 0), self.size - side)
            region = canvas[top : top + side, left : left + side]
            region *= 1 - layer[..., 3:] / 255
            region += layer[..., :3]
        picture = np.asarray(np.clip(canvas, 0, 255) + 0.5, np.uint8)
        return DRAWN[scene.style](picture)

    def picture(self, index: int, *, held_out: bool = False) -> NDArray[np.uint8]:
        """Picture `index`, [size, size, 3]."""
        return self.draw(self.scene(index, held_out=held_out), index)

    def caption(
        self, scene: Scene, rng: np.random.Generator, *, language: str | None = None, full: bool = False
    ) -> Caption:
        """True words for a scene, in a template that training may see.

        Args:
            scene: what to speak of.
            rng: chooses language, template, synonyms, and what is left unsaid.
            language: "en", "zh", or None for a share of each by the mix.
            full: name every visible attribute.
        """
        chosen = language or ("zh" if rng.random() < self.mix.chinese else "en")
        said = choose_said(scene, rng)
        return captions.caption(scene, Said() if full else said, rng, language=chosen)

    def retold(self, scene: Scene, rng: np.random.Generator, language: str) -> Caption:
        """In this language what `caption` says by the same randomness in one or the other."""
        rng.random()  # which of them
        said = choose_said(scene, rng)
        return captions.caption(scene, said, rng, language=language)

    def confused(self, scene: Scene, rng: np.random.Generator) -> Scene:
        """The same scene but for one attribute, for captions that are nearly right and false."""
        choice, first = float(rng.random()), scene.items[0]
        if scene.relation is not None and choice < 0.4:
            # Where the two change places, "next to" stays true: their colours change instead.
            relation = RELATION_BY_NAME[scene.relation]
            if relation.name != "next to":
                return replace(scene, relation=relation.inverse, items=_swapped(scene.items))
        if scene.relation is None and choice < 0.25 and THING_BY_NAME[first.thing].countable:
            counts = [count for count in (1, 2, 3, 4) if count != scene.count]
            count = counts[int(rng.integers(len(counts)))]
            return replace(scene, items=alike(first.thing, first.colour, count, False, rng))
        # Natural colour is never named, and so cannot be named wrongly.
        if choice < 0.7 and first.colour is not None:
            others = [colour.name for colour in self._colours if colour.name != first.colour]
            coat = others[int(rng.integers(len(others)))]
            return replace(scene, items=_repainted(scene, thing=None, colour=coat))
        taken = [item.thing for item in scene.items]
        pool = self._countable if scene.count > 1 else self._things
        things = [thing.name for thing in pool if thing.name not in taken]
        if choice < 0.82 or not things:
            places = [place for place in self._places if place.name != scene.place]
            place = places[int(rng.integers(len(places)))]
            return replace(scene, place=place.name, night=scene.night and place.outdoors)
        return replace(
            scene, items=_repainted(scene, thing=things[int(rng.integers(len(things)))], colour=None)
        )


def _chosen(entries: Sequence[_Named], names: tuple[str, ...]) -> list[_Named]:
    return [entry for entry in entries if not names or entry.name in names]


def _swapped(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The two things of a relation on each other's places, spoken of in the same order."""
    first, second = items
    return (
        replace(first, size=second.size, x=second.x, y=second.y),
        replace(second, size=first.size, x=first.x, y=first.y),
    )


def _repainted(scene: Scene, thing: str | None, colour: str | None) -> tuple[Item, ...]:
    """The subject, and what is alike to it, as another thing or in another colour."""
    changed = 1 if scene.relation else len(scene.items)
    new = [
        replace(item, thing=thing or item.thing, colour=colour if thing is None else item.colour)
        for item in scene.items[:changed]
    ]
    if thing is not None and THING_BY_NAME[thing].surface == "never":
        new = [replace(item, colour=None) for item in new]
    return (*new, *scene.items[changed:])
