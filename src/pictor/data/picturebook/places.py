"""Backgrounds drawn by rule, each a little different every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Canvas = NDArray[np.floating[Any]]
"""[size, size, 3] in [0, 1]."""


def _gradient(size: int, top: tuple[float, ...], bottom: tuple[float, ...]) -> Canvas:
    ramp = np.linspace(0, 1, size, dtype=np.float32)[:, None, None]
    column = np.asarray(top, np.float32) * (1 - ramp) + np.asarray(bottom, np.float32) * ramp
    return np.repeat(column, size, axis=1)


def _grid(size: int) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    line = (np.arange(size, dtype=np.float32) + 0.5) / size
    return line[:, None], line[None, :]


def _disc(
    canvas: Canvas, y: float, x: float, radius: float, colour: tuple[float, ...], squash: float = 1.0
) -> None:
    rows, columns = _grid(len(canvas))
    distance = np.sqrt(((rows - y) / squash) ** 2 + (columns - x) ** 2)
    cover = np.clip((radius - distance) * len(canvas), 0, 1)[..., None]
    canvas += cover * (np.asarray(colour, np.float32) - canvas)


def _ground(
    canvas: Canvas, horizon: float, wave: float, phase: float, colours: tuple[tuple[float, ...], ...]
) -> None:
    """Fill below a gently waved horizon with a vertical gradient of two colours."""
    size = len(canvas)
    rows, columns = _grid(size)
    edge = horizon + wave * np.sin(2 * np.pi * (columns + phase))
    cover = np.clip((rows - edge) * size, 0, 1)[..., None]
    depth = np.clip((rows - horizon) / (1 - horizon), 0, 1)[..., None]
    near, far = np.asarray(colours[1], np.float32), np.asarray(colours[0], np.float32)
    canvas += cover * (far + depth * (near - far) - canvas)


def white(size: int, rng: np.random.Generator) -> Canvas:
    return np.ones((size, size, 3), np.float32)


def sky(size: int, rng: np.random.Generator) -> Canvas:
    canvas = _gradient(size, (0.36, 0.66, 0.95), (0.74, 0.89, 0.99))
    for _ in range(int(rng.integers(2, 4))):
        y, x = float(rng.uniform(0.08, 0.9)), float(rng.uniform(0.05, 0.95))
        for offset, radius in ((-0.09, 0.06), (0.0, 0.085), (0.09, 0.06)):
            _disc(canvas, y, x + offset, radius, (0.97, 0.98, 1.0), squash=0.8)
    return canvas


def night(size: int, rng: np.random.Generator) -> Canvas:
    canvas = _gradient(size, (0.03, 0.04, 0.16), (0.11, 0.13, 0.32))
    for _ in range(int(rng.integers(9, 15))):
        radius = float(rng.uniform(0.008, 0.014))
        _disc(canvas, float(rng.uniform(0, 1)), float(rng.uniform(0, 1)), radius, (1.0, 0.97, 0.8))
    _disc(canvas, 0.14, float(rng.choice([0.14, 0.86])), 0.09, (0.98, 0.95, 0.75))
    return canvas


def grass(size: int, rng: np.random.Generator) -> Canvas:
    canvas = _gradient(size, (0.62, 0.84, 0.98), (0.86, 0.95, 1.0))
    horizon = float(rng.uniform(0.42, 0.58))
    _ground(canvas, horizon, 0.02, float(rng.uniform(0, 1)), ((0.55, 0.80, 0.36), (0.27, 0.60, 0.20)))
    return canvas


def sand(size: int, rng: np.random.Generator) -> Canvas:
    canvas = _gradient(size, (0.98, 0.80, 0.52), (1.0, 0.92, 0.74))
    horizon = float(rng.uniform(0.42, 0.58))
    _disc(canvas, 0.15, float(rng.choice([0.16, 0.84])), 0.08, (1.0, 0.95, 0.62))
    _ground(canvas, horizon, 0.045, float(rng.uniform(0, 1)), ((0.93, 0.76, 0.48), (0.84, 0.62, 0.34)))
    return canvas


def sea(size: int, rng: np.random.Generator) -> Canvas:
    canvas = _gradient(size, (0.70, 0.88, 0.97), (0.93, 0.97, 1.0))
    horizon = float(rng.uniform(0.35, 0.5))
    phase = float(rng.uniform(0, 1))
    _ground(canvas, horizon, 0.0, 0.0, ((0.25, 0.60, 0.82), (0.05, 0.33, 0.62)))
    rows, columns = _grid(size)
    crest = np.sin(2 * np.pi * (4 * columns + phase + 5 * rows)) * np.sin(2 * np.pi * (rows * 9 + phase))
    shine = np.clip(crest - 0.45, 0, 1) * np.clip((rows - horizon) * 20, 0, 1)
    canvas += shine[..., None] * 0.55 * (1 - canvas)
    return canvas


def snow(size: int, rng: np.random.Generator) -> Canvas:
    canvas = _gradient(size, (0.62, 0.70, 0.80), (0.80, 0.86, 0.92))
    horizon = float(rng.uniform(0.5, 0.66))
    _ground(canvas, horizon, 0.03, float(rng.uniform(0, 1)), ((0.93, 0.96, 0.99), (0.99, 1.0, 1.0)))
    for _ in range(int(rng.integers(14, 22))):
        radius = float(rng.uniform(0.01, 0.018))
        _disc(canvas, float(rng.uniform(0, 1)), float(rng.uniform(0, 1)), radius, (1.0, 1.0, 1.0))
    return canvas


PAINTERS: dict[str, Callable[[int, np.random.Generator], Canvas]] = {
    painter.__name__: painter for painter in (white, sky, night, grass, sand, sea, snow)
}
