"""How to sample a model: guidance and its interval, solvers and spacings at few steps, distilled or not.

Every setting makes the same prompts from the same noise. `distance` is the RMS difference of the latents from
those of a fine reference (64 steps of Heun's method), as a share of its own RMS: what the solver loses, and
nothing else. `right` is the percentage of pictures in which the judge sees all that was
asked for, with its 95% interval; `held out` is the same for compositions that training never saw.

Usage:
    python benchmarks/ablations/sampling.py guidance --models DIR [--judge DIR] [--count 32] [--kinds single]
    python benchmarks/ablations/sampling.py solvers --models DIR [--judge DIR]
    python benchmarks/ablations/sampling.py models --models TEACHER STUDENT ... [--judge DIR]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tables import markdown

from pictor.core.errors import PlanError
from pictor.core.levels import Level
from pictor.core.noise import picture_noise
from pictor.core.pixels import to_pixels
from pictor.core.predictions import x0_from_output
from pictor.core.spacings import spacing
from pictor.evaluation.judge import Judge
from pictor.evaluation.prompts import KINDS, Prompt, PromptBook
from pictor.evaluation.report import percent
from pictor.evaluation.scoring import ALL, marks, tally
from pictor.evaluation.training_book import TrainingBook, training_book
from pictor.families.registry import open_bundle
from pictor.sampling import guided, sample, solver
from pictor.sampling.guidance import Which, interval

SCALES = (1.0, 2.0, 3.0, 4.5)
INTERVALS = ((0.0, 1.0), (0.0, 0.8), (0.2, 1.0), (0.2, 0.8))
SOLVERS = ("euler", "heun", "dpmpp_2m", "dpmpp_3m", "unipc")
SPACINGS = ("uniform", "karras", "exponential", "beta")
STEPS = (4, 8)
_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How pictures are made; guided from `low` until `high` of the way, where 0 is noise."""

    num_steps: int
    solver: str
    spacing: str
    scale: float
    low: float = 0.0
    high: float = 1.0

    @property
    def reference(self) -> Setting:
        """The fine setting whose path this one follows."""
        return replace(self, num_steps=64, solver="heun", spacing="uniform")


class Maker:
    """One model, one list of prompts, one noise for each."""

    def __init__(self, model: Path, texts: Sequence[str]) -> None:
        self.bundle = open_bundle(model)
        self.traits = traits = self.bundle.traits
        width, height = traits.defaults.size
        shape = (traits.latent_channels, height // traits.latent_stride, width // traits.latent_stride)
        self.noise_BChw = np.stack([picture_noise(seed, shape) for seed in range(len(texts))])
        chunks = max(self.bundle.count_chunks(text) for text in texts)
        self.words = [self.bundle.encode_prompt(text, chunks=chunks) for text in texts]
        self.empty = self.bundle.encode_prompt("", chunks=chunks)

    @property
    def default(self) -> Setting:
        usual = self.traits.defaults
        return Setting(
            num_steps=usual.num_steps,
            solver=usual.solver,
            spacing=usual.spacing,
            scale=usual.guidance_scale,
        )

    def program(self, setting: Setting) -> list[Any]:
        """The steps that a setting takes.

        Raises:
            PlanError: the spacing has no place for so many steps on this path.
        """
        levels = spacing(setting.spacing)(self.traits.path, setting.num_steps)
        return solver(setting.solver)(levels)

    def latents(self, setting: Setting) -> NDArray[np.float32]:
        """Clean latents of every prompt, [B, C, h, w]."""
        program = self.program(setting)
        # On the straight path the way is 1 - t.
        rule = interval(setting.scale, _ratio(1 - setting.high), _ratio(1 - setting.low))
        made = []
        for first in range(0, len(self.words), _BATCH):
            noise = self.noise_BChw[first : first + _BATCH]
            words = self.words[first : first + _BATCH]

            def predict(
                x: NDArray[np.float32],
                levels: Sequence[Level],
                rows: Sequence[int],
                which: Sequence[Which],
                words: Sequence[Any] = words,
            ) -> NDArray[np.float32]:
                chosen = [
                    words[row] if one == "conditional" else self.empty
                    for row, one in zip(rows, which, strict=True)
                ]
                embeds = {name: np.stack([one[name] for one in chosen]) for name in self.empty}
                times = np.array([level.time for level in levels])
                x0: NDArray[np.float32] = x0_from_output(
                    self.bundle.prediction, x, self.bundle.network(x, times, embeds), levels
                )
                return x0

            denoise = guided(predict, [rule] * len(noise))
            made.append(sample(denoise, noise, [program] * len(noise)))
        return np.concatenate(made)

    def pictures(self, x0_BChw: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
        """Decoded, each [H, W, 3]."""
        parts = np.split(x0_BChw, range(_BATCH, len(x0_BChw), _BATCH))
        return [picture for part in parts for picture in to_pixels(self.bundle.autoencoder.decode(part))]


def _ratio(t: float) -> float:
    """sigma/alpha at a time of the straight path."""
    return t / (1 - t) if t < 1 else math.inf


def distance(x_BChw: NDArray[np.float32], reference_BChw: NDArray[np.float32]) -> float:
    """RMS difference as a share of the reference's RMS."""
    gap = np.square(x_BChw - reference_BChw, dtype=np.float64).mean()
    return math.sqrt(gap / np.square(reference_BChw, dtype=np.float64).mean())


class Bench:
    """Makes the prompts' pictures by one model, and scores them."""

    def __init__(self, model: Path, prompts: Sequence[Prompt], judge: Judge | None) -> None:
        self.prompts = prompts
        self.maker = Maker(model, [prompt.text for prompt in prompts])
        self.judge = judge
        self._references: dict[Setting, NDArray[np.float32]] = {}

    @property
    def default(self) -> Setting:
        return self.maker.default

    def reference(self, setting: Setting) -> NDArray[np.float32]:
        """Latents of the fine setting, made once."""
        fine = setting.reference
        if fine not in self._references:
            self._references[fine] = self.maker.latents(fine)
        return self._references[fine]

    def score(self, setting: Setting, reference_BChw: NDArray[np.float32]) -> list[str]:
        """The cells under SCORES."""
        made = self.maker.latents(setting)
        steps = str(len(self.maker.program(setting)))
        return [steps, f"{distance(made, reference_BChw):.3f}", *self.right(made)]

    def right(self, made: NDArray[np.float32]) -> list[str]:
        """The cells under RIGHT; without a judge nothing is said."""
        if self.judge is None:
            return ["-", "-"]
        cells: list[str] = []
        sight = self.judge.look(self.maker.pictures(made))
        for held_out in (False, True):
            judged = [
                marks(prompt.caption, sight, index)
                for index, prompt in enumerate(self.prompts)
                if prompt.held_out == held_out
            ]
            cells.append(percent(tally(judged).get(ALL)))
        return cells


RIGHT = ("right", "right, held out")
SCORES = ("steps of the network", "distance", *RIGHT)


def guidance_rows(bench: Bench) -> Iterable[list[str]]:
    """Scales and intervals, by the model's own solver and steps."""
    for scale in SCALES:
        for low, high in INTERVALS if scale != 1.0 else INTERVALS[:1]:
            setting = replace(bench.default, scale=scale, low=low, high=high)
            made = bench.maker.latents(setting)
            yield [f"{scale:g}", f"{low:g} to {high:g}", *bench.right(made)]


def solver_rows(bench: Bench) -> Iterable[list[str]]:
    """Solvers and spacings at few steps, with the model's own guidance."""
    for steps in STEPS:
        for name in SOLVERS:
            for spaced in SPACINGS:
                setting = replace(bench.default, num_steps=steps, solver=name, spacing=spaced)
                try:
                    bench.maker.program(setting)
                except PlanError:  # no such grid on this path
                    continue
                yield [str(steps), name, spaced, *bench.score(setting, bench.reference(setting))]


def model_rows(benches: dict[str, Bench]) -> Iterable[list[str]]:
    """Each by its own defaults against the first one's reference, and the first in the others' steps."""
    name, first = next(iter(benches.items()))
    reference = first.reference(first.default)
    yield [f"{name}, {first.default.num_steps} steps", *first.score(first.default, reference)]
    for other, bench in list(benches.items())[1:]:
        few = replace(first.default, num_steps=bench.default.num_steps)
        yield [f"{name}, {few.num_steps} steps", *first.score(few, reference)]
        yield [f"{other}, {bench.default.num_steps} steps", *bench.score(bench.default, reference)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("guidance", "solvers", "models"))
    parser.add_argument(
        "--models", type=Path, nargs="+", required=True, help="model folders; a teacher first"
    )
    parser.add_argument("--judge", type=Path, help="a trained judge's folder; without it nothing is judged")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["single"])
    parser.add_argument(
        "--count", type=int, default=32, help="prompts of each kind, seen and held out, in each language"
    )
    options = parser.parse_args()
    judge = None if options.judge is None else Judge(options.judge)
    within = (training_book(options.models[0]) or TrainingBook()).mix
    prompts = PromptBook(16, within=within).prompts(options.kinds, options.count)  # nothing is drawn
    benches = {str(model): Bench(model, prompts, judge) for model in options.models}
    if options.what == "models":
        print(markdown(("model", *SCORES), list(model_rows(benches))))
        return
    for name, bench in benches.items():
        print(f"{name}, {len(prompts)} prompts\n")
        if options.what == "guidance":
            print(markdown(("scale", "interval", *RIGHT), list(guidance_rows(bench))))
        else:
            print(markdown(("steps", "solver", "spacing", *SCORES), list(solver_rows(bench))))


if __name__ == "__main__":
    main()
