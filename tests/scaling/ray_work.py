"""What the tests' processes on Ray run: found by its name in processes that import this module."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch

from pictor.core.errors import InputError
from pictor.training import loop
from pictor.training.engines import ray as engine
from pictor.training.objectives import Batch


class LineFit:
    """Learns y = 3 x - 1 from counted samples; what it is told to do at sample 88 happens once, or always."""

    def __init__(self, table: dict[str, Any], seed: int) -> None:
        self.table, self.seed = table, seed
        self.module = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))

    def rate(self, name: str) -> float:
        return 0.5 if name.startswith("0.") else 1.0

    def batch(self, first: int, count: int) -> Batch:
        if first == 88 and os.environ["RANK"] == "1":  # in the second process's share
            if "kill" in self.table and not Path(self.table["kill"]).exists():
                Path(self.table["kill"]).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if "torn" in self.table:
                raise InputError("picture 88 is torn", remedy="Mend it.")
        numbers = range(first, first + count)
        x = [torch.rand(1, generator=torch.Generator().manual_seed(self.seed * 7919 + i)) for i in numbers]
        return {"x": torch.stack(x)}

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        return (self.module(batch["x"]) - (3 * batch["x"] - 1)).square().mean(), {}

    def validate(self) -> dict[str, float]:
        x = torch.linspace(0, 1, 32)[:, None]
        return {"held_out": float((self.module(x) - (3 * x - 1)).square().mean())}

    def save(self, folder: Path) -> None:
        torch.save(self.module[0].weight.detach(), folder / "weight.pt")


_work = engine._work


def on_a_line(config: dict[str, Any]) -> object:
    """The life of a process that trains a `LineFit`."""
    loop.build = LineFit  # type: ignore[assignment]
    return _work(config)
