"""Give a drawing another colour as a painter would: the main surface changes, the details stay."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]

_HUE_BINS = 36
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def _chroma_and_hue(rgb_HWC: Floats) -> tuple[Floats, Floats]:
    """Chroma in [0, 1] and hue in turns [0, 1), of the HSV hexagon."""
    top, low = rgb_HWC.max(-1), rgb_HWC.min(-1)
    chroma = top - low
    red, green, blue = np.moveaxis(rgb_HWC, -1, 0)
    safe = np.where(chroma > 1e-6, chroma, 1.0)
    sector = np.where(
        top == red,
        ((green - blue) / safe) % 6,
        np.where(top == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return chroma, (sector / 6).astype(np.float32)


def main_surface(rgb_HWC: Floats, alpha_HW: Floats) -> Floats:
    """How much each pixel belongs to the drawing's main surface, in [0, 1].

    The main surface is the commonest hue with its neighbours, or the grey part where that is clearly larger.
    """
    chroma, hue = _chroma_and_hue(rgb_HWC)
    luma = rgb_HWC @ _LUMA
    coloured = np.clip((chroma - 0.10) / 0.12, 0, 1) * alpha_HW
    # Near-black is outline and tyre, whatever the drawing; it never counts as surface.
    grey = np.clip((0.22 - chroma) / 0.12, 0, 1) * np.clip((luma - 0.18) / 0.12, 0, 1) * alpha_HW
    if coloured.sum() < 0.35 * grey.sum():
        return np.asarray(grey)
    histogram = np.bincount(
        (hue * _HUE_BINS).astype(int).ravel() % _HUE_BINS, (coloured * chroma).ravel(), minlength=_HUE_BINS
    )
    window = sum(np.roll(histogram, shift) for shift in (-2, -1, 0, 1, 2))
    centre = (int(np.argmax(window)) + 0.5) / _HUE_BINS
    distance = np.abs((hue - centre + 0.5) % 1.0 - 0.5)
    near = np.clip((0.16 - distance) / 0.05, 0, 1)
    return np.asarray(coloured * near)


def recolour(rgba_HWC: NDArray[np.uint8], rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Paint the main surface of a drawing in another colour and keep its light and shade.

    Args:
        rgba_HWC: the drawing.
        rgb: the colour that the surface's median brightness gets.

    Returns:
        [H, W, 4] RGBA of the same shape and coverage.
    """
    pixels = rgba_HWC.astype(np.float32) / 255
    source, alpha = pixels[..., :3], pixels[..., 3]
    surface = main_surface(source, alpha)
    luma = source @ _LUMA
    painted = surface > 0.5
    middle = float(np.median(luma[painted])) if painted.any() else 0.5
    target = np.asarray(rgb, np.float32) / 255
    # Shade relative to the surface's own middle: darker scales the target, lighter mixes white into it.
    ratio = luma / max(middle, 0.08)
    dark = target * np.clip(0.25 + 0.75 * ratio, 0.2, 1)[..., None]
    whiten = np.clip((luma - middle) / max(1 - middle, 0.15), 0, 1)[..., None] * 0.55
    paint = np.where(ratio[..., None] <= 1, dark, target + (1 - target) * whiten)
    mixed = source + surface[..., None] * (paint - source)
    out = np.concatenate([mixed, alpha[..., None]], -1)
    return np.asarray(np.rint(np.clip(out, 0, 1) * 255), np.uint8)
