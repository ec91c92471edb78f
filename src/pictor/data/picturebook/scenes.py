"""The picturebook: an endless, seeded source of pictures, scene records and captions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictor.data.picturebook.captions import Caption, chinese, english
from pictor.data.picturebook.font import draw_emoji, find_font
from pictor.data.picturebook.places import PAINTERS
from pictor.data.picturebook.recolour import recolour
from pictor.data.picturebook.vocabulary import COLOUR_BY_NAME, COLOURS, PLACES, THING_BY_NAME, THINGS

_SPRITE = 128
_NATURAL = 0.25
"""Share of objects that keep the font's own colours."""
_SIZES = (0.74, 0.86)
"""Sides of objects as shares of the picture's side: one object in the middle, that nearly fills it."""
_JITTER = 0.7
"""How far an object strays from the middle, as a share of the room that its size leaves."""
_CLASHES = {"white": ("white", "snow"), "black": ("night",)}
"""Places against which a colour cannot be seen."""

HELD_OUT_PERCENT = 10
HOLD_OUT_RULE = f"sha256('picturebook:'+thing+':'+colour) % 100 < {HELD_OUT_PERCENT}"


def is_held_out(thing: str, colour: str | None) -> bool:
    """Whether this composition is kept out of all training, by a rule that no list can drift from."""
    if colour is None:
        return False
    digest = hashlib.sha256(f"picturebook:{thing}:{colour}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100 < HELD_OUT_PERCENT


def corpus_identity(size: int, seed: int) -> str:
    """Hash of what decides scenes and captions (not of the font), for caches, checkpoints and models."""
    text = repr((size, seed, THINGS, COLOURS, PLACES, HOLD_OUT_RULE, _SIZES, _JITTER))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Scene:
    """What one picture shows."""

    thing: str
    colour: str | None
    """None is the natural colour."""
    place: str
    size: float
    """Side of the object as a share of the picture's side."""
    x: float
    y: float
    """Centre of the object as shares of the picture's side."""


class Picturebook:
    """Pictures by number: the same seed and number give the same picture on every machine with the same font.

    Args:
        size: side of the pictures in pixels, 16 to 512.
        seed: of the whole book.
        font: a colour emoji font; None finds Noto Color Emoji on the system.
    """

    def __init__(self, size: int, seed: int = 0, font: Path | None = None) -> None:
        self.size = size
        self.seed = seed
        self.font = find_font(font)
        self._sprites: dict[tuple[str, str | None], Image.Image] = {}

    def rng(self, index: int, purpose: int) -> np.random.Generator:
        """Randomness of one picture, counted and not consumed, so that order and workers do not matter."""
        return np.random.Generator(np.random.Philox(key=[self.seed, purpose], counter=[0, 0, 0, index]))

    def scene(self, index: int, *, held_out: bool = False) -> Scene:
        """The record of picture `index`; `held_out` draws from the compositions that training never sees."""
        rng = self.rng(index, 2 if held_out else 1)
        while True:
            thing = THINGS[int(rng.integers(len(THINGS)))].name
            colour = None if rng.random() < _NATURAL else COLOURS[int(rng.integers(len(COLOURS)))].name
            if is_held_out(thing, colour) == held_out:
                break
        places = [place.name for place in PLACES if place.name not in _CLASHES.get(colour or "", ())]
        size = float(rng.uniform(*_SIZES))
        slack = (1 - size) / 2 * _JITTER
        return Scene(
            thing=thing,
            colour=colour,
            place=str(rng.choice(places)),
            size=size,
            x=0.5 + float(rng.uniform(-slack, slack)),
            y=0.5 + float(rng.uniform(-slack, slack)),
        )

    def sprite(self, thing: str, colour: str | None) -> Image.Image:
        """The object alone, RGBA, drawn once and kept."""
        key = (thing, colour)
        if key not in self._sprites:
            drawing = draw_emoji(THING_BY_NAME[thing].emoji, self.font, _SPRITE)
            if colour is not None:
                drawing = recolour(drawing, COLOUR_BY_NAME[colour].rgb)
            self._sprites[key] = Image.fromarray(drawing, "RGBA").convert("RGBa")
        return self._sprites[key]

    def draw(self, scene: Scene, index: int = 0) -> NDArray[np.uint8]:
        """The picture of a scene, [size, size, 3]; `index` seeds the small variations of the place."""
        canvas = PAINTERS[scene.place](self.size, self.rng(index, 3))
        # Premultiplied resizing keeps the transparent surroundings from bleeding into the edge.
        sprite = self.sprite(scene.thing, scene.colour)
        side = max(4, round(scene.size * self.size))
        small = np.asarray(
            sprite.resize(
                (side, side), Image.Resampling.BOX if side * 2 < _SPRITE else Image.Resampling.BICUBIC
            )
        )
        top = min(max(round(scene.y * self.size - side / 2), 0), self.size - side)
        left = min(max(round(scene.x * self.size - side / 2), 0), self.size - side)
        region = canvas[top : top + side, left : left + side]
        layer = small.astype(np.float32) / 255
        region *= 1 - layer[..., 3:]
        region += layer[..., :3]
        return np.rint(np.clip(canvas, 0, 1) * 255).astype(np.uint8)

    def picture(self, index: int, *, held_out: bool = False) -> NDArray[np.uint8]:
        """Picture `index`, [size, size, 3]."""
        return self.draw(self.scene(index, held_out=held_out), index)

    def caption(self, scene: Scene, rng: np.random.Generator) -> Caption:
        """True words for a scene in one of the two languages; colour and place are sometimes left unsaid."""
        colour = scene.colour if rng.random() < 0.92 else None
        place = scene.place if rng.random() < (0.5 if scene.place == "white" else 0.85) else None
        speak = english if rng.random() < 0.6 else chinese
        return Caption(speak(scene.thing, colour, place, rng), scene.thing, colour, place)

    def confused(self, scene: Scene, rng: np.random.Generator) -> Scene:
        """The same scene but for one attribute, for captions that are nearly right and false."""
        choice = rng.random()
        if choice < 0.5:
            others = [colour.name for colour in COLOURS if colour.name != scene.colour]
            return replace(scene, colour=str(rng.choice(others)))
        if choice < 0.75:
            return replace(scene, place=str(rng.choice([p.name for p in PLACES if p.name != scene.place])))
        return replace(scene, thing=str(rng.choice([t.name for t in THINGS if t.name != scene.thing])))


def describes(caption: Caption, scene: Scene) -> bool:
    """Whether every attribute that a caption names is the scene's own.

    A caption without a colour is true of every colour; natural colour is never named.
    """
    return (
        caption.thing == scene.thing
        and caption.colour in (None, scene.colour)
        and caption.place in (None, scene.place)
    )
