"""A generator of pictures from noise, and the discriminator that it learns from.

Both follow Radford et al. 2015, arXiv:1511.06434: strided convolutions of 4x4 from side to side, and batch
normalisation. In the style "dcgan" all is theirs. In the style "r3gan" the discriminator has no
normalisation, since the gradient penalties of Huang et al. 2024, arXiv:2501.05441, are of one picture each;
and both networks have a thin level at the full side, so that what a stride leaves from pixel to pixel is seen
and mended. Their residual blocks without normalisation are left away: in the minutes that a processor has, a
generator that is normalised gets much further.

Legend of array shapes: B pictures, N numbers of noise, C channels, H, W rows and columns, S the picture's
side.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
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


def _normalised(channels: int, style: str) -> list[nn.Module]:
    """What each layer of a generator is given by the one before it."""
    return [nn.BatchNorm2d(channels), nn.ReLU() if style == "dcgan" else nn.LeakyReLU(_SLOPE)]


def _up(channels: Sequence[int], style: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inner, outer in pairwise(channels):
        layers += [*_normalised(inner, style), nn.ConvTranspose2d(inner, outer, 4, 2, 1)]
    finest = channels[-1]
    last = nn.ConvTranspose2d(finest, 3, 4, 2, 1) if style == "dcgan" else nn.Conv2d(finest, 3, 3, 1, 1)
    return nn.Sequential(*layers, *_normalised(finest, style), last, nn.Tanh())


def _down(channels: Sequence[int], style: str) -> nn.Sequential:
    fine_first = channels[::-1]
    sides = (4, 2, 1) if style == "dcgan" else (3, 1, 1)  # of the kernel, of a step, of what is around
    layers: list[nn.Module] = [nn.Conv2d(3, fine_first[0], *sides), nn.LeakyReLU(_SLOPE)]
    for inner, outer in pairwise(fine_first):
        layers.append(nn.Conv2d(inner, outer, 4, 2, 1))
        if style == "dcgan":
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
        channels: of each level, coarse to fine: 4x4 first, each next one of twice the side. The last is of
            the picture's side in the style "r3gan", and of half of it in the style "dcgan".
        style: "r3gan" or "dcgan".
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, noise: int = 100, channels: Sequence[int] = (256, 128, 64, 32, 16), style: str = "r3gan"
    ) -> None:
        super().__init__()
        self.head = nn.Linear(noise, _CELLS**2 * channels[0])
        self.body = _up(channels, style)
        if style == "dcgan":
            self.apply(_as_dcgan)

    def forward(self, noise_BN: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, S, S] in [-1, 1]."""
        out: torch.Tensor = self.body(self.head(noise_BN).unflatten(1, (-1, _CELLS, _CELLS)))
        return out

    def examples(self, part: Part) -> tuple[Tensors, dict[str, dict[int, Any]]]:
        """Inputs to trace it with, and their axis that may have any size."""
        inputs = {name: torch.zeros(2, self.config.noise) for name in part.inputs}
        return inputs, {name: {0: torch.export.Dim("batch")} for name in inputs}


class DiscriminatorNetwork(nn.Module):
    """From pictures [B, 3, S, S] to one number each, greater for real ones; see `GeneratorNetwork`."""

    def __init__(self, channels: Sequence[int], style: str) -> None:
        super().__init__()
        self.body = _down(channels, style)
        self.tail = nn.Linear(_CELLS**2 * channels[0], 1)
        if style == "dcgan":
            self.apply(_as_dcgan)

    def forward(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        """Logits [B]."""
        out: torch.Tensor = self.tail(self.body(image_B3HW).flatten(1)).squeeze(1)
        return out.float()
