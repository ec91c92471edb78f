"""Autoencoder: pictures to latents and back.

The loss is L1 + multi-scale gradient L1 + a share of (1 - SSIM over scales); no network that was trained on
other people's pictures takes part.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from pydantic import Field, model_validator

from pictor.core.errors import InputError
from pictor.data.picturebook import Mix, Picturebook
from pictor.training.captioned_latents import MixTable
from pictor.training.linear_code import (
    PatchEncoder,
    fit_linear_code,
    install_linear_code,
    read_linear_code,
)
from pictor.training.noised_pictures import NoisedPictures
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.parts import open_autoencoder
from pictor.training.pictures import BookPictures
from pictor.training.planes import planes
from pictor.training.recipe import Strict, validated
from pictor.training.similarity import ssim
from pictor.training.sourced import Sourced

_VALIDATION = 256
_FITTED = 4000
_STRIDE = 3
"""Step between the windows in the loss: they overlap, at a ninth of the cost of every position."""
_SPREAD = 0.4
"""Standard deviation of stored latents: AutoencoderTiny squashes what it decodes by 3 tanh(z / 3)."""


class Config(Strict):
    """Keys of the recipe's [objective] table."""

    start: Path | None = None
    """Folder of an autoencoder of these sizes to go on from; its code stays as it is."""
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    factor: Literal[8, 16] = 8
    """Side of the patch that one latent stands for, in pixels."""
    channels: int = Field(32, ge=1, le=192)
    """Numbers for each patch."""
    width: int = Field(48, ge=8, le=256)
    """Channels of the decoder."""
    blocks: tuple[int, ...] = (3, 3, 3, 1)
    """Residual blocks of the decoder, coarse to fine: four numbers for a factor of 8, five for 16."""
    whitening: float = Field(0.6, ge=0, le=1)
    """How far the linear code's components are brought to equal variance."""
    structure: float = Field(0.1, ge=0)
    """Weight of 1 - SSIM."""
    jitter: float = Field(0.03, ge=0)
    """Noise on the latents, in their own standard deviations: the decoder must bear a denoiser's errors."""
    mix: MixTable = Mix()
    font: Path | None = None

    @model_validator(mode="after")
    def _levels(self) -> Config:
        levels = self.factor.bit_length()
        if len(self.blocks) != levels or min(self.blocks) < 0:
            raise ValueError(f"blocks needs {levels} numbers for a factor of {self.factor}")
        if self.channels > self.factor**2 * 3 // 4:
            raise ValueError(
                f"channels can be at most {self.factor**2 * 3 // 4} for a factor of {self.factor}"
            )
        return self


def _gradient_l1(a_BCHW: torch.Tensor, b_BCHW: torch.Tensor) -> torch.Tensor:
    d = a_BCHW - b_BCHW
    return (d[..., 1:, :] - d[..., :-1, :]).abs().mean() + (d[..., 1:] - d[..., :-1]).abs().mean()


class AutoencoderObjective(Sourced[NoisedPictures]):
    """A decoder for the linear code of the corpus, in diffusers' AutoencoderTiny."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        book = Picturebook(config.size, seed, config.font, config.mix)
        self.source = NoisedPictures(
            pictures=BookPictures(book), channels=config.channels, factor=config.factor
        )
        levels = len(config.blocks)
        self.module = AutoencoderTiny(
            latent_channels=config.channels,
            encoder_block_out_channels=(config.factor**2 * 3 // 4,) * levels,
            num_encoder_blocks=(0,) * levels,
            decoder_block_out_channels=(config.width,) * levels,
            num_decoder_blocks=config.blocks,
            scaling_factor=1 / _SPREAD,
        )
        # By a book of its own: what one keeps of its drawings would travel to each process that draws.
        fitted_book = Picturebook(config.size, seed, config.font, config.mix)
        fitted = np.stack([fitted_book.picture(index) for index in range(_FITTED)])
        if config.start is not None:
            self.module.load_state_dict(self._earlier(config.start))
            self.code = read_linear_code(self.module.encoder, config.factor, fitted)
        else:
            self.code = fit_linear_code(fitted, config.factor, config.channels, config.whitening, _SPREAD)
            install_linear_code(self.module.encoder, self.code)
        self.module.encoder.requires_grad_(False)
        self.encoder = PatchEncoder(self.code)

    def _earlier(self, folder: Path) -> dict[str, torch.Tensor]:
        """The weights to go on from, if they are of the same shapes."""
        weights: dict[str, torch.Tensor] = open_autoencoder(folder).float().state_dict()
        if {n: p.shape for n, p in weights.items()} != {
            n: p.shape for n, p in self.module.state_dict().items()
        }:
            raise InputError(
                f"{folder} holds an autoencoder of other sizes",
                expected="the factor, channels, width and blocks of this recipe",
                remedy="Name that network's own sizes, or leave start out.",
                param="objective.start",
            )
        return weights

    def rate(self, name: str) -> float:
        return 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        image = planes(batch["image"])
        with torch.no_grad():
            latents = self.encoder.to(image.device)(image) + self.config.jitter * _SPREAD * batch["noise"]
        # Halves the time of wide layers on a CPU.
        out = self.module.decoder(latents.contiguous(memory_format=torch.channels_last)).float()
        pixel, structure, gradient = (out - image).abs().mean(), out.new_zeros(()), out.new_zeros(())
        a, b = out, image
        for _ in range(3):
            gradient = gradient + _gradient_l1(a, b)
            structure = structure + (1 - ssim(a, b, stride=_STRIDE)) / 3
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        mse = F.mse_loss(out.detach(), image)
        figures = {"l1": pixel.detach(), "psnr": 10 * torch.log10(4 / mse)}
        return pixel + gradient / 3 + self.config.structure * structure, figures

    def validate(self) -> dict[str, float]:
        """PSNR and SSIM on compositions that training never draws, beside the linear code's own."""
        batches = [beside(batch, self.module) for batch in self.source.judged(_VALIDATION)]
        image = torch.cat([planes(batch["image"]) for batch in batches])
        chunks = [
            self.module.decoder(self.module.encoder(part)).float().clamp(-1, 1)
            for part in torch.split(image, 64)
        ]
        out = torch.cat(chunks)
        each = 10 * torch.log10(4 / (out - image).square().flatten(1).mean(1).clamp_min(1e-8))
        return {
            "psnr_of_mean_error": float(10 * torch.log10(4 / F.mse_loss(out, image))),
            "mean_psnr": float(each.mean()),
            "ssim": float(ssim(out, image)),
            "linear_code_psnr_of_mean_error": self.code.psnr,
        }

    def save(self, folder: Path) -> None:
        self.module.save_pretrained(folder)


def build(table: dict[str, Any], seed: int) -> AutoencoderObjective:
    return AutoencoderObjective(validated(Config, table, "[objective]"), seed)
