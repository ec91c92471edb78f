"""Give a drawing another colour as a painter would: the main surface changes, the details stay.

The result is linear in the colour, so that a drawing is taken apart once and painted cheaply ever after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Surface = Literal["main", "all", "grey"]

_HUE_BINS = 36
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ENOUGH = 0.34
"""Share of a drawing that must change for it to be called by the new colour."""


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


def surface_of(rgb_HWC: Floats, alpha_HW: Floats, which: Surface) -> Floats:
    """How much each pixel belongs to the surface that takes paint, in [0, 1].

    "main" is the commonest hue with its neighbours, more of the coloured parts where that hue is rare, and
    the whole drawing where colour is rare; "grey" is what is white to dark grey; "all" is everything.
    """
    chroma, hue = _chroma_and_hue(rgb_HWC)
    luma = rgb_HWC @ _LUMA
    whole = np.asarray(alpha_HW, np.float32)
    if which == "all":
        return whole
    # Near-black is outline, pupil and tyre, whatever the drawing.
    lit = np.clip((luma - 0.16) / 0.10, 0, 1)
    grey = np.clip((0.24 - chroma) / 0.12, 0, 1) * lit * whole
    if which == "grey":
        return np.asarray(grey)
    coloured = np.clip((chroma - 0.10) / 0.12, 0, 1) * whole
    histogram = np.bincount(
        (hue * _HUE_BINS).astype(int).ravel() % _HUE_BINS, (coloured * chroma).ravel(), minlength=_HUE_BINS
    )
    window = sum(np.roll(histogram, shift) for shift in (-2, -1, 0, 1, 2))
    centre = (int(np.argmax(window)) + 0.5) / _HUE_BINS
    distance = np.abs((hue - centre + 0.5) % 1.0 - 0.5)
    for near in (0.16, 0.30):
        chosen = coloured * np.clip((near - distance) / 0.05, 0, 1)
        if chosen.sum() >= _ENOUGH * whole.sum():
            return np.asarray(chosen)
    if grey.sum() >= _ENOUGH * whole.sum() and grey.sum() > 1.5 * coloured.sum():
        return np.asarray(grey)
    if coloured.sum() >= _ENOUGH * whole.sum():
        return np.asarray(coloured)
    return np.asarray(lit * whole)


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawing taken apart: premultiplied colour = kept + colour * paint + gloss * (1 - colour) * shine."""

    plain: NDArray[np.uint8]
    """[H, W, 4] premultiplied, in the drawing's own colours."""
    kept: Floats
    """[H, W, 3] what no paint changes."""
    paint: Floats
    """[H, W, 1] how much of the colour each pixel takes."""
    shine: Floats
    """[H, W, 1] how much of the white light on top of it."""

    def painted(self, rgb: tuple[int, int, int]) -> NDArray[np.uint8]:
        """[H, W, 4] premultiplied, with the surface's median brightness in the colour, 0 to 255 each."""
        colour = np.asarray(rgb, np.float32) / 255
        # White light on a dark thing would turn it grey: the darker the colour, the duller its gloss.
        gloss = 0.25 + 0.3 * float(colour @ _LUMA)
        mixed = self.kept + self.paint * colour + self.shine * (gloss * (1 - colour))
        out = self.plain.copy()
        np.clip(mixed * 255 + 0.5, 0, out[..., 3:], out=mixed)
        out[..., :3] = mixed
        return out


def take_apart(rgba_HWC: NDArray[np.uint8], which: Surface) -> Drawing:
    """Find a drawing's surface and its light and shade.

    Args:
        rgba_HWC: the drawing, not premultiplied.
        which: the surface that takes paint.
    """
    pixels = rgba_HWC.astype(np.float32) / 255
    source, alpha = pixels[..., :3], pixels[..., 3]
    surface = surface_of(source, alpha, which) / np.maximum(alpha, 1e-6)
    luma = source @ _LUMA
    touched = surface * alpha > 0.5
    middle = float(np.median(luma[touched])) if touched.any() else 0.5
    # Shade relative to the surface's own middle: darker scales the colour, lighter mixes white into it.
    dark = np.clip(0.25 + 0.75 * luma / max(middle, 0.08), 0.2, 1)
    light = np.clip((luma - middle) / max(1 - middle, 0.15), 0, 1)
    cover = (surface * alpha)[..., None]
    plain = np.concatenate([source * alpha[..., None], alpha[..., None]], -1)
    return Drawing(
        plain=np.asarray(np.rint(plain * 255), np.uint8),
        kept=source * (alpha[..., None] - cover),
        paint=cover * dark[..., None],
        shine=cover * light[..., None],
    )
