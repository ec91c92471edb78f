"""How many numbers a latent needs: PSNR of the linear code by patch side and channels.

The linear code (principal components of patches) is what a trained autoencoder starts from and has to beat.
It is fitted on compositions that training sees, and measured on held-out ones too.

Usage: python benchmarks/ablations/latents.py [--size 128] [--count 1500]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tables import markdown

from pictor.data.picturebook import Picturebook
from pictor.training.linear_code import LinearCode, fit_linear_code, patches

GRID = ((8, (8, 16, 24, 32)), (16, (32, 48, 64, 80, 96, 128)))
"""Patch sides, and the numbers of channels tried with each."""


def psnr(code: LinearCode, pictures: NDArray[np.uint8], channels: Sequence[int]) -> list[float]:
    """PSNR in dB of the mean error, with only the first so many components.

    Args:
        code: fitted without whitening, so that its rows are orthogonal and of one length.
        pictures: [N, H, W, 3].
        channels: numbers of components, none above the code's own.
    """
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    centred = patches(image, code.factor).reshape(-1, len(code.mean)) - torch.from_numpy(code.mean).float()
    basis = torch.from_numpy(code.weight / np.linalg.norm(code.weight, axis=1, keepdims=True)).float()
    kept = (centred @ basis.T).square().mean(0, dtype=torch.float64).cumsum(0)
    total = float(centred.square().mean(0, dtype=torch.float64).sum())
    errors = [max(total - float(kept[number - 1]), 1e-12) / len(code.mean) for number in channels]
    return [float(10 * np.log10(4 / error)) for error in errors]


def rows(size: int, count: int) -> list[tuple[object, ...]]:
    """The table's rows, from so many pictures of each kind."""
    book = Picturebook(size)
    seen = np.stack([book.picture(index) for index in range(count)])
    fresh = np.stack([book.picture(index) for index in range(count, count + max(1, count // 4))])
    held = np.stack([book.picture(index, held_out=True) for index in range(max(1, count // 4))])
    found: list[tuple[object, ...]] = []
    for factor, channels in GRID:
        code = fit_linear_code(seen, factor, max(channels), whitening=0.0, spread=1.0)
        side = size // factor
        figures = zip(channels, psnr(code, fresh, channels), psnr(code, held, channels), strict=True)
        found += [
            (f"{factor}x{factor}", number, f"{side}x{side}", number * side**2, f"{a:.1f}", f"{b:.1f}")
            for number, a, b in figures
        ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
    parser.add_argument("--count", type=int, default=1500, help="pictures that the code is fitted on")
    options = parser.parse_args()
    head = ("patch", "channels", "latents", "numbers a picture", "PSNR, new pictures", "PSNR, held out")
    print(markdown(head, rows(options.size, options.count)))


if __name__ == "__main__":
    main()
