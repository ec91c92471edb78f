"""The network that enlarges against bicubic and Lanczos filters, on drawn pictures of held-out compositions.

Small pictures are made by the bicubic filter, as the field does, or worn: shrunk by one filter or another,
and at times a little soft, grainy or compressed. The peak signal-to-noise ratio is a mean over the pictures;
the times are the medians of whole calls on this machine.

Usage: python benchmarks/enlarging.py [--model DIR] [--pictures 64] [--size 256]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rounds import machine

import pictor
from pictor.data.picturebook import Mix
from pictor.training.enlarger_pairs import EnlargerPairs, psnr

Pixels = NDArray[np.uint8]
KINDS = (("x2", 2, False), ("x4", 4, False), ("x2 of worn pictures", 2, True))


def filtered(method: Image.Resampling) -> Callable[[Pixels, int], Pixels]:
    def enlarge(small: Pixels, scale: int) -> Pixels:
        size = scale * small.shape[1], scale * small.shape[0]
        return np.asarray(Image.fromarray(small).resize(size, method))

    return enlarge


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default=None)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    studio = pictor.load(options.model)

    def network(small: Pixels, scale: int) -> Pixels:
        return np.asarray(studio.upscale(small, scale=scale, method="network")[0].image)

    network(np.zeros((16, 16, 3), np.uint8), 2)  # opens the graph
    ways = {
        "bicubic": filtered(Image.Resampling.BICUBIC),
        "Lanczos": filtered(Image.Resampling.LANCZOS),
        "network": network,
    }
    pairs = EnlargerPairs(options.size, 8, 1, 0, None, Mix())
    print(f"{machine()}; {options.pictures} pictures of {options.size} px\n")
    print("| | " + " | ".join(f"{name}, dB | ms" for name, _, _ in KINDS) + " |")
    print("|---" * (1 + 2 * len(KINDS)) + "|")
    for label, way in ways.items():
        cells = []
        for _, scale, wear in KINDS:
            scores, seconds = [], []
            for index in range(options.pictures):
                small, large = pairs.held_out(index, scale, wear=wear)
                started = time.perf_counter()
                made = way(small, scale)
                seconds.append(time.perf_counter() - started)
                scores.append(psnr(made, large))
            cells.append(f"{statistics.mean(scores):.2f} | {statistics.median(seconds) * 1000:.1f}")
        print(f"| {label} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
