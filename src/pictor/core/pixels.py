"""Bytes of the numbers that decoders answer with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.errors import PictorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.core.plan import Pixels


def to_pixels(image_B3HW: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels [B, H, W, 3] of pictures in [-1, 1]; what lies beyond is clipped."""
    unit = np.clip(image_B3HW * 0.5 + 0.5, 0.0, 1.0)
    pixels: NDArray[np.uint8] = np.rint(unit * 255.0).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def from_pixels(pixels_BHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pictures [B, 3, H, W] in [-1, 1] of pixels."""
    return pixels_BHW3.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1


def to_picture(image_13HW: NDArray[Any], side: int) -> Pixels:
    """The one picture [H, W, 3] that a network answered with, as large as it should be.

    Raises:
        PictorError: the numbers are not finite, or of another shape.
    """
    wanted = (1, 3, side, side)
    if image_13HW.shape != wanted or not np.isfinite(image_13HW).all():
        raise PictorError(
            f"the network's numbers of shape {list(image_13HW.shape)} are no picture",
            expected=f"a trained network's, {list(wanted)}",
        )
    picture: Pixels = to_pixels(image_13HW)[0]
    return picture
