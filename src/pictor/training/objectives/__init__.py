"""What a network learns: one file an objective, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from pictor.core.errors import InputError

Batch = dict[str, torch.Tensor]


class Objective(Protocol):
    """A network, its samples and its loss. The loop knows nothing else."""

    module: nn.Module
    """What is trained; parameters without gradients stay as they are."""

    def rate(self, name: str) -> float:
        """Factor on the learning rate of the parameter of this name."""

    def batch(self, first: int, count: int) -> Batch:
        """Samples first .. first + count - 1: a pure function of the seed and the numbers."""

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        """The scalar to descend on, and figures for the log."""

    def validate(self) -> dict[str, float]:
        """Figures on samples that training never draws."""

    def save(self, folder: Path) -> None:
        """Write the network in the format that other tools open."""


def objective_names() -> list[str]:
    """The kinds that a recipe can name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def build(table: dict[str, Any], seed: int) -> Objective:
    """The objective that a recipe's `[objective]` table describes.

    Raises:
        InputError: an unknown kind or key, or a value out of range.
    """
    options = dict(table)
    kind = options.pop("kind", None)
    if kind not in objective_names():
        raise InputError(
            f"objective kind {kind!r} is unknown",
            expected=f"one of {', '.join(objective_names())}",
            remedy="Set kind in the recipe's [objective] table.",
            param="objective.kind",
        )
    objective: Objective = importlib.import_module(f"{__name__}.{kind}").build(options, seed)
    return objective
