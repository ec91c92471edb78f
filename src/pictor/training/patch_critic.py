"""A discriminator that judges patches (PatchGAN, Isola et al. 2017, arXiv:1611.07004).

Legend of array shapes: B pictures, H, W pixels, h, w patches that overlap.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn
from torch.func import functional_call


class PatchCritic(nn.Module):
    """From a picture in [-1, 1] to one number for each patch, greater where it looks real.

    Args:
        channels: of the first layer; each further one has twice as many, up to four times.
        levels: layers that halve rows and columns: 2 see patches of 34 pixels, 3 of 70.
    """

    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        widths = [channels * 2 ** min(level, 2) for level in range(levels + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level, (finer, width) in enumerate(pairwise(widths), 1):
            stride = 2 if level < levels else 1
            layers += [
                nn.Conv2d(finer, width, 4, stride=stride, padding=1),
                nn.GroupNorm(math.gcd(8, width), width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        """[B, 1, h, w]."""
        out: torch.Tensor = self.layers(image_B3HW)
        return out

    def frozen(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        """The same, from which the picture's maker learns and the critic does not."""
        weights = {name: parameter.detach() for name, parameter in self.named_parameters()}
        out: torch.Tensor = functional_call(self, weights, (image_B3HW,))
        return out
