"""A network beside a model that enlarges pictures, on whichever runtime the model has.

Any family's folder may hold one as `enlarger/` (`pictor.backends.base.ENLARGER`); `pictor.families.beside`
adds it.

Legend of array shapes: H, W rows and columns in pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pictor.backends.base import ENLARGER
from pictor.core.errors import ModelError, PictorError
from pictor.core.pixels import from_pixels, to_pixels
from pictor.families.parts.files import read_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Pixels

PIECE = 384
"""Pixels a side that are doubled at once, besides what the network sees around them."""

MAX_BLOCKS = 64
"""So that a damaged number does not make pieces of all that surrounds them."""


class Enlarger:
    """Makes pictures larger by powers of 2, with a network that doubles them.

    Args:
        module: from `image` [1, 3, H, W] to `large` [1, 3, 2 H, 2 W], both in [-1, 1].
        reach: pixels on each side of one that the network looks at to double it.
        hash_weights: SHA-256 over its weights.
    """

    def __init__(self, module: Module, reach: int, hash_weights: Callable[[], str]) -> None:
        self._module = module
        self._reach = reach
        self.hash_weights = hash_weights

    def __call__(
        self, pixels: Pixels, scale: int, on_piece: Callable[[int, int], None] = lambda done, total: None
    ) -> Pixels:
        """The picture [scale H, scale W, 3].

        Large pictures are doubled in pieces that see as much around them as the network does, so that they
        fit together as if doubled whole.

        Args:
            pixels: [H, W, 3].
            scale: a power of 2.
            on_piece: told before the first piece and after each how many are done, of how many; what it
                raises ends the work.

        Raises:
            ModelError: the network cannot be loaded.
            PictorError: the network's numbers are no picture.
        """
        doublings = scale.bit_length() - 1
        sides = [(pixels.shape[0] << times, pixels.shape[1] << times) for times in range(doublings)]
        total, done = sum(len(_pieces(*side)) for side in sides), 0
        on_piece(done, total)
        for height, width in sides:
            larger = np.empty((2 * height, 2 * width, 3), np.uint8)
            for rows, columns in _pieces(height, width):
                self._double(pixels, larger, rows, columns)
                done += 1
                on_piece(done, total)
            pixels = larger
        return pixels

    def _double(self, pixels: Pixels, larger: Pixels, rows: slice, columns: slice) -> None:
        """Fill the piece of the larger picture that belongs to these rows and columns."""
        top, left = max(0, rows.start - self._reach), max(0, columns.start - self._reach)
        seen = pixels[top : rows.stop + self._reach, left : columns.stop + self._reach]
        image = from_pixels(seen[None])
        large_B3HW: NDArray[np.float32] = self._module.run(image=image)["large"]
        if large_B3HW.shape != (wanted := (1, 3, 2 * seen.shape[0], 2 * seen.shape[1])):
            raise PictorError(
                f"the enlarging network made {large_B3HW.shape} of {image.shape}", expected=f"{wanted}"
            )
        if not np.isfinite(large_B3HW).all():
            raise PictorError("the enlarging network's numbers overflowed", expected="a trained network")
        whole = to_pixels(large_B3HW)[0]
        larger[_twice(rows), _twice(columns)] = whole[_twice(rows, top), _twice(columns, left)]


def _pieces(height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the pieces of a picture, which do not overlap."""
    return [
        (slice(top, min(top + PIECE, height)), slice(left, min(left + PIECE, width)))
        for top in range(0, height, PIECE)
        for left in range(0, width, PIECE)
    ]


def _twice(part: slice, origin: int = 0) -> slice:
    """The same part of a picture of twice the size, counted from `origin`."""
    return slice(2 * (part.start - origin), 2 * (part.stop - origin))


def reach(blocks: int) -> int:
    """Pixels on each side of one that a network of so many blocks looks at to double it."""
    return 2 * blocks + 2  # one a layer: two in each block, the first and the last


def read_blocks(place: Path) -> int:
    """Blocks of the enlarger in a folder.

    Raises:
        ModelError: its configuration is missing or damaged, or another network's.
    """
    config = read_json(place / "config.json")
    blocks = config.get("blocks")
    known = config.get("_class_name") in ENLARGER.classes
    if not known or type(blocks) is not int or not 0 <= blocks <= MAX_BLOCKS:
        raise ModelError(
            f"{place / 'config.json'} is of no enlarger that Pictor knows",
            expected=f"the class {' or '.join(ENLARGER.classes)} and its blocks, from 0 to {MAX_BLOCKS}",
            param="model",
        )
    return blocks
