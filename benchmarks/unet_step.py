"""A step of a UNet of Stable Diffusion 1.5's size on the CPU: Pictor's torch backend and diffusers eager.

The weights are random, drawn once into a temporary folder that both read. Each engine runs in a process of
its own, in turns; what its first run adds (trying out layers, packing) is given apart.

Usage: python benchmarks/unet_step.py [--rounds 5] [--steps 3] [--batch 1] [--side 512]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rounds import abba, machine, ratio, run

ENGINES = ("pictor", "diffusers")


def write_model(folder: Path) -> None:
    """The default configuration of the class is Stable Diffusion 1.5's, but for the width of its words."""
    import torch
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    UNet2DConditionModel(sample_size=64, cross_attention_dim=768).save_pretrained(folder / "unet")


def inputs(batch: int, side: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "sample": rng.standard_normal((batch, 4, side // 8, side // 8), np.float32),
        "timestep": np.full(batch, 500.0, np.float32),
        "encoder_hidden_states": rng.standard_normal((batch, 77, 768), np.float32),
    }


def measure(engine: str, folder: Path, batch: int, side: int, steps: int) -> None:
    """In a process of its own: print seconds of the first run and of the others, and write the result."""
    arrays = inputs(batch, side)
    if engine == "pictor":
        from pictor.backends.torch import TorchModule

        module = TorchModule(folder, "unet", device="cpu")
        module.load()

        def step() -> np.ndarray:
            return module.run(**arrays)["out_sample"]
    else:
        import torch
        from diffusers import UNet2DConditionModel

        network = UNet2DConditionModel.from_pretrained(folder, subfolder="unet").eval()
        tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}

        def step() -> np.ndarray:
            with torch.inference_mode():
                return network(**tensors).sample.numpy()

    seconds = []
    for _ in range(1 + steps):
        started = time.perf_counter()
        made = step()
        seconds.append(time.perf_counter() - started)
    np.save(folder / f"{engine}.npy", made)
    print(json.dumps({"first": seconds[0], "step": statistics.median(seconds[1:])}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--engine", choices=ENGINES)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.engine:
        measure(options.engine, options.folder, options.batch, options.side, options.steps)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_model(folder)
        figures: dict[str, list[dict[str, float]]] = {engine: [] for engine in ENGINES}

        def measured(engine: str) -> float:
            sizes = [f"--{name}={getattr(options, name)}" for name in ("steps", "batch", "side")]
            command = [sys.executable, __file__, f"--engine={engine}", f"--folder={folder}", *sizes]
            done = run(command)
            figures[engine].append(json.loads(done.output) | {"peak": done.peak_mb})
            return figures[engine][-1]["step"]

        measured("pictor")  # the machine's one trial of each layer
        tuning = figures["pictor"].pop()["first"]
        pairs = abba(lambda: measured("pictor"), lambda: measured("diffusers"), options.rounds)
        ours, theirs = (np.load(folder / f"{engine}.npy").astype(np.float64) for engine in ENGINES)
    print(f"{machine()}; {options.side} px, batch {options.batch}, {options.rounds} rounds\n")
    print("| | seconds a step (median) | first step | peak memory |")
    print("|---|---|---|---|")
    for engine in ENGINES:
        step, first, peak = (
            statistics.median(figure[name] for figure in figures[engine])
            for name in ("step", "first", "peak")
        )
        print(f"| {engine} | {step:.2f} | {first:.1f} | {peak:.0f} MB |")
    middle, low, high = ratio(pairs)
    print(f"\nratio {middle:.2f} (95% interval {low:.2f} to {high:.2f}); first step ever {tuning:.0f} s")
    print(f"relative error {np.linalg.norm(ours - theirs) / np.linalg.norm(theirs):.1e}")


if __name__ == "__main__":
    main()
