"""What a network learns: one file an objective, found by its name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from pictor.core.errors import InputError
from pictor.training.drawing import Draw

Batch = dict[str, torch.Tensor]
Figures = Mapping[str, float | torch.Tensor]
"""Numbers or scalar tensors; those on a GPU are read only when they are shown, so that no step waits."""


class Objective(Protocol):
    """A network, its samples and its loss. The loop knows nothing else.

    The loop moves `module` and every attribute that is a `torch.nn.Module` to the run's device, and hands
    `loss` batches on that device; `validate` moves its own by `beside`. Before `save` all is back on the CPU.
    """

    module: nn.Module
    """What is trained; parameters without gradients stay as they are."""

    def rate(self, name: str) -> float:
        """Factor on the learning rate of the parameter of this name."""

    def batch(self, first: int, count: int) -> Batch:
        """Samples first .. first + count - 1: a pure function of the seed and the numbers."""

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        """The scalar to descend on, a mean over the samples, and figures for the log."""

    def validate(self) -> dict[str, float]:
        """Figures on samples that training never draws."""

    def save(self, folder: Path) -> None:
        """Write the network in the format that other tools open."""


@runtime_checkable
class DrawnElsewhere(Protocol):
    """What an objective may also offer: its samples without the rest of it."""

    def drawer(self) -> Draw:
        """What `batch` returns, as arrays, from something small that can be pickled to other processes."""


@runtime_checkable
class Batched(Protocol):
    """What an objective may also offer: samples in an order that makes batches of equal pictures."""

    def batches_of(self, size: int) -> None:
        """Told before the first batch how many samples each has, over all processes."""


@runtime_checkable
class ShowsPictures(Protocol):
    """What an objective may also offer: pictures while it learns."""

    def save_draft(self, folder: Path) -> None:
        """Write a model folder that `pictor.load` opens with torch: what `save` writes, without its graphs.

        The networks stay on their device and as they are.
        """


def beside(batch: Batch, module: nn.Module) -> Batch:
    """A batch on the device of a module's parameters."""
    device = next(module.parameters()).device
    return {key: tensor.to(device) for key, tensor in batch.items()}


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
