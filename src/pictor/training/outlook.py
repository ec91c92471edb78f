"""What a run is going to cost, told before it begins."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from pictor.training.devices import moved, networks, precise
from pictor.training.objectives import Objective
from pictor.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The size of a run."""

    parameters: int
    """Of all that the objective's module holds."""
    learning: int
    """Of these, those that change."""
    flops: int
    """Additions and multiplications of one sample's loss and gradient."""
    samples: int
    """Of the recipe, from the first on."""
    memory: int
    """Bytes of weights, gradients, moments and averages in one process; activations come on top."""

    def __str__(self) -> str:
        total = self.flops * self.samples
        return (
            f"{self.learning / 1e6:.1f} of {self.parameters / 1e6:.1f} million parameters learn;"
            f" {self.samples} samples of {self.flops / 1e9:.2g} GFLOP, {total / 1e15:.2g} PFLOP in all;"
            f" {self.memory / 1e9:.2g} GB of weights, gradients, moments and averages, besides activations"
        )


def outlook(objective: Objective, recipe: Recipe, device: torch.device) -> Outlook:
    """Count one sample's work. Nothing that decides the run is changed by it."""
    parameters = list(objective.module.parameters())
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        objective.module.eval()  # statistics of batches stay as they are
        with FlopCounterMode(display=False) as counter, precise(device, recipe.precision):
            loss, _ = objective.loss(moved(objective.batch(0, 1), device))
            loss.backward()  # type: ignore[no-untyped-call]
        objective.module.train()
    for parameter in parameters:
        parameter.grad = None
    held = {id(p): p for network in networks(objective) for p in network.parameters()}
    learnt = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
    return Outlook(
        parameters=sum(parameter.numel() for parameter in parameters),
        learning=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        # A gradient and two moments of each weight that learns.
        memory=sum(p.numel() * p.element_size() for p in held.values())
        + (3 + len(recipe.ema_widths)) * learnt,
        flops=counter.get_total_flops(),
        samples=recipe.samples,
    )
