"""A network that turns pictures into a grid of whole numbers and back.

An autoencoder whose code is rounded: finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505). Each
of a place's few numbers is squashed into [-1, 1] and rounded to one of L evenly spaced levels, and the levels
of a place, read as the digits of one number, are its token. There is no table of codes to learn, and so none
that falls out of use as VQ-VAE's do (van den Oord et al. 2017, arXiv:1711.00937). Residual blocks and pixel
shuffles are as in `pictor.backends.enlarger`.

Legend of array shapes: B pictures, H, W pixels, h, w rows and columns of the grid, D numbers of a place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import nn

from pictor.backends.residual import ResidualBlock

_FIRST = 4
"""Pixels a side that are seen as one place from the start: wide convolutions at full size cost the most."""


class FiniteScalars(nn.Module):
    """Rounds numbers to levels.

    Args:
        levels: how many values each of a place's numbers can have, at least 2 each.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.tokens = math.prod(levels)
        steps = torch.tensor([math.prod(levels[:place]) for place in range(len(levels))])
        self.levels: torch.Tensor
        self.steps: torch.Tensor
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("steps", steps, persistent=False)

    def forward(self, z_BhwD: torch.Tensor) -> torch.Tensor:
        """Rounded numbers in [-1, 1]; their gradient is that of the squashing alone (straight-through)."""
        squashed = torch.tanh(z_BhwD.float())
        return squashed + (self.numbers(self.digits(squashed)) - squashed).detach()

    def digits(self, squashed_BhwD: torch.Tensor) -> torch.Tensor:
        """The nearest levels of numbers in [-1, 1], counted from 0."""
        return ((squashed_BhwD + 1) / 2 * (self.levels - 1)).round().long()

    def numbers(self, digits_BhwD: torch.Tensor) -> torch.Tensor:
        """The numbers in [-1, 1] that levels stand for."""
        return digits_BhwD.float() * 2 / (self.levels - 1) - 1

    def joined(self, digits_BhwD: torch.Tensor) -> torch.Tensor:
        """Tokens [B, h, w] from 0 on, of digits."""
        return (digits_BhwD * self.steps).sum(-1)

    def parted(self, tokens_Bhw: torch.Tensor) -> torch.Tensor:
        """Digits [B, h, w, D] of tokens."""
        return tokens_Bhw[..., None] // self.steps % self.levels


def _blocks(channels: int, count: int) -> list[nn.Module]:
    return [ResidualBlock(channels) for _ in range(count)]


class PictureTokenizer(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Pictures to tokens and back.

    Args:
        levels: of the numbers of a place; their product is the number of tokens.
        factor: pixels a side of a place, 4 or 8.
        width: channels at a quarter of the pictures' size, twice as many at an eighth, half as many at half.
        blocks: of two convolutions each: those of the encoder at its coarsest size, and of the decoder there,
            at a quarter of the pictures' size, and at half.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        levels: Sequence[int] = (8, 8, 8, 5, 5),
        factor: int = 8,
        width: int = 96,
        blocks: Sequence[int] = (2, 3, 2, 1),
    ) -> None:
        super().__init__()
        at_code, at_eighth, at_quarter, at_half = blocks
        coarse = factor // _FIRST * width
        down: list[nn.Module] = [nn.PixelUnshuffle(_FIRST), nn.Conv2d(3 * _FIRST**2, width, 3, padding=1)]
        up: list[nn.Module] = [nn.Conv2d(len(levels), coarse, 3, padding=1), *_blocks(coarse, at_eighth)]
        if factor > _FIRST:
            down += [ResidualBlock(width), nn.Conv2d(width, coarse, 4, stride=2, padding=1)]
            up += [nn.Conv2d(coarse, 4 * width, 1), nn.PixelShuffle(2)]
        half = width // 2
        # Straight ways beside the convolutions, which may begin as the best linear code: it is far to find.
        self.straight_in = nn.Conv2d(3, len(levels), factor, stride=factor)
        self.straight_out = nn.ConvTranspose2d(len(levels), 3, factor, stride=factor)
        self.encoder = nn.Sequential(
            *down, *_blocks(coarse, at_code), nn.SiLU(), nn.Conv2d(coarse, len(levels), 1)
        )
        self.code = FiniteScalars(levels)
        self.decoder = nn.Sequential(
            *up,
            *_blocks(width, at_quarter),
            nn.Conv2d(width, 4 * half, 1),
            nn.PixelShuffle(2),
            *_blocks(half, at_half),
            nn.SiLU(),
            nn.Conv2d(half, 12, 3, padding=1),
            nn.PixelShuffle(2),
        )
        for last in (self.encoder[-1], self.decoder[-2]):
            for weight in last.parameters():
                nn.init.zeros_(weight)

    def forward(self, image_B3HW: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures in [-1, 1] as they come back, and their rounded code [B, h, w, D] in [-1, 1]."""
        code_BhwD = self.code(self._seen(image_B3HW))
        return self._painted(code_BhwD), code_BhwD

    def encode(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        """Tokens [B, h, w] of pictures in [-1, 1]."""
        return self.code.joined(self.code.digits(torch.tanh(self._seen(image_B3HW).float())))

    def decode(self, tokens_Bhw: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W], about [-1, 1], of tokens."""
        return self._painted(self.code.numbers(self.code.parted(tokens_Bhw)))

    def _seen(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        z_BDhw = self.straight_in(image_B3HW) + self.encoder(image_B3HW)
        out: torch.Tensor = z_BDhw.permute(0, 2, 3, 1)
        return out

    def _painted(self, code_BhwD: torch.Tensor) -> torch.Tensor:
        z_BDhw = code_BhwD.permute(0, 3, 1, 2).to(next(self.decoder.parameters()).dtype)
        z_BDhw = z_BDhw.contiguous(memory_format=torch.channels_last)
        out: torch.Tensor = self.straight_out(z_BDhw) + self.decoder(z_BDhw)
        return out
