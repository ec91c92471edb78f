"""Backgrounds drawn by rule, each a little different every time, by day and by night."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.floating[Any]]
"""[size, size, 3] in [0, 1]."""
Rgb = tuple[float, float, float]
Rng = np.random.Generator

_NIGHT = np.array([0.30, 0.34, 0.52], np.float32)
"""What moonlight leaves of the day's red, green and blue."""


def _flat(size: int, colour: Rgb) -> Canvas:
    return np.broadcast_to(np.asarray(colour, np.float32), (size, size, 3)).copy()


def _gradient(size: int, top: Rgb, bottom: Rgb) -> Canvas:
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - ramp) + np.asarray(bottom, np.float32) * ramp
    return np.repeat(column, size, axis=1)


def _grid(size: int) -> tuple[Canvas, Canvas]:
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return line[:, None], line[None, :]


def _blend(canvas: Canvas, cover: Canvas, colour: Any) -> None:
    canvas += np.clip(cover, 0, 1)[..., None] * (np.asarray(colour, np.float32) - canvas)


def _disc(canvas: Canvas, y: float, x: float, radius: float, colour: Rgb, squash: float = 1.0) -> None:
    size = len(canvas)
    rows, columns = _grid(size)
    distance = np.sqrt(((rows - y) / squash) ** 2 + (columns - x) ** 2)
    _blend(canvas, (radius - distance) * size, colour)


def _box(canvas: Canvas, top: float, left: float, bottom: float, right: float, colour: Rgb) -> None:
    size = len(canvas)
    canvas[round(top * size) : round(bottom * size), round(left * size) : round(right * size)] = colour


def _ground(canvas: Canvas, edge: Canvas | float, far: Rgb, near: Rgb) -> None:
    """Fill below an edge, given for every column, with a gradient from the far to the near colour."""
    size = len(canvas)
    rows, _ = _grid(size)
    horizon = float(np.mean(edge))
    depth = np.clip((rows - horizon) / max(1 - horizon, 1e-3), 0, 1)[..., None]
    colour = np.asarray(far, np.float32) + depth * (
        np.asarray(near, np.float32) - np.asarray(far, np.float32)
    )
    _blend(canvas, (rows - edge) * size, colour)


def _waves(size: int, rng: Rng, horizon: float, height: float, turns: float = 1.0) -> Canvas:
    _, columns = _grid(size)
    return np.asarray(horizon + height * np.sin(2 * np.pi * (turns * columns + float(rng.uniform(0, 1)))))


def _clouds(canvas: Canvas, rng: Rng, count: int, lowest: float, colour: Rgb = (0.97, 0.98, 1.0)) -> None:
    for _ in range(count):
        y, x = float(rng.uniform(0.06, lowest)), float(rng.uniform(0.05, 0.95))
        for offset, radius in ((-0.09, 0.055), (0.0, 0.08), (0.09, 0.055)):
            _disc(canvas, y, x + offset, radius, colour, squash=0.8)


def _stars(canvas: Canvas, rng: Rng, count: int, lowest: float) -> None:
    for _ in range(count):
        y, x = float(rng.uniform(0, lowest)), float(rng.uniform(0, 1))
        _disc(canvas, y, x, float(rng.uniform(0.008, 0.014)), (1.0, 0.97, 0.8))


def _heaven(size: int, rng: Rng, night: bool, top: Rgb, bottom: Rgb, lowest: float = 0.4) -> Canvas:
    """A sky over land: the day's gradient, or stars and a moon."""
    if not night:
        return _gradient(size, top, bottom)
    canvas = _gradient(size, (0.03, 0.04, 0.17), (0.12, 0.14, 0.34))
    _stars(canvas, rng, int(rng.integers(9, 15)), lowest)
    _disc(canvas, 0.13, float(rng.choice([0.14, 0.86])), 0.08, (0.98, 0.95, 0.78))
    return canvas


def _lit(colour: Rgb, night: bool) -> Rgb:
    if not night:
        return colour
    red, green, blue = (np.asarray(colour, np.float32) * _NIGHT).tolist()
    return red, green, blue


def white(size: int, rng: Rng, night: bool) -> Canvas:
    return _flat(size, (1.0, 1.0, 1.0))


def black(size: int, rng: Rng, night: bool) -> Canvas:
    return _flat(size, (0.05, 0.05, 0.06))


def yellow(size: int, rng: Rng, night: bool) -> Canvas:
    return _flat(size, (1.0, 0.87, 0.32))


def pink(size: int, rng: Rng, night: bool) -> Canvas:
    return _flat(size, (1.0, 0.72, 0.83))


def blue(size: int, rng: Rng, night: bool) -> Canvas:
    return _flat(size, (0.30, 0.52, 0.92))


def sky(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.36, 0.66, 0.95), (0.74, 0.89, 0.99), lowest=1.0)
    if not night:
        _clouds(canvas, rng, int(rng.integers(3, 5)), 0.94)
    return canvas


def grass(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.62, 0.84, 0.98), (0.86, 0.95, 1.0))
    edge = _waves(size, rng, float(rng.uniform(0.44, 0.56)), 0.02)
    _ground(canvas, edge, _lit((0.55, 0.80, 0.36), night), _lit((0.27, 0.60, 0.20), night))
    return canvas


def forest(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.74, 0.88, 0.86), (0.88, 0.95, 0.88))
    rows, columns = _grid(size)
    for row, shade in ((0.60, 0.62), (0.72, 0.44)):
        leaf = _lit((0.20 * shade + 0.05, shade, 0.30 * shade + 0.04), night)
        shift = float(rng.uniform(0, 0.2))
        for column in np.arange(-0.1, 1.2, 0.17):
            x = float(column) + shift + float(rng.uniform(-0.03, 0.03))
            top, foot = row - float(rng.uniform(0.46, 0.58)), row + 0.06
            half = 0.11 * np.clip((rows - top) / (foot - top), 0, 1)
            _blend(canvas, np.minimum(half - np.abs(columns - x), foot - rows) * size, leaf)
    _ground(canvas, 0.72, _lit((0.34, 0.50, 0.24), night), _lit((0.24, 0.36, 0.16), night))
    return canvas


def mountains(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.56, 0.76, 0.95), (0.88, 0.93, 0.98))
    rows, columns = _grid(size)
    for _ in range(4):
        x, top = float(rng.uniform(0, 1)), float(rng.uniform(0.16, 0.36))
        slope = np.abs(columns - x) * 1.25
        _blend(canvas, (rows - top - slope) * size, _lit((0.46, 0.50, 0.60), night))
        cap = np.minimum(rows - top - slope, top + 0.11 - rows)
        _blend(canvas, cap * size, _lit((0.97, 0.98, 1.0), night))
    edge = _waves(size, rng, 0.74, 0.02)
    _ground(canvas, edge, _lit((0.50, 0.64, 0.40), night), _lit((0.36, 0.52, 0.30), night))
    return canvas


def desert(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.98, 0.80, 0.52), (1.0, 0.92, 0.74))
    if not night:
        _disc(canvas, 0.14, float(rng.choice([0.15, 0.85])), 0.08, (1.0, 0.96, 0.64))
    edge = _waves(size, rng, float(rng.uniform(0.44, 0.56)), 0.045)
    _ground(canvas, edge, _lit((0.93, 0.76, 0.48), night), _lit((0.84, 0.62, 0.34), night))
    return canvas


def beach(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.46, 0.78, 0.98), (0.86, 0.95, 1.0), lowest=0.3)
    _ground(canvas, 0.36, _lit((0.16, 0.66, 0.80), night), _lit((0.30, 0.78, 0.84), night))
    shore = _waves(size, rng, float(rng.uniform(0.56, 0.64)), 0.03)
    _ground(canvas, shore - 0.025, _lit((0.96, 0.98, 1.0), night), _lit((0.96, 0.98, 1.0), night))
    _ground(canvas, shore, _lit((0.97, 0.88, 0.64), night), _lit((0.92, 0.78, 0.50), night))
    return canvas


def sea(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.70, 0.88, 0.97), (0.93, 0.97, 1.0), lowest=0.34)
    horizon = float(rng.uniform(0.36, 0.48))
    _ground(canvas, horizon, _lit((0.25, 0.60, 0.82), night), _lit((0.05, 0.33, 0.62), night))
    rows, columns = _grid(size)
    phase = float(rng.uniform(0, 1))
    crest = np.sin(2 * np.pi * (4 * columns + phase + 5 * rows)) * np.sin(2 * np.pi * (rows * 9 + phase))
    shine = np.clip(crest - 0.45, 0, 1) * np.clip((rows - horizon) * 20, 0, 1)
    canvas += shine[..., None] * (0.2 if night else 0.55) * (1 - canvas)
    return canvas


def snow(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.58, 0.67, 0.79), (0.78, 0.85, 0.92))
    edge = _waves(size, rng, float(rng.uniform(0.52, 0.64)), 0.03)
    ground: Rgb = (0.56, 0.62, 0.78) if night else (0.93, 0.96, 0.99)
    _ground(canvas, edge, ground, (0.64, 0.70, 0.85) if night else (1.0, 1.0, 1.0))
    for _ in range(int(rng.integers(16, 24))):
        y, x = float(rng.uniform(0, 1)), float(rng.uniform(0, 1))
        _disc(canvas, y, x, float(rng.uniform(0.01, 0.018)), (1.0, 1.0, 1.0))
    return canvas


def city(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _heaven(size, rng, night, (0.66, 0.82, 0.94), (0.92, 0.94, 0.96), lowest=0.25)
    window: Rgb = (0.99, 0.88, 0.48) if night else (0.84, 0.93, 0.98)
    left = -float(rng.uniform(0, 0.12))
    while left < 1:
        width, top = float(rng.uniform(0.14, 0.22)), float(rng.uniform(0.18, 0.46))
        tone = float(rng.uniform(0.42, 0.62))
        _box(canvas, top, max(left, 0), 0.80, left + width, _lit((tone, tone, tone + 0.06), night))
        for y in np.arange(top + 0.05, 0.74, 0.1):
            for x in np.arange(left + 0.03, left + width - 0.04, 0.065):
                if x > 0 and rng.random() < 0.8:
                    _box(canvas, float(y), float(x), float(y) + 0.045, float(x) + 0.03, window)
        left += width + 0.015
    _box(canvas, 0.80, 0, 1.0, 1.0, _lit((0.40, 0.41, 0.44), night))
    for x in np.arange(float(rng.uniform(-0.1, 0.1)), 1.0, 0.26):
        _box(canvas, 0.89, max(float(x), 0), 0.91, float(x) + 0.13, _lit((0.95, 0.92, 0.70), night))
    return canvas


def sunset(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _gradient(size, (0.36, 0.22, 0.52), (1.0, 0.62, 0.30))
    _disc(canvas, 0.58, float(rng.uniform(0.3, 0.7)), 0.2, (1.0, 0.86, 0.42))
    _ground(canvas, _waves(size, rng, 0.70, 0.02), (0.30, 0.16, 0.30), (0.18, 0.10, 0.22))
    return canvas


def mars(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _gradient(size, (0.86, 0.58, 0.44), (0.96, 0.76, 0.60))
    _ground(
        canvas,
        _waves(size, rng, float(rng.uniform(0.46, 0.56)), 0.03),
        (0.74, 0.34, 0.20),
        (0.56, 0.22, 0.12),
    )
    for _ in range(int(rng.integers(4, 7))):
        y, x = float(rng.uniform(0.66, 0.96)), float(rng.uniform(0.05, 0.95))
        _disc(canvas, y, x, float(rng.uniform(0.03, 0.07)), (0.44, 0.17, 0.10), squash=0.4)
    return canvas


def space(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _flat(size, (0.04, 0.02, 0.09))
    rows, columns = _grid(size)
    y, x = float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.8))
    glow = np.exp(-(((rows - y) / 0.3) ** 2 + ((columns - x) / 0.5) ** 2))
    _blend(canvas, 0.5 * glow, (0.34, 0.14, 0.52))
    _stars(canvas, rng, int(rng.integers(22, 30)), 1.0)
    y, x = float(rng.choice([0.14, 0.86])), float(rng.choice([0.14, 0.86]))
    _disc(canvas, y, x, 0.09, (0.86, 0.56, 0.38))
    return canvas


def underwater(size: int, rng: Rng, night: bool) -> Canvas:
    canvas = _gradient(size, (0.22, 0.70, 0.86), (0.03, 0.26, 0.52))
    rows, columns = _grid(size)
    for _ in range(3):
        x = float(rng.uniform(0.05, 0.85))
        beam = 0.07 - np.abs(columns - x - 0.25 * rows)
        _blend(canvas, 0.16 * np.clip(beam * 14, 0, 1) * (1 - rows), (0.90, 1.0, 1.0))
    for _ in range(int(rng.integers(8, 13))):
        y, x = float(rng.uniform(0.05, 0.85)), float(rng.uniform(0, 1))
        radius = float(rng.uniform(0.012, 0.026))
        _disc(canvas, y, x, radius, (0.72, 0.92, 0.98))
        _disc(canvas, y, x, radius * 0.6, (0.34, 0.70, 0.86))
    _ground(canvas, _waves(size, rng, 0.88, 0.015), (0.66, 0.68, 0.50), (0.56, 0.58, 0.44))
    return canvas


def room(size: int, rng: Rng, night: bool) -> Canvas:
    walls = ((0.95, 0.89, 0.76), (0.80, 0.88, 0.82), (0.90, 0.82, 0.86))
    canvas = _flat(size, walls[int(rng.integers(len(walls)))])
    _ground(canvas, 0.74, (0.68, 0.47, 0.30), (0.56, 0.36, 0.22))
    _box(canvas, 0.725, 0, 0.75, 1.0, (0.98, 0.97, 0.94))
    left = float(rng.choice([0.06, 0.66]))
    _box(canvas, 0.10, left, 0.44, left + 0.28, (0.98, 0.97, 0.94))
    for y in (0.125, 0.285):
        for x in (left + 0.025, left + 0.15):
            _box(canvas, y, x, y + 0.13, x + 0.105, (0.62, 0.83, 0.97))
    return canvas


PAINTERS: dict[str, Callable[[int, Rng, bool], Canvas]] = {
    painter.__name__: painter
    for painter in (
        white, black, yellow, pink, blue, sky, grass, forest, mountains, desert, beach, sea, snow, city,
        sunset, mars, space, underwater, room,
    )
}  # fmt: skip
