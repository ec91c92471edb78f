"""Styles as drawing rules: a finished picture in, the same scene drawn another way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Pixels = NDArray[np.uint8]
"""[size, size, 3]"""
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _edges(picture: Pixels) -> NDArray[np.floating[Any]]:
    """How strongly brightness and colour change at each pixel, [size, size], about 0 to 1."""
    x = picture.astype(np.float32) / 255
    down = np.abs(np.diff(x, axis=0, append=x[-1:])).max(-1)
    right = np.abs(np.diff(x, axis=1, append=x[:, -1:])).max(-1)
    return np.asarray(np.clip(2.2 * np.maximum(down, right) - 0.12, 0, 1))


def _softened(values: NDArray[np.floating[Any]], radius: float) -> NDArray[np.floating[Any]]:
    image = Image.fromarray(np.asarray(np.clip(values, 0, 1) * 255, np.uint8))
    return np.asarray(image.filter(ImageFilter.BoxBlur(radius)), np.float32) / 255


def plain(picture: Pixels) -> Pixels:
    return picture


def flat(picture: Pixels) -> Pixels:
    """Four steps a channel and no shading between them, in the manner of a screen print."""
    image = Image.fromarray(picture).filter(ImageFilter.MedianFilter(3))
    steps = np.rint(np.asarray(image, np.float32) / 255 * 3.6) / 3.6
    return np.asarray(np.clip(steps, 0, 1) * 255, np.uint8)


def pixel_art(picture: Pixels) -> Pixels:
    """A quarter of the resolution at 128 px and few levels a channel, in hard squares."""
    side = len(picture)
    small = Image.fromarray(picture).resize((32, 32), Image.Resampling.BOX)
    coarse = np.rint(np.asarray(small, np.float32) / 255 * 7) / 7
    blocks = Image.fromarray(np.asarray(coarse * 255, np.uint8))
    return np.asarray(blocks.resize((side, side), Image.Resampling.NEAREST))


def pencil_sketch(picture: Pixels) -> Pixels:
    """Dark lines on cream paper, with a light hatching in the colours of what is drawn."""
    side = len(picture)
    x = picture.astype(np.float32) / 255
    line = _edges(picture)[..., None]
    rows, columns = np.mgrid[:side, :side] * (128 / side)
    hatch = (0.5 + 0.5 * np.sin((rows + columns) * (2 * np.pi / 5))).astype(np.float32)[..., None]
    paper = np.array([0.98, 0.965, 0.93], np.float32)
    ink = paper - (1 - x) * (0.28 + 0.30 * hatch)
    out = ink * (1 - 0.85 * line) + 0.22 * 0.85 * line
    return np.asarray(np.clip(out, 0, 1) * 255, np.uint8)


def pastel(picture: Pixels) -> Pixels:
    """Chalk: everything lighter, softer and a little grainy."""
    side = len(picture)
    image = Image.fromarray(picture).filter(ImageFilter.BoxBlur(side / 128))
    x = np.asarray(image, np.float32) / 255
    rows, columns = np.mgrid[:side, :side] * (128 / side)
    grain = 0.02 * np.sin(rows * 2.1 + columns * 1.3) * np.sin(columns * 2.7 - rows * 0.9)
    out = 0.50 + 0.46 * x + grain.astype(np.float32)[..., None]
    return np.asarray(np.clip(out, 0, 1) * 255, np.uint8)


def neon(picture: Pixels) -> Pixels:
    """Glowing lines on a dark ground, in saturated colours."""
    side = len(picture)
    x = picture.astype(np.float32) / 255
    line = _edges(picture)
    glow = np.clip(line + 1.2 * _softened(line, 2.5 * side / 128), 0, 1)[..., None]
    luma = (x @ _LUMA)[..., None]
    vivid = np.clip(luma + 1.9 * (x - luma), 0, 1)
    vivid = vivid / np.maximum(vivid.max(-1, keepdims=True), 0.25)
    out = 0.16 * x + glow * vivid * 0.95
    return np.asarray(np.clip(out, 0, 1) * 255, np.uint8)


def mosaic(picture: Pixels) -> Pixels:
    """Square tiles of one colour each, with dark joints."""
    side = len(picture)
    tile = max(3, round(side * 5 / 128))
    count = -(-side // tile)
    small = Image.fromarray(picture).resize((count, count), Image.Resampling.BOX, box=(0, 0, side, side))
    tiles = np.repeat(np.repeat(np.asarray(small), tile, 0), tile, 1)[:side, :side].copy()
    joint = max(1, round(side / 128))
    at = np.arange(side) % tile < joint
    tiles[at] = tiles[at] // 3
    tiles[:, at] = tiles[:, at] // 3
    return tiles


DRAWN: dict[str, Callable[[Pixels], Pixels]] = {
    "plain": plain,
    "flat": flat,
    "pixel art": pixel_art,
    "pencil sketch": pencil_sketch,
    "pastel": pastel,
    "neon": neon,
    "mosaic": mosaic,
}
"""Every style of `surroundings.STYLES`, by name."""
