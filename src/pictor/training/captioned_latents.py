"""Scenes of the picturebook as a denoiser sees them: latents, caption tokens, a time and noise.

Objectives that learn to denoise share this, and differ in what they make of it. Legend: B samples, C latent
channels, h, w latent rows and columns, T tokens, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from pydantic import BeforeValidator, Field
from torch import nn
from transformers import CLIPTokenizer

from pictor.data.picturebook import Mix, Picturebook
from pictor.training.linear_code import patches
from pictor.training.objectives import Batch
from pictor.training.parts import encode
from pictor.training.recipe import Strict
from pictor.training.tokenizer import tokenize

_PURPOSE = 31
"""Number of the random stream that captions, times and noise are drawn from."""
_SAME = 1e-3
"""How far a linear encoder's latents, of about unit variance, may round from its matrix's."""

DrawTime = Callable[[np.random.Generator], float]
"""A sample's time in [0, 1], 0 the picture and 1 noise; drawers in other processes need to pickle it."""


def _mix(table: object) -> object:
    """A table of shares as a Mix; what a Mix does not have is refused."""
    if not isinstance(table, dict):
        return table
    known = [field.name for field in fields(Mix)]
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"no share is called {', '.join(unknown)}; known are {', '.join(known)}")
    return Mix.of(table)


MixTable = Annotated[Mix, BeforeValidator(_mix)]
"""A recipe's table of shares."""


class CorpusKeys(Strict):
    """Keys of the [objective] table that say what is drawn."""

    empty_captions: float = Field(0.1, ge=0, le=1)
    """Share of captions emptied, which classifier-free guidance needs."""
    mix: MixTable = Mix()
    """[objective.mix]: shares of the kinds of scene."""
    font: Path | None = None


def downsampling(autoencoder: AutoencoderTiny | AutoencoderKL) -> int:
    """Pixels a latent, along each side."""
    config = autoencoder.config
    blocks = getattr(config, "encoder_block_out_channels", None) or config.block_out_channels
    return int(2 ** (len(blocks) - 1))


def latent_shape(autoencoder: AutoencoderTiny | AutoencoderKL, size: int) -> tuple[int, int, int]:
    """C, h, w of a square picture's latents, whose side in pixels the downsampling divides."""
    side = size // downsampling(autoencoder)
    return int(autoencoder.config.latent_channels), side, side


@dataclass(frozen=True, kw_only=True)
class CaptionedPictures:
    """Draws samples by their numbers; can be pickled to other processes."""

    book: Picturebook
    tokenizer: CLIPTokenizer
    shape: tuple[int, int, int]
    """C, h, w of the noise."""
    empty_captions: float
    draw_time: DrawTime

    def __call__(
        self, first: int, count: int, held_out: bool = False
    ) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Samples first .. first + count - 1, a pure function of the book's seed and the numbers.

        Args:
            first: number of the first sample.
            count: how many.
            held_out: compositions that training never sees.

        Returns:
            image [B, H, W, 3] uint8; ids [B, T] int64; t [B]; eps [B, C, h, w]; lot [B], uniform in [0, 1),
            for what else has to be decided of a sample.
        """
        pictures, texts, times, noises, lots = [], [], [], [], []
        for number in range(first, first + count):
            scene = self.book.scene(number, held_out=held_out)
            rng = self.book.rng(number, _PURPOSE)
            pictures.append(self.book.draw(scene, number))
            text = self.book.caption(scene, rng).text
            texts.append("" if rng.random() < self.empty_captions else text)
            times.append(self.draw_time(rng))
            noises.append(rng.standard_normal(self.shape, np.float32))
            lots.append(rng.random())
        return {
            "image": np.stack(pictures),
            "ids": tokenize(self.tokenizer, texts).numpy(),
            "t": np.array(times, np.float32),
            "eps": np.stack(noises),
            "lot": np.array(lots),
        }

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        """The same as tensors."""
        return {key: torch.from_numpy(array) for key, array in self(first, count, held_out).items()}


class PictureEncoder(nn.Module):
    """Drawn pictures to latents of about unit variance, by a frozen autoencoder.

    An encoder that is linear in each patch alone, such as `install_linear_code` makes, is asked once for its
    matrix: one product costs a hundredth of its wide convolutions. Whether it is linear is tried on noise.
    """

    def __init__(self, autoencoder: AutoencoderTiny | AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.factor = downsampling(autoencoder)
        side, numbers = self.factor, 3 * self.factor**2
        bias_C = encode(autoencoder, torch.zeros(1, 3, side, side)).flatten()
        unit = torch.eye(numbers).reshape(numbers, 3, side, side)
        self.weight: torch.Tensor
        self.bias: torch.Tensor
        self.register_buffer("weight", (encode(autoencoder, unit).flatten(1) - bias_C).T.contiguous())
        self.register_buffer("bias", bias_C)
        noise = torch.rand(1, 3, 4 * side, 4 * side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        self.linear = bool((self._product(noise) - encode(autoencoder, noise)).abs().max() < _SAME)

    def _product(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        latents_BhwC = nn.functional.linear(patches(image_B3HW, self.factor), self.weight, self.bias)
        return latents_BhwC.permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def forward(self, image_BHW3: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w] in float32 of pictures [B, H, W, 3] in uint8."""
        # What is encoded is data, whatever numbers the networks that learn it compute in.
        with torch.autocast(image_BHW3.device.type, enabled=False):
            image_B3HW = image_BHW3.permute(0, 3, 1, 2).float().div(127.5).sub(1)
            return self._product(image_B3HW) if self.linear else encode(self.autoencoder, image_B3HW)
