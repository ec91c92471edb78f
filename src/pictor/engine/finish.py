"""From latents to pixels: decoding in bounded memory, and pasting into a larger picture.

Legend of array shapes: B rows, C latent channels, h, w latent rows and columns, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pictor.core.errors import PictorError
from pictor.core.pixels import to_pixels
from pictor.core.plan import Paste, Plan
from pictor.engine.denoise import seam_margins
from pictor.engine.states import OVERLAP, PIECE
from pictor.engine.windows import continued, inner, piecewise
from pictor.families.bundle import Bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.core.plan import Pixels


def finished(latents: Sequence[NDArray[np.float32]], bundle: Bundle, plan: Plan) -> list[list[Pixels]]:
    """Pictures [H, W, 3] of several batches of latents [B, C, h, w], as the plan wants them.

    Raises:
        PictorError: the first batch's numbers are no picture.
    """
    stride, stage = bundle.traits.latent_stride, plan.stages[-1]
    cells = (PIECE // stride, PIECE // stride)
    margins = seam_margins(stage, 1)
    pictures: list[list[Pixels]] = []
    for x_BChw in latents:
        image_B3HW = piecewise(
            continued(x_BChw, margins), bundle.autoencoder.decode, cells, OVERLAP // stride, stride
        )
        if not pictures and not np.isfinite(image_B3HW).all():
            # Clipped, it would be a black picture without a word.
            raise PictorError(
                "the model's numbers overflowed",
                remedy="Use a lower guidance scale, another solver or more steps.",
            )
        pixels = to_pixels(inner(image_B3HW, (margins[0] * stride, margins[1] * stride)))
        pictures.append([one if plan.paste is None else _pasted(one, plan.paste) for one in pixels])
    return pictures


def _pasted(pixels: Pixels, paste: Paste) -> Pixels:
    """The picture on its canvas; where the opacity is 0 the canvas's bytes stay as they are."""
    from PIL import Image

    left, top, right, bottom = paste.box
    image = Image.fromarray(pixels)
    if image.size != (right - left, bottom - top):
        image = image.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
    height, width = paste.canvas.shape[:2]
    image = image.crop((max(0, -left), max(0, -top), min(right, width) - left, min(bottom, height) - top))
    left, top, right, bottom = max(0, left), max(0, top), min(right, width), min(bottom, height)
    opacity = paste.opacity[top:bottom, left:right, None]
    under = paste.canvas[top:bottom, left:right]
    mixed = under + opacity * (np.asarray(image, np.float32) - under)
    whole = paste.canvas.copy()
    whole[top:bottom, left:right] = np.where(opacity > 0, np.rint(mixed).astype(np.uint8), under)
    return whole
