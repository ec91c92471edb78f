"""Kill a training again and again: it ends as one that nobody touched, and keeps its last checkpoint.

Usage: python benchmarks/killing.py [--kills 20] [--seed 0]

So many processes are killed (SIGKILL) at random moments of a run, each going on where the one before was
killed, and as many of another run with a checkpoint half written. Printed as JSON; a failure is exit code 1.
Needs a system that can fork. The network is small: what is tested is the loop and its checkpoints.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pictor.core.errors import Cancelled
from pictor.training import loop
from pictor.training.checkpoints import latest_checkpoint, load_checkpoint
from pictor.training.learner import Learner
from pictor.training.loop import train
from pictor.training.objectives import Batch
from pictor.training.processes import Team
from pictor.training.recipe import Recipe, validated
from pictor.training.run_files import CHECKPOINTS

_LIVES = 100
"""Steps that a process does at most before it is killed."""
_STEPS = 3000
_TRIES = 20
"""Kills for each that meets a half-written checkpoint, at most."""


class Line:
    """Learns y = 3 x - 1 from counted samples."""

    def __init__(self, width: int, seed: int) -> None:
        self.seed = seed
        self.module = nn.Sequential(nn.Linear(1, width), nn.Tanh(), nn.Linear(width, 1))

    def rate(self, name: str) -> float:
        return 1.0

    def batch(self, first: int, count: int) -> Batch:
        generators = (torch.Generator().manual_seed(self.seed + i) for i in range(first, first + count))
        return {"x": torch.stack([torch.rand(1, generator=generator) for generator in generators])}

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        return (self.module(batch["x"]) - (3 * batch["x"] - 1)).square().mean(), {}

    def validate(self) -> dict[str, float]:
        return {}

    def save(self, folder: Path) -> None:
        (folder / "line").touch()


def recipe(width: int, checkpoint_seconds: float) -> Recipe:
    table = {"name": "line", "samples": 4 * _STEPS, "batch_size": 4, "objective": {"width": width}}
    return validated(Recipe, table | {"checkpoint_minutes": checkpoint_seconds / 60}, "recipe")


def forked(work: Any) -> int:
    """The process that does this, in a group of nobody else's."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return process


def ended(process: int) -> int:
    """A process's exit code once it is gone; negative where a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def hashes(run: Path) -> dict[str, str]:
    checkpoint = latest_checkpoint(run / CHECKPOINTS)
    assert checkpoint is not None
    return {file.name: sha256(file.read_bytes()).hexdigest() for file in checkpoint.glob("*.safetensors")}


def killed_at_random(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill a run at random moments, and compare its end with that of one that was not killed."""
    wanted = recipe(8, 0.02)
    whole, often = folder / "whole", folder / "often"
    assert ended(forked(lambda: train(wanted, whole))) == 0
    reached = []
    for _ in range(kills):
        told, tell = os.pipe()
        process = forked(
            lambda tell=tell: train(wanted, often, resume=True, on_progress=lambda _: os.write(tell, b"."))
        )
        os.close(tell)
        for _ in range(chance.randint(1, _LIVES)):
            os.read(told, 1)
        time.sleep(chance.uniform(0.0, 0.01))
        os.kill(process, signal.SIGKILL)
        os.close(told)
        if ended(process) != -signal.SIGKILL:
            raise SystemExit("a process had ended before it was killed")
        last = latest_checkpoint(often / CHECKPOINTS)
        reached.append(int(last.name) // 4 if last else 0)
    assert ended(forked(lambda: train(wanted, often, resume=True))) == 0
    return {"kills": kills, "steps": _STEPS, "reached": reached, "equal": hashes(whole) == hashes(often)}


def killed_while_saving(folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill runs that write till so many left a half; the last whole checkpoint loads, and is no older one."""
    wanted, run = recipe(100_000, 1e-6), folder / "saving"  # 300,000 weights, saved after every step
    steps = iter([False, True])
    with suppress(Cancelled):
        train(wanted, run, should_stop=lambda: next(steps))
    places = run / CHECKPOINTS
    tries, halves, loaded, before = 0, 0, 0, 0
    while halves < kills and tries < _TRIES * kills:
        tries += 1
        process = forked(lambda: train(wanted, run, resume=True))
        mine = places / f".writing-{process}"
        while not mine.exists() and not os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            time.sleep(0.0002)
        time.sleep(chance.uniform(0.0, 0.02))
        os.kill(process, signal.SIGKILL)
        if ended(process) != -signal.SIGKILL:
            raise SystemExit("a process had ended before it was killed")
        halves += mine.exists()
        last = latest_checkpoint(places)
        assert last is not None
        objective = Line(100_000, 1)
        learner = Learner(objective, wanted, torch.device("cpu"), Team())
        record = load_checkpoint(last, objective.module, learner.optimiser, learner.averages)
        finite = all(bool(p.isfinite().all()) for p in objective.module.parameters())
        loaded += finite and record["samples_seen"] == int(last.name) >= before
        before = int(last.name)
    return {"kills": tries, "half_written": halves, "loaded": loaded}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)  # others would not be there after a fork
    loop.build = lambda table, seed: Line(table["width"], seed)
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        train(recipe(8, 1), Path(folder) / "first", minutes=0.0)  # what is imported here is not in each fork
        found = {
            "at_random": killed_at_random(Path(folder), options.kills, chance),
            "while_saving": killed_while_saving(Path(folder), options.kills, chance),
        }
    print(json.dumps(found, indent=1))
    saving = found["while_saving"]
    whole = saving["loaded"] == saving["kills"] and saving["half_written"] == options.kills
    sys.exit(not (found["at_random"]["equal"] and whole))


if __name__ == "__main__":
    main()
