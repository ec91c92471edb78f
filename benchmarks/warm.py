"""Warm pictures: Pictor against diffusers eager in one process each, same weights, steps and guidance.

Both are loaded once and make one picture untimed. Then they take turns.

Usage: python benchmarks/warm.py [--rounds 15] [--batch 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.resources import files

from rounds import abba, machine, ratio


def timed(work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    return measure


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--model", default=str(files("pictor") / "embedded"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    import pictor

    studio = pictor.load(options.model)
    defaults = studio.traits.defaults
    pipe = StableDiffusionPipeline.from_pretrained(options.model, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    order = 2 if defaults.solver == "dpmpp_2m" else 1
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(config, solver_order=order)

    def ours() -> object:
        return studio.generate("a red apple", count=options.batch, seed=0)

    def peer() -> object:
        return pipe(
            "a red apple",
            num_inference_steps=defaults.num_steps,
            guidance_scale=defaults.guidance_scale,
            num_images_per_prompt=options.batch,
            generator=torch.Generator().manual_seed(0),
        )

    ours(), peer()
    pairs = abba(timed(ours), timed(peer), options.rounds)
    middle, low, high = ratio(pairs)
    print(f"{machine()}; batch {options.batch}, {defaults.num_steps} steps, {options.rounds} rounds\n")
    print("| | ms a picture (median) |")
    print("|---|---|")
    for name, column in (("pictor", 0), ("diffusers eager", 1)):
        print(f"| {name} | {statistics.median(p[column] for p in pairs) * 1000 / options.batch:.0f} |")
    print(f"\nratio {middle:.2f} (95% interval {low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
