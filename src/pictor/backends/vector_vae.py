"""A variational autoencoder whose code is one vector a picture (Kingma and Welling 2013, arXiv:1312.6114).

Legend of array shapes: B pictures, D numbers of a code, C channels, H, W rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from pictor.backends.residual import ResidualBlock

if TYPE_CHECKING:
    from pictor.backends.base import Part, Tensors

_PATCH = 2
"""Pixels a side that the first and the last layer take at once: convolutions of every pixel would be most of
the cost."""
_LIMIT = 20.0
"""Bound on logarithms of variances, so that none overflows."""


class VectorAutoencoder(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """From a picture to a Gaussian over codes, and from a code to a picture.

    Args:
        size: side of the pictures in pixels, a multiple of 2 to the power of the number of levels.
        numbers: of a code.
        channels: of the levels, fine to coarse; each halves rows and columns.
        blocks: residual blocks at each level, of the encoder and of the decoder.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        size: int = 64,
        numbers: int = 64,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        blocks: int = 1,
    ) -> None:
        super().__init__()
        side, planes = size >> len(channels), 3 * _PATCH**2
        down: list[nn.Module] = [nn.PixelUnshuffle(_PATCH), nn.Conv2d(planes, channels[0], 3, padding=1)]
        up: list[nn.Module] = [
            nn.PixelShuffle(_PATCH),
            nn.Conv2d(channels[0], planes, 3, padding=1),
            nn.SiLU(),
        ]
        for level, width in enumerate(channels):
            if level:
                finer = channels[level - 1]
                down.append(nn.Conv2d(finer, width, 4, stride=2, padding=1))
                up += [nn.Conv2d(width, finer, 3, padding=1), nn.Upsample(scale_factor=2)]
            down += [ResidualBlock(width) for _ in range(blocks)]
            up += [ResidualBlock(width) for _ in range(blocks)]
        shape = (channels[-1], side, side)
        self.encoder = nn.Sequential(*down, nn.SiLU(), nn.Flatten())
        self.head = nn.Linear(channels[-1] * side**2, 2 * numbers)
        self.decoder = nn.Sequential(
            nn.Linear(numbers, channels[-1] * side**2), nn.Unflatten(1, shape), *reversed(up)
        )

    def encode(self, image_B3HW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean [B, D] of the codes of pictures in [-1, 1], and the logarithm of their variance [B, D]."""
        seen = self.encoder(image_B3HW)
        # A code is told to a hundredth of its spread, which bfloat16 would round away.
        with torch.autocast(seen.device.type, enabled=False):
            mean, log_variance = self.head(seen.to(self.head.weight.dtype)).chunk(2, dim=1)
        return mean, log_variance.clamp(-_LIMIT, _LIMIT)

    def decode(self, code_BD: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W], about [-1, 1]: the means of the likelihood."""
        out: torch.Tensor = self.decoder(code_BD)
        return out

    def forward(
        self, image_B3HW: torch.Tensor, noise_BD: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The picture of a code drawn as mean + deviation * noise, and the code's mean and log variance."""
        mean, log_variance = self.encode(image_B3HW)
        return self.decode(mean + (log_variance / 2).exp() * noise_BD), mean, log_variance

    def examples(self, part: Part) -> tuple[Tensors, dict[str, dict[int, Any]]]:
        """Inputs to trace a part of it with, and their axis that may have any size."""
        size, numbers = self.config.size, self.config.numbers
        shapes = {"image": (2, 3, size, size), "code": (2, numbers)}
        inputs = {name: torch.zeros(shapes[name]) for name in part.inputs}
        batch = torch.export.Dim("batch", max=63)
        return inputs, {name: {0: batch} for name in inputs}
