"""Pairs of a small and a large crop of one picture, for a network that enlarges. Needs no torch."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pictor.data.picturebook import Mix, Picturebook

_FILTERS = (
    Image.Resampling.BOX,
    Image.Resampling.BILINEAR,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


def worn(large_HWC: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture at half its size, as small pictures come: shrunk by one filter or another, and at times a
    little soft, grainy or compressed. A third are shrunk and no more.

    Args:
        large_HWC: of even sides.
        rng: chooses.
    """
    image = Image.fromarray(large_HWC)
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.3, 1.2))))
    small = image.resize((image.width // 2, image.height // 2), _FILTERS[int(rng.integers(4))])
    if rng.random() < 0.3:
        grain = rng.standard_normal((small.height, small.width, 3), np.float32) * float(rng.uniform(0.5, 3))
        small = Image.fromarray(np.rint(np.clip(np.asarray(small) + grain, 0, 255)).astype(np.uint8))
    if rng.random() < 0.3:
        buffer = io.BytesIO()
        small.save(buffer, "JPEG", quality=int(rng.integers(70, 97)), subsampling=int(rng.choice([0, 2])))
        small = Image.open(buffer)
    return np.asarray(small)


def psnr(one_HWC: NDArray[np.uint8], other_HWC: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of pixels in dB, over all three channels."""
    error = np.square(one_HWC.astype(np.float64) - other_HWC).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


class EnlargerPairs:
    """Numbered pairs of crops of the pictures of one book; can be pickled to processes that draw.

    Args:
        size: side that pictures are drawn at, in pixels, even.
        crop: side of the small crops; the large ones are of twice that.
        crops: pairs of each picture; pair number n is of picture n // crops.
        seed: of the book.
        font: as in `Picturebook`.
        mix: as in `Picturebook`.
    """

    def __init__(self, size: int, crop: int, crops: int, seed: int, font: Path | None, mix: Mix) -> None:
        self.crop = crop
        self.crops = crops
        self.book = Picturebook(size, seed, font, mix)

    def __call__(self, first: int, count: int) -> dict[str, NDArray[np.generic]]:
        """Pairs first .. first + count - 1.

        Returns:
            `small`, uint8 [count, crop, crop, 3], and `large` of the same places, at twice the side.
        """
        smalls, larges = [], []
        picture, large, small = -1, np.empty(0, np.uint8), np.empty(0, np.uint8)
        for number in range(first, first + count):
            if number // self.crops != picture:
                picture = number // self.crops
                large = self.book.picture(picture)
                small = worn(large, self.book.rng(picture, 71))
            rng = self.book.rng(number, 72)
            top, left = (int(rng.integers(len(small) - self.crop + 1)) for _ in range(2))
            bottom, right = top + self.crop, left + self.crop
            smalls.append(small[top:bottom, left:right])
            larges.append(large[2 * top : 2 * bottom, 2 * left : 2 * right])
        return {"small": np.stack(smalls), "large": np.stack(larges)}

    def held_out(
        self, index: int, scale: int, *, wear: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """A whole picture whose composition no pair is of: small, and large.

        Args:
            index: of the picture.
            scale: how many times smaller the small one is, a power of 2.
            wear: shrink it as in pairs; else by the bicubic filter, as the field measures.
        """
        large = self.book.picture(index, held_out=True)
        side = len(large) // scale
        if not wear:
            return np.asarray(Image.fromarray(large).resize((side, side), Image.Resampling.BICUBIC)), large
        halved = Image.fromarray(large).resize((2 * side, 2 * side), Image.Resampling.BOX)
        return worn(np.asarray(halved), self.book.rng(index, 73)), large
