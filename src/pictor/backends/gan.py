"""A generator of pictures from noise, and the discriminator that it learns from.

Two styles. "residual" follows R3GAN (Huang et al. 2024, arXiv:2501.05441): residual blocks without
normalisation, resampling that holds no weights of its own but a 1x1 convolution, and the last layer of each
block zero at first. Unlike theirs the blocks have two plain 3x3 convolutions, and pictures enter and leave in
squares of pixels, one a place (Shi et al. 2016, arXiv:1609.05158), since on processors layers at the full
side cost more than all others. "dcgan" is of Radford et al. 2015, arXiv:1511.06434: strided convolutions and
batch normalisation.

Legend of array shapes: B pictures, N numbers of noise, C channels, H, W rows and columns, S the picture's
side.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from pictor.backends.base import Part, Tensors

_CELLS = 4
"""Side of the coarsest plane."""
_SLOPE = 0.2
"""Of leaky rectifiers below zero."""
_SPREAD = 0.02
"""Of DCGAN's weights at first."""


class _Block(nn.Module):
    """Two convolutions beside an identity; untrained, the identity alone (Fixup, Zhang et al. 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, _SLOPE)
        nn.init.zeros_(self.second.weight)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        inner = F.leaky_relu(self.first(F.leaky_relu(x_BCHW, _SLOPE)), _SLOPE)
        out: torch.Tensor = x_BCHW + self.second(inner)
        return out


def _mixing(inner: int, outer: int) -> nn.Conv2d:
    """Between levels of different widths; keeps the spread of what it is given."""
    layer = nn.Conv2d(inner, outer, 1)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
    return layer


def _residual_up(channels: Sequence[int], blocks: int, patch: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for level, width in enumerate(channels):
        if level:
            layers += [_mixing(channels[level - 1], width), nn.Upsample(scale_factor=2)]
        layers += [_Block(width) for _ in range(blocks)]
    last = nn.Conv2d(channels[-1], 3 * patch**2, 3, padding=1)
    with torch.no_grad():  # squares begin plain, not with a lattice (Aitken et al. 2017, arXiv:1707.02937)
        for weight in last.parameters():
            weight.copy_(weight[:: patch**2].repeat_interleave(patch**2, 0))
    return nn.Sequential(*layers, last, nn.PixelShuffle(patch))


def _residual_down(channels: Sequence[int], blocks: int, patch: int) -> nn.Sequential:
    fine_first = channels[::-1]
    first = nn.Conv2d(3 * patch**2, fine_first[0], 3, padding=1)
    layers: list[nn.Module] = [nn.PixelUnshuffle(patch), first]
    for level, width in enumerate(fine_first):
        if level:
            layers += [nn.AvgPool2d(2), _mixing(fine_first[level - 1], width)]
        layers += [_Block(width) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.LeakyReLU(_SLOPE))


def _dcgan_up(channels: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise((*channels, 3)):
        layers += [nn.BatchNorm2d(inner), nn.ReLU(), nn.ConvTranspose2d(inner, outer, 4, 2, 1)]
    return nn.Sequential(*layers, nn.Tanh())


def _dcgan_down(channels: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise((3, *channels[::-1])):
        layers.append(nn.Conv2d(inner, outer, 4, 2, 1))
        if inner != 3:
            layers.append(nn.BatchNorm2d(outer))
        layers.append(nn.LeakyReLU(_SLOPE))
    return nn.Sequential(*layers)


def _as_dcgan(layer: nn.Module) -> None:
    """The weights that DCGAN begins with."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, 0.0, _SPREAD)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, _SPREAD)


class GeneratorNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """From noise to pictures.

    Args:
        noise: standard normal numbers that decide a picture.
        channels: of each level, coarse to fine: 4x4 first, each next one of twice the side.
        style: "residual" or "dcgan".
        blocks: residual blocks a level; of the style "residual" alone.
        patch: pixels of the picture along each side of a place of the finest level; 2 in the style "dcgan".
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        noise: int = 100,
        channels: Sequence[int] = (256, 128, 64, 32),
        style: str = "residual",
        blocks: int = 1,
        patch: int = 2,
    ) -> None:
        super().__init__()
        self.head = nn.Linear(noise, _CELLS**2 * channels[0])
        self.body = _dcgan_up(channels) if style == "dcgan" else _residual_up(channels, blocks, patch)
        if style == "dcgan":
            self.apply(_as_dcgan)

    def forward(self, noise_BN: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, S, S], about [-1, 1]."""
        out: torch.Tensor = self.body(self.head(noise_BN).unflatten(1, (-1, _CELLS, _CELLS)))
        return out

    def examples(self, part: Part) -> tuple[Tensors, dict[str, dict[int, Any]]]:
        """Inputs to trace it with, and their axis that may have any size."""
        inputs = {name: torch.zeros(2, self.config.noise) for name in part.inputs}
        return inputs, {name: {0: torch.export.Dim("batch")} for name in inputs}


class DiscriminatorNetwork(nn.Module):
    """From pictures [B, 3, S, S] to one number each, greater for real ones; see `GeneratorNetwork`."""

    def __init__(self, channels: Sequence[int], style: str, blocks: int, patch: int) -> None:
        super().__init__()
        self.body = _dcgan_down(channels) if style == "dcgan" else _residual_down(channels, blocks, patch)
        self.tail = nn.Linear(_CELLS**2 * channels[0], 1)
        if style == "dcgan":
            self.apply(_as_dcgan)

    def forward(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        """Logits [B]."""
        out: torch.Tensor = self.tail(self.body(image_B3HW).flatten(1)).squeeze(1)
        return out.float()
