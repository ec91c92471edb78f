"""Cold start, exec to PNG: `pictor generate` against diffusers' pipeline on the same weights and steps.

Usage: python benchmarks/cold_start.py [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from rounds import Run, abba, machine, ratio, run

PROMPT = "a red apple"

PEER = """
import sys, warnings
warnings.filterwarnings("ignore")
from diffusers import StableDiffusionPipeline
import torch
model, steps, guidance, out = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
pipe = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
pipe.set_progress_bar_config(disable=True)
generator = torch.Generator().manual_seed(0)
pipe("PROMPT", num_inference_steps=steps, guidance_scale=guidance, generator=generator).images[0].save(out)
""".replace("PROMPT", PROMPT)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default=str(files("pictor") / "embedded"))
    options = parser.parse_args()
    import json

    defaults = json.loads((Path(options.model) / "pictor.json").read_text())["defaults"]
    ours_runs: list[Run] = []
    peer_runs: list[Run] = []
    with tempfile.TemporaryDirectory() as folder:
        pictor = Path(sys.executable).parent / "pictor"
        our_command = [
            str(pictor),
            "generate",
            PROMPT,
            "--out",
            f"{folder}/ours.png",
            "--model",
            options.model,
        ]
        steps, guidance = str(defaults["num_steps"]), str(defaults["guidance_scale"])
        peer_command = [sys.executable, "-c", PEER, options.model, steps, guidance, f"{folder}/peer.png"]

        def ours() -> float:
            ours_runs.append(run(our_command))
            return ours_runs[-1].seconds

        def peer() -> float:
            peer_runs.append(run(peer_command))
            return peer_runs[-1].seconds

        ours(), peer()  # fills the file cache
        ours_runs.clear(), peer_runs.clear()
        pairs = abba(ours, peer, options.rounds)
    middle, low, high = ratio(pairs)
    print(f"{machine()}; {options.rounds} rounds, {steps} steps, guidance {guidance}\n")
    print("| | seconds (median) | peak memory |")
    print("|---|---|---|")
    for name, runs in (("pictor generate", ours_runs), ("diffusers pipeline", peer_runs)):
        seconds = statistics.median(r.seconds for r in runs)
        print(f"| {name} | {seconds:.2f} | {max(r.peak_mb for r in runs):.0f} MB |")
    print(f"\nratio {middle:.1f} (95% interval {low:.1f} to {high:.1f})")


if __name__ == "__main__":
    main()
