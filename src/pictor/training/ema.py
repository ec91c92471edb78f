"""Weight averages whose length grows with the run."""

from __future__ import annotations

import math

import torch
from torch import nn


def width_to_exponent(width: float) -> float:
    """Exponent gamma of the power-function average with this relative width.

    Solves width^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), monotone for gamma >= 0, by bisection
    (Karras et al. 2024, arXiv 2312.02696, equation 126).

    Args:
        width: standard deviation of the averaging window, as a share of the run so far; 0 < width < 0.28.
    """
    low, high = 0.0, 1e6
    for _ in range(200):
        gamma = (low + high) / 2
        if math.sqrt((gamma + 1) / ((gamma + 2) ** 2 * (gamma + 3))) > width:
            low = gamma
        else:
            high = gamma
    return (low + high) / 2


class WeightAverage:
    """One averaged copy of a module's parameters: beta_t = (1 - 1/t)^(gamma + 1)."""

    def __init__(self, module: nn.Module, width: float) -> None:
        self.width = width
        self.gamma = width_to_exponent(width)
        self._module: nn.Module | None = None
        self._live: list[torch.Tensor] = []
        self.tensors = {name: p.detach().clone() for name, p in module.named_parameters() if p.requires_grad}

    def _weights(self, module: nn.Module) -> list[torch.Tensor]:
        """What is averaged, in the order of `tensors`; walking a network at every step would take long."""
        if self._module is not module:
            live = dict(module.named_parameters())
            self._module, self._live = module, [live[name] for name in self.tensors]
        return self._live

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the weights after `step`, counted from 1."""
        beta = (1 - 1 / step) ** (self.gamma + 1)
        torch._foreach_lerp_(list(self.tensors.values()), self._weights(module), 1 - beta)

    @torch.no_grad()
    def swap(self, module: nn.Module) -> None:
        """Exchange the averaged weights with the module's own; a second call undoes it."""
        for mean, live in zip(self.tensors.values(), self._weights(module), strict=True):
            kept = live.clone()
            live.copy_(mean)
            mean.copy_(kept)
