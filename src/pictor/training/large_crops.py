"""Crops of large pictures, each beside what the enlarged small picture shows there. Needs no torch.

Legend of array shapes: B samples, S side of a crop in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictor.core.pixels import from_pixels
from pictor.families.parts.cascading import enlarged, shrunk
from pictor.training.pictures import Pictures

_PURPOSE = 47


@dataclass(frozen=True, kw_only=True)
class LargeCrops:
    """Draws samples by their numbers; can be pickled to other processes."""

    pictures: Pictures
    seed: int
    scale: int
    """How many times smaller the small picture is."""
    side: int
    """Of the crops, a multiple of the scale."""
    each: int
    """Crops of every picture: drawing costs more than cutting."""

    def __call__(self, first: int, count: int) -> dict[str, NDArray[Any]]:
        """Samples first .. first + count - 1, a pure function of the seed and the numbers.

        Returns:
            large, like [B, 3, S, S] in [-1, 1], the crop and the enlarged small one of the same place;
            eps, veil [B, 3, S, S] standard normal; t, share [B] uniform in [0, 1).
        """
        larges, likes, noises, shares = [], [], [], []
        picture = -1
        large: NDArray[np.float32] = np.empty(0, np.float32)
        small = large
        for number in range(first, first + count):
            if number // self.each != picture:
                picture = number // self.each
                large, small = self.pair(picture, held_out=False)
            key = np.array([self.seed, _PURPOSE], np.uint64)
            rng = np.random.Generator(
                np.random.Philox(key=key, counter=np.array([0, 0, 0, number], np.uint64))
            )
            part = self.side // self.scale
            top, left = (int(rng.integers(side - part + 1)) for side in small.shape[1:])
            # Enlarged as a crop: its sides are seen as a whole picture's are.
            likes.append(enlarged(small[None, :, top : top + part, left : left + part], self.scale)[0])
            top, left = top * self.scale, left * self.scale
            larges.append(large[:, top : top + self.side, left : left + self.side])
            noises.append(rng.standard_normal((2, 3, self.side, self.side), np.float32))
            shares.append(rng.random(2, np.float32))
        eps_veil, t_share = np.stack(noises, axis=1), np.stack(shares, axis=1)
        return {
            "large": np.stack(larges),
            "like": np.stack(likes),
            "eps": eps_veil[0],
            "veil": eps_veil[1],
            "t": t_share[0],
            "share": t_share[1],
        }

    def pair(self, number: int, *, held_out: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A whole picture [3, H, W] in [-1, 1], and the small one."""
        pixels = self.pictures.shown(number, held_out).pixels
        large_13HW = from_pixels(pixels[None])
        return large_13HW[0], shrunk(large_13HW, self.scale)[0].clip(-1, 1)
