"""An autoencoder as the engine wants it: latents of unit variance, pixels in [-1, 1].

Legend of array shapes: B rows, C latent channels, h, w latent rows and columns, H, W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module

_USUAL_SCALES = {"AutoencoderKL": 0.18215, "AutoencoderDC": 1.0, "AutoencoderTiny": 1.0}
"""Where a configuration names none: each class has a default of its own."""


class ScaledAutoencoder:
    """Latents of unit variance: (autoencoder's latents - shift) * scale."""

    def __init__(self, decoder: Module, encoder: Module, scale: float, shift: float) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._scale = scale
        self._shift = shift

    def decode(self, x0_BChw: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._decoder.run(latent=x0_BChw / self._scale + self._shift)["image"]

    def encode(self, image_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        latent: NDArray[np.float32] = self._encoder.run(image=image_B3HW)["latent"]
        return (latent - self._shift) * self._scale


def scaling(file: Path, config: Mapping[str, Any]) -> tuple[float, float]:
    """Scale and shift of the latents. Both may stand as null; the scale has another default in each class."""
    usual = _USUAL_SCALES.get(str(config.get("_class_name")), 1.0)
    scale, shift = config.get("scaling_factor"), config.get("shift_factor")
    try:
        numbers = usual if scale is None else float(scale), 0.0 if shift is None else float(shift)
        if numbers[0] == 0.0 or not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"scaling_factor {numbers[0]}, shift_factor {numbers[1]}")
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{file} is damaged ({error})", expected="finite factors of the latents", param="model"
        ) from None
    return numbers


def latent_stride(config: Mapping[str, Any]) -> int:
    """Pixels a latent, along each side.

    Raises:
        KeyError, TypeError: the configuration names no blocks.
    """
    blocks = config.get("decoder_block_out_channels") or config["block_out_channels"]
    return int(2 ** (len(blocks) - 1))
