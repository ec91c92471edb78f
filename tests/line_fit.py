"""An objective that trains in no time, for tests of the loop around it."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from pictor.training.objectives import Batch


class LineFit:
    """Learns y = 3 x - 1 from counted samples."""

    def __init__(self, seed: int, poison: int | None = None) -> None:
        self.seed, self.poison = seed, poison
        self.module = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
        self.drawn: list[int] = []

    def rate(self, name: str) -> float:
        return 0.5 if name.startswith("0.") else 1.0

    def batch(self, first: int, count: int) -> Batch:
        numbers = range(first, first + count)
        self.drawn.extend(numbers)
        x = torch.stack(
            [torch.rand(1, generator=torch.Generator().manual_seed(self.seed * 7919 + i)) for i in numbers]
        )
        if self.poison is not None and self.poison in numbers:
            x = x * float("nan")
        return {"x": x}

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        error = (self.module(batch["x"]) - (3 * batch["x"] - 1)).square().mean()
        return error, {"error": float(error.detach())}

    def validate(self) -> dict[str, float]:
        x = torch.linspace(0, 1, 32)[:, None]
        return {"held_out": float((self.module(x) - (3 * x - 1)).square().mean())}

    def save(self, folder: Path) -> None:
        torch.save(self.module[0].weight.detach(), folder / "weight.pt")
