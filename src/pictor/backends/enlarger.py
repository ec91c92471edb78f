"""A small network that doubles a picture.

Residual blocks without normalisation at the small size (EDSR, Lim et al. 2017, arXiv:1707.02921), then a
pixel shuffle (Shi et al. 2016, arXiv:1609.05158); they make what is added to the bilinear enlargement (VDSR,
Kim et al. 2016, arXiv:1511.04587).

Legend of array shapes: B pictures, C channels, H, W rows and columns of the small picture.
"""

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn


class _Block(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = x_BCHW + self.second(F.relu(self.first(x_BCHW)))
        return out


class EnlargerNetwork(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """From a picture to one of twice its width and height; untrained, it is the bilinear enlargement.

    Args:
        channels: of the hidden layers.
        blocks: of two convolutions each.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, channels: int = 48, blocks: int = 4) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.Sequential(*(_Block(channels) for _ in range(blocks)))
        self.tail = nn.Conv2d(channels, 12, 3, padding=1)
        for weight in self.tail.parameters():
            nn.init.zeros_(weight)

    def forward(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, 2 H, 2 W] of pictures, both in [-1, 1]."""
        base = F.interpolate(image_B3HW, scale_factor=2, mode="bilinear", align_corners=False)
        added = self.tail(self.body(self.head(image_B3HW)))
        return base + F.pixel_shuffle(added, 2)
