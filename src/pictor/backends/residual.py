"""The residual block of the small autoencoders."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    """Two convolutions beside an identity, which is all that it is before training (arXiv:1603.05027).

    It keeps the shape [B, C, H, W].
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x_BCHW + self.second(F.silu(self.first(F.silu(x_BCHW))))
        return out
