"""What the processes of the tests of sharding run: found by its name in processes that are spawned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from pictor.training.objectives import Batch

SIZE = 4 * 16 + 16 + 3 * (16 * 16 + 16) + 5 * 16 + 5 + 4
"""Numbers that a `Waves` holds, frozen ones among them."""


class Stack(nn.Module):
    """Blocks in a list, as the networks of diffusers and transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 16)
        self.blocks = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.last = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        out: torch.Tensor = self.last(x)
        return out


class Scale(nn.Module):
    """Frozen, and asked by name."""

    def __init__(self) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.arange(1.0, 5.0), requires_grad=False)

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.by


class Waves:
    """Learns five sines of four numbers."""

    def __init__(self, table: dict[str, Any], seed: int) -> None:
        self.table, self.seed = table, seed
        self.module = nn.Module()
        self.module.scale, self.module.stack = Scale(), Stack()
        if "loose" in table:
            self.module.loose = nn.Parameter(torch.ones(3))

    def rate(self, name: str) -> float:
        return 0.5 if ".blocks." in name else 1.0

    def batch(self, first: int, count: int) -> Batch:
        draws = (torch.Generator().manual_seed(self.seed * 7919 + n) for n in range(first, first + count))
        return {"x": torch.stack([torch.rand(4, generator=draw) for draw in draws])}

    def _error(self, x: torch.Tensor) -> torch.Tensor:
        wanted = torch.sin(x @ torch.linspace(-2, 2, 20).reshape(4, 5))
        return (self.module.stack(self.module.scale.encode(x)) - wanted).square().mean()

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        if "count" in self.table and dist.is_initialized() and batch["x"].shape[0] > 1:
            held = sum(getattr(p, "_local_tensor", p).numel() for p in self.module.parameters())
            (Path(self.table["count"]) / str(dist.get_rank())).write_text(str(held))
        return self._error(batch["x"]), {}

    def validate(self) -> dict[str, float]:
        return {"held_out": float(self._error(torch.linspace(0, 1, 128).reshape(32, 4)))}

    def save(self, folder: Path) -> None:
        torch.save(self.module.state_dict(), folder / "weights.pt")


def build(table: dict[str, Any], seed: int) -> Waves:
    return Waves(table, seed)
