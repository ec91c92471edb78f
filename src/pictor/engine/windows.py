"""Large and seamless pictures: a network that sees pieces of the latents, or sees them continued.

Legend of array shapes: B rows, C channels, h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """A piece of a plane: rows top to bottom and columns left to right, in cells."""

    top: int
    bottom: int
    left: int
    right: int

    def cut(self, plane: NDArray[Any]) -> NDArray[Any]:
        """The piece of an array [..., h, w]."""
        return plane[..., self.top : self.bottom, self.left : self.right]

    def scaled(self, factor: int) -> Window:
        """The same piece of a plane with `factor` times as many cells a side."""
        return Window(self.top * factor, self.bottom * factor, self.left * factor, self.right * factor)


def lay(length: int, piece: int, overlap: int, step: int = 1) -> list[tuple[int, int]]:
    """Intervals of one length that cover 0 to `length`, evenly, neighbours sharing at least `overlap`.

    Args:
        length: what is to be covered.
        piece: length of each interval; one of the whole length where that is no longer.
        overlap: below `piece`.
        step: intervals begin at its multiples, where the last one need not.
    """
    if length <= piece:
        return [(0, length)]
    count = -(-(length - overlap) // (piece - overlap))
    last = length - piece
    starts = [round(index * last / (count - 1) / step) * step for index in range(count)]
    return [(min(start, last), min(start, last) + piece) for start in starts]


def windows(height: int, width: int, piece: tuple[int, int], overlap: int) -> list[Window]:
    """Overlapping pieces (rows, columns) that cover a plane, row by row."""
    return [
        Window(top, bottom, left, right)
        for top, bottom in lay(height, piece[0], overlap)
        for left, right in lay(width, piece[1], overlap)
    ]


def merged(
    pieces: Sequence[tuple[Window, Array]], height: int, width: int, overlap: int
) -> NDArray[np.float32]:
    """Overlapping pieces [..., rows, columns] as one plane, each fading out towards its neighbours.

    Args:
        pieces: with where they lie; together they cover the plane.
        height, width: of the plane.
        overlap: the width of the fade in cells.

    Returns:
        float32 [..., height, width].
    """
    lead = pieces[0][1].shape[:-2]
    total = np.zeros((*lead, height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    for window, piece in pieces:
        rows = _fade(window.top, window.bottom, height, overlap)
        columns = _fade(window.left, window.right, width, overlap)
        part = rows[:, None] * columns
        window.cut(total)[...] += part * piece
        window.cut(weight)[...] += part
    return np.asarray(total / weight, np.float32)


def _fade(start: int, end: int, length: int, overlap: int) -> Array:
    """Weights of an interval: 1 in its middle, falling towards ends that have a neighbour."""
    place = np.arange(end - start, dtype=np.float32) + 0.5
    ramp = np.ones(end - start, np.float32)
    if overlap and start > 0:
        ramp = np.minimum(ramp, place / overlap)
    if overlap and end < length:
        ramp = np.minimum(ramp, place[::-1] / overlap)
    return ramp


def continued(plane: NDArray[Any], margins: tuple[int, int]) -> NDArray[Any]:
    """An array [..., h, w] with its far sides continued by (rows, columns) on each side."""
    if margins == (0, 0):
        return plane
    widths = [(0, 0)] * (plane.ndim - 2) + [(margins[0], margins[0]), (margins[1], margins[1])]
    return np.pad(plane, widths, mode="wrap")


def inner(plane: NDArray[Any], margins: tuple[int, int]) -> NDArray[Any]:
    """Without the margins that `continued` added."""
    rows, columns = margins
    return plane[..., rows : plane.shape[-2] - rows, columns : plane.shape[-1] - columns]


def piecewise(
    plane: Array,
    apply: Callable[[Array], Array],
    piece: tuple[int, int],
    overlap: int,
    factor: int,
    divide: bool = False,
) -> Array:
    """A function of planes, such as an autoencoder's halves, on one piece after the other.

    Args:
        plane: [B, C, h, w].
        apply: takes [B, C, h', w'] to [B, C', h' factor, w' factor], or to h' / factor where `divide`.
        piece: rows and columns of a piece in cells of the smaller plane.
        overlap: of neighbours, in the same cells.
        factor: cells of the larger plane a cell of the smaller one, along each side.
        divide: whether the result is the smaller plane.
    """
    height, width = plane.shape[-2] // (factor if divide else 1), plane.shape[-1] // (factor if divide else 1)
    if height <= piece[0] and width <= piece[1]:
        return apply(plane)
    parts = []
    for window in windows(height, width, piece, overlap):
        there = window.scaled(factor)
        result = apply(np.ascontiguousarray((there if divide else window).cut(plane)))
        parts.append((window if divide else there, result))
    scale = 1 if divide else factor
    return merged(parts, height * scale, width * scale, overlap * scale)
