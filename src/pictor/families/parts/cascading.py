"""The second stage of a cascade: diffusion of what the enlarged small picture lacks, beside it.

The enlarged picture is noised to a level that the network is told, so that it mends what the first stage got
wrong instead of copying it (noise conditioning augmentation: Ho et al. 2022, arXiv:2106.15282; Saharia et al.
2022, arXiv:2205.11487, section 2.4).

Legend of array shapes: B pictures, h, w rows and columns of the small picture, H, W of the large one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import hypot
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.levels import Level, VPPath
from pictor.core.noise import picture_noise
from pictor.core.predictions import x0_from_output
from pictor.core.spacings import trailing
from pictor.sampling import sample, solver

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

_SEED = 0
"""Of the noise: what a picture becomes depends on the picture alone."""
_STARTS, _AUGMENTS = 0, 1 << 20
"""Steps of the stream of noise that are drawn apart from those of the solver's."""


def enlarged(image_BChw: Array, scale: int) -> Array:
    """Pictures [B, C, H, W] of so many times the sides, by the bicubic filter."""
    return _resized(image_BChw, (scale * image_BChw.shape[3], scale * image_BChw.shape[2]))


def shrunk(image_BCHW: Array, scale: int) -> Array:
    """Pictures [B, C, h, w] that the bicubic filter makes of larger ones."""
    return _resized(image_BCHW, (image_BCHW.shape[3] // scale, image_BCHW.shape[2] // scale))


def _resized(image_BCHW: Array, size: tuple[int, int]) -> Array:
    from PIL import Image

    planes = np.ascontiguousarray(image_BCHW, np.float32).reshape(-1, *image_BCHW.shape[2:])
    made = [np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC)) for plane in planes]
    return np.stack(made).reshape(*image_BCHW.shape[:2], *made[0].shape)


@dataclass(frozen=True, kw_only=True)
class SuperResolution:
    """Makes large pictures of small ones by denoising."""

    run: Callable[[Array, NDArray[np.float64], NDArray[np.float64]], Array]
    """From [B, 6, H, W], noisy differences and then the pictures that they belong to, with a time and an
    augmentation time each, to the network's output [B, 3, H, W]."""
    path: VPPath
    prediction: str
    scale: int
    multiple: int
    """What `run` needs sides to be multiples of, in pixels; pictures of other sides are filled up for it."""
    spread: float
    """What differences are divided by before they are noised."""
    augmentation: float
    """How noisy what they are to be like is made, as a share of the path's clock: 0 is hardly."""
    num_steps: int
    solver: str = "ddim"

    def __call__(self, small_B3hw: Array) -> Array:
        """Pictures [B, 3, H, W] in [-1, 1], one at a time, each a function of the small one alone."""
        return np.concatenate([self._one(small[None]) for small in small_B3hw])

    def _one(self, small_13hw: Array) -> Array:
        plain_13HW = enlarged(small_13hw, self.scale)
        shape = plain_13HW.shape[1:]
        least, most = ((edge - plain_13HW) / self.spread for edge in (-1.0, 1.0))
        told = self.path.at(self.augmentation * self.path.t_max)
        veil = picture_noise(_SEED, shape, step=_AUGMENTS)
        like_13HW = np.float32(told.alpha) * plain_13HW + np.float32(told.sigma) * veil

        def denoise(x: Any, levels: Sequence[Level], _rows: Sequence[int]) -> Any:
            times = np.array([level.time for level in levels])
            out = self._filled(np.concatenate([x, like_13HW], axis=1), times, np.full_like(times, told.time))
            return x0_from_output(self.prediction, x, out, levels).clip(least, most)

        levels = trailing(self.path, self.num_steps)
        start = np.float32(hypot(levels[0].alpha, levels[0].sigma)) * picture_noise(
            _SEED, shape, step=_STARTS
        )
        difference: Array = sample(
            denoise,
            start[None],
            [solver(self.solver)(levels)],
            lambda _row, step: picture_noise(_SEED, shape, step=step),
        )
        large: Array = plain_13HW + np.float32(self.spread) * difference
        return large.clip(-1, 1)

    def _filled(self, x_16HW: Array, time: NDArray[np.float64], told: NDArray[np.float64]) -> Array:
        height, width = x_16HW.shape[2:]
        below, right = (-side % self.multiple for side in (height, width))
        whole = np.pad(x_16HW, [(0, 0), (0, 0), (0, below), (0, right)], "symmetric")
        return self.run(whole, time, told)[:, :, :height, :width]
