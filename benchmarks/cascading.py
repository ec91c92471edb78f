"""The second stage of a cascade against the bicubic filter, on renders that no training drew.

Small pictures are made by the bicubic filter. Peak signal-to-noise ratio in dB and sharpness, the mean step
between neighbouring pixels over the render's own, are means over pictures. The Frechet distance is that of
features, in the judge's network, of squares of the judge's own size cut from pictures as they are, so that
what the two add between pixels counts; `other renders` says what it is where nothing is to be told.

Usage: python benchmarks/cascading.py RUN [--pictures 24]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pictor
from pictor.core.pixels import from_pixels, to_pixels
from pictor.data.picturebook import Picturebook
from pictor.evaluation.judge import Judge, default_judge
from pictor.evaluation.metrics import frechet_distance
from pictor.families.parts.cascading import enlarged, shrunk
from pictor.training.enlarger_pairs import psnr

FIRST = 2_000_000_000
"""Number of the first scene, beyond the length of any run."""
Pixels = NDArray[np.uint8]


def squares(pictures: list[Pixels], side: int) -> list[Pixels]:
    """All that pictures are cut into."""
    return [
        picture[top : top + side, left : left + side]
        for picture in pictures
        for top in range(0, picture.shape[0] - side + 1, side)
        for left in range(0, picture.shape[1] - side + 1, side)
    ]


def sharpness(one: Pixels, true: Pixels) -> float:
    def steps(picture: Pixels) -> float:
        return sum(float(np.abs(np.diff(picture.astype(float), axis=axis)).mean()) for axis in (0, 1))

    return steps(one) / max(steps(true), 1e-6)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path, help="a run of the kind cascade, or its model")
    parser.add_argument("--pictures", type=int, default=24)
    options = parser.parse_args()
    studio, judge = pictor.load(options.run), Judge(default_judge())
    large: Any = studio.bundle.autoencoder
    size, scale = min(studio.traits.defaults.size), large.scale
    book = Picturebook(size)

    def renders(first: int) -> list[Pixels]:
        scenes = [book.scene(FIRST + first + n, held_out=True) for n in range(options.pictures)]
        return [book.draw(scene, FIRST + first + n) for n, scene in enumerate(scenes)]

    true, others = renders(0), renders(options.pictures)
    sets: dict[str, list[Pixels]] = {"bicubic": [], "cascade": []}
    for picture in true:
        small = shrunk(from_pixels(picture[None]), scale)
        sets["bicubic"].extend(to_pixels(enlarged(small, scale)))
        sets["cascade"].extend(to_pixels(large.enlarge(small)))
    features = {
        name: judge.look(squares(pictures, judge.size)).features
        for name, pictures in (sets | {"true": true, "other renders": others}).items()
    }
    print(f"{options.pictures} pictures of {size} px, {scale} times enlarged\n")
    print("| | PSNR, dB | sharpness | Frechet distance |\n|---|---|---|---|")
    for name, pictures in sets.items():
        pairs = list(zip(pictures, true, strict=True))
        distance = frechet_distance(features["true"], features[name])
        decibel, sharp = (np.mean([measure(*pair) for pair in pairs]) for measure in (psnr, sharpness))
        print(f"| {name} | {decibel:.2f} | {sharp:.2f} | {distance:.3f} |")
    print(f"| other renders | | | {frechet_distance(features['true'], features['other renders']):.3f} |")


if __name__ == "__main__":
    main()
