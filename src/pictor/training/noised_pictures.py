"""Pictures as an autoencoder sees them: pixels, and the noise that its codes are drawn by.

Legend of array shapes: B samples, C numbers of a code or channels of a grid of codes, h, w its rows and
columns, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pictor.training.objectives import Batch
from pictor.training.pictures import JUDGED_AT_ONCE, Pictures


@dataclass(frozen=True, kw_only=True)
class NoisedPictures:
    """Draws samples by their numbers; can be pickled to other processes."""

    pictures: Pictures
    channels: int
    factor: int | None = None
    """Pixels a code, along each side; None where a picture has one code."""

    def __call__(self, first: int, count: int, held_out: bool = False) -> dict[str, NDArray[Any]]:
        """Samples first .. first + count - 1, a pure function of the source's seed and the numbers.

        Args:
            first: number of the first sample.
            count: how many.
            held_out: pictures that training never sees, where there are any.

        Returns:
            image [B, H, W, 3] uint8; noise [B, C] or [B, C, h, w] float32; number [B] int64, their own.
        """
        images, noises = [], []
        for number in range(first, first + count):
            pixels, _, rng, _ = self.pictures.shown(number, held_out)
            sides = () if self.factor is None else [side // self.factor for side in pixels.shape[:2]]
            images.append(pixels)
            noises.append(rng.standard_normal((self.channels, *sides), np.float32))
        return {
            "image": np.stack(images),
            "noise": np.stack(noises),
            "number": np.arange(first, first + count),
        }

    def in_batches(self, size: int) -> NoisedPictures:
        """The same samples, ordered for batches of this size."""
        return replace(self, pictures=self.pictures.in_batches(size))

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        """The same as tensors."""
        return {key: torch.from_numpy(array) for key, array in self(first, count, held_out).items()}

    def judged(self, count: int) -> Iterator[Batch]:
        """So many held-out samples, in batches that each are of one size."""
        for first in range(0, count, JUDGED_AT_ONCE):
            yield self.batch(first, min(JUDGED_AT_ONCE, count - first), held_out=True)
