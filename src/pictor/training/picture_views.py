"""Views of a picture, so that what is learnt of it bears being seen a little differently. Needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_PLAIN = 0.25
"""Share of views that are the picture itself."""


def varied(picture_HWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One view, of the same size: nearer, softer, lit otherwise.

    No view is mirrored or tinted, since captions speak of sides and colours.
    """
    if rng.random() < _PLAIN:
        return picture_HWC
    height, width = picture_HWC.shape[:2]
    image = Image.fromarray(picture_HWC)
    kept = float(rng.uniform(0.86, 1.0))
    left, top = width * (1 - kept) * float(rng.random()), height * (1 - kept) * float(rng.random())
    box = (left, top, left + width * kept, top + height * kept)
    soft = float(rng.uniform(0.4, 1.0)) if rng.random() < 0.4 else 1.0
    image = image.resize((round(width * soft), round(height * soft)), Image.Resampling.BILINEAR, box)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, np.float32)
    if rng.random() < 0.5:
        middle = pixels.mean()
        pixels = (pixels - middle) * float(rng.uniform(0.8, 1.15)) + middle + float(rng.uniform(-14, 14))
    if rng.random() < 0.25:
        spots = rng.standard_normal(pixels.shape, np.float32)
        pixels = pixels + spots * float(rng.uniform(2, 8))
    return np.asarray(np.rint(np.clip(pixels, 0, 255)), np.uint8)
