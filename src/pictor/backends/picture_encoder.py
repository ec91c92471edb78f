"""A small convolutional picture encoder, for CPUs and few pictures.

Strided residual convolutions with batch normalisation (He et al. 2016, arXiv:1512.03385). Their map is read
as a whole, and by a few readers that learn where to look, so that two objects need not share one mean; a
linear layer puts what was read into the space of the texts.

Legend of array shapes: B pictures, H, W pixels, C channels, P positions of the last map, K readers, D numbers
of the common space.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class Seen(NamedTuple):
    """Named as transformers' CLIPVisionModelWithProjection has it."""

    image_embeds: torch.Tensor
    """[B, D]."""


def _convolution(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))


class _Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _convolution(channels, channels)
        self.second = _convolution(channels, channels)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return F.relu(x_BCHW + self.second(F.relu(self.first(x_BCHW))))


class PictureEncoderNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """From pictures, prepared as CLIP's, to where they lie among texts.

    Args:
        image_size: side of the pictures in pixels.
        stages: for each its channels, the stride of its first convolution, and its residual blocks.
        readers: means over positions that are weighted by what is seen there, besides the plain mean.
        projection_dim: numbers of the common space.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        image_size: int = 64,
        stages: Sequence[Sequence[int]] = ((32, 2, 0), (64, 2, 1), (128, 2, 1), (160, 2, 1)),
        readers: int = 2,
        projection_dim: int = 192,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, side = 3, image_size
        for width, stride, blocks in stages:
            layers += [_convolution(channels, width, stride), nn.ReLU()]
            layers += [_Residual(width) for _ in range(blocks)]
            channels, side = width, -(-side // stride)
        self.trunk = nn.Sequential(*layers)
        self.look = nn.Conv2d(channels, readers, 1)
        # Where each reader tends to look: the map alone does not know left from right.
        self.where = nn.Parameter(torch.zeros(readers, side * side))
        self.visual_projection = nn.Linear((1 + readers) * channels, projection_dim)

    def forward(self, image_B3HW: torch.Tensor) -> Seen:
        """Where the pictures lie."""
        map_BCHW = self.trunk(image_B3HW)
        weights_BKP = (self.look(map_BCHW).flatten(2) + self.where).softmax(-1)
        map_BCP = map_BCHW.flatten(2)
        read_BKC = weights_BKP @ map_BCP.transpose(1, 2)
        read = torch.cat([map_BCP.mean(-1), read_BKC.flatten(1)], 1)
        return Seen(self.visual_projection(read))
