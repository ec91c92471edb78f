"""Autoencoder of latent diffusion: pictures to a grid of codes, held to a normal distribution very lightly.

KL-f4 and KL-f8 of Rombach et al. 2021, arXiv:2112.10752, in diffusers' AutoencoderKL. The loss is
L1 + `structure` (1 - SSIM over scales) + `divergence` KL, with the KL in nats for each number of the picture.
No network that was trained on other people's pictures takes part, and so what is fine comes out soft;
[objective.adversary] sharpens it. With D for a discriminator of patches, x the picture, y the one decoded:

    autoencoder     the above - weight * lambda * E D(y)
    discriminator   E max(0, 1 - D(x)) + E max(0, 1 + D(y))       (hinge, Lim and Ye 2017, arXiv:1705.02894)

lambda is the ratio of the lengths of both terms' gradients by the last layer's weights (Esser et al. 2020,
arXiv:2012.09841, equation 7), so that neither drowns the other. Both networks take their steps at once, from
one scalar: each sees the other's weights, or pictures, as they are.

Legend of array shapes: B pictures, C channels, H, W pixels, h, w rows and columns of the grid.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from pydantic import Field, model_validator
from torch import nn

from pictor.backends.base import PARTS
from pictor.backends.export import export_part
from pictor.training.captioned_latents import CorpusKeys
from pictor.training.noised_pictures import NoisedPictures
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.patch_critic import PatchCritic
from pictor.training.planes import planes
from pictor.training.recipe import Strict, validated
from pictor.training.similarity import psnr, ssim
from pictor.training.sourced import Sourced

_VALIDATION = 256
_MEASURED = 256
"""Pictures whose codes tell the scale."""
_STRIDE = 3
"""Step between the windows of SSIM in the loss: they overlap, at a ninth of the cost of every position."""
_FIRST_LOG_VARIANCE = -6.0
_STEEPEST = 1e4
"""Bound on lambda."""


class Adversary(Strict):
    """[objective.adversary]: a discriminator of patches."""

    after: int = Field(ge=0)
    """Samples before it is heeded: it has to find pictures that are nearly right. It learns from half as many
    on, since what one that knows nothing says does harm."""
    weight: float = Field(0.5, gt=0)
    channels: int = Field(32, ge=8, le=256, multiple_of=8)
    """Of its first layer."""
    levels: int = Field(2, ge=1, le=5)
    """Halvings: 2 see patches of 34 pixels, 3 of 70."""
    rate: float = Field(1.0, gt=0)
    """Factor on the learning rate for it."""


class Config(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    reads_words: ClassVar[bool] = False
    size: int = Field(64, ge=32, le=512)
    """Side of the pictures in pixels, a multiple of the factor."""
    factor: Literal[4, 8] = 4
    """Side of the patch that one code stands for, in pixels."""
    latents: int = Field(4, ge=1, le=64)
    """Numbers of each code."""
    channels: tuple[int, ...] = (16, 32, 64)
    """Of the levels, fine to coarse: three for a factor of 4, four for 8."""
    layers: int = Field(1, ge=1, le=4)
    """Residual blocks a level."""
    divergence: float = Field(1e-6, ge=0)
    """Weight of the KL."""
    structure: float = Field(0.1, ge=0)
    """Weight of 1 - SSIM."""
    adversary: Adversary | None = None

    @model_validator(mode="after")
    def _levels(self) -> Config:
        levels = self.factor.bit_length()
        if len(self.channels) != levels or min(self.channels) < 1:
            raise ValueError(f"channels needs {levels} numbers for a factor of {self.factor}")
        if self.size % self.factor:
            raise ValueError(f"size has to be a multiple of {self.factor}")
        return self


class _Learnt(nn.Module):
    """The autoencoder, which is kept, and its adversary, where there is one."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        levels = len(config.channels)
        self.autoencoder = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=config.channels,
            layers_per_block=config.layers,
            latent_channels=config.latents,
            # Of two channels or more: one number, where the coarsest grid is one place, has no norm.
            norm_num_groups=max(1, math.gcd(16, *config.channels) // 2),
            sample_size=config.size,
            scaling_factor=1.0,
            mid_block_add_attention=False,
        )
        # Codes begin nearly without noise, which would hide that they tell anything.
        nn.init.constant_(self.autoencoder.quant_conv.bias[config.latents :], _FIRST_LOG_VARIANCE)
        adversary = config.adversary
        self.critic = PatchCritic(adversary.channels, adversary.levels) if adversary else None


class GridAutoencoderObjective(Sourced[NoisedPictures]):
    """Reconstruction through codes that are drawn from a Gaussian each."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        pictures = config.pictures(config.size, seed, config.factor)
        self.source = NoisedPictures(pictures=pictures, channels=config.latents, factor=config.factor)
        self.module = _Learnt(config)

    def rate(self, name: str) -> float:
        adversary = self.config.adversary
        return adversary.rate if adversary is not None and name.startswith("critic.") else 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        image, autoencoder = planes(batch["image"]), self.module.autoencoder
        codes = autoencoder.encode(image).latent_dist
        out = autoencoder.decode(codes.mean + codes.std * batch["noise"]).sample.float()
        pixel, structure = (out - image).abs().mean(), out.new_zeros(())
        a, b = out, image
        for _ in range(3):
            structure = structure + (1 - ssim(a, b, stride=_STRIDE)) / 3
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        divergence = codes.kl().float().mean() / image[0].numel()
        rebuilt = pixel + self.config.structure * structure
        figures = {
            "l1": pixel.detach(),
            "psnr": psnr(out.detach(), image).mean(),
            "kl": divergence.detach(),
        }
        total = rebuilt + self.config.divergence * divergence
        if self.config.adversary is None:
            return total, figures
        contest, further = self._contest(image, out, rebuilt, batch["number"])
        return total + contest, {**figures, **further}

    def _contest(
        self, image: torch.Tensor, out: torch.Tensor, rebuilt: torch.Tensor, number_B: torch.Tensor
    ) -> tuple[torch.Tensor, Figures]:
        """Both networks' losses by each other, summed, of the samples for which that has begun."""
        critic, adversary = self.module.critic, self.config.adversary
        assert critic is not None and adversary is not None  # noqa: S101, PT018 - asked for with both
        learns_B, heeded_B = (
            (number_B >= first).float() for first in (adversary.after // 2, adversary.after)
        )
        if not learns_B.any():
            # Each parameter has a gradient in each step, since several processes sum all of them.
            idle = sum((parameter.sum() for parameter in critic.parameters()), out.new_zeros(())) * 0.0
            return idle, {}
        of_real, of_made = critic(image), critic(out.detach())
        hinge = _mean(F.relu(1 - of_real), learns_B) + _mean(F.relu(1 + of_made), learns_B)
        figures = {
            "critic_of_real": _mean(of_real, learns_B).detach(),
            "critic_of_made": _mean(of_made, learns_B).detach(),
        }
        if not heeded_B.any():
            return hinge, figures
        fooled = _mean(-critic.frozen(out), heeded_B)
        last = self.module.autoencoder.decoder.conv_out.weight
        (by_pixels,) = torch.autograd.grad(rebuilt, last, retain_graph=True)
        (by_critic,) = torch.autograd.grad(fooled, last, retain_graph=True)
        ratio = (by_pixels.norm() / by_critic.norm().clamp_min(1e-8)).clamp(max=_STEEPEST).detach()
        return adversary.weight * ratio * fooled + hinge, figures | {"critic_weight": ratio}

    def validate(self) -> dict[str, float]:
        """Of mean codes, on compositions that training never draws.

        `sharpness` is the mean step between neighbouring pixels over that of the pictures themselves;
        `code_spread` the standard deviation of codes before they are scaled.
        """
        sums: dict[str, float] = {}
        autoencoder = self.module.autoencoder
        for batch in self.source.judged(_VALIDATION):
            image = planes(beside(batch, self.module)["image"])
            codes = autoencoder.encode(image).latent_dist
            out = autoencoder.decode(codes.mean).sample.float().clamp(-1, 1)
            figures = {
                "psnr": psnr(out, image).mean(),
                "ssim": ssim(out, image),
                "l1": (out - image).abs().mean(),
                "kl": codes.kl().mean() / image[0].numel(),
                "sharpness": _steps(out) / _steps(image),
            }
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(image) / _VALIDATION
        return sums | {"code_spread": self._spread()}

    @torch.no_grad()
    def _spread(self) -> float:
        """Standard deviation of the mean codes of pictures that it learnt from."""
        codes = []
        for first in range(0, _MEASURED, 32):
            image = planes(beside(self.batch(first, 32), self.module)["image"])
            codes.append(self.module.autoencoder.encode(image).latent_dist.mean.float().flatten())
        return float(torch.cat(codes).std())

    def save(self, folder: Path) -> None:
        """Write config.json with the codes' scale, the weights in half precision, graphs and pictor.json."""
        sheet = {"defaults": {"size": [self.config.size] * 2}, **self.source.pictures.facts}
        (folder / "pictor.json").write_text(json.dumps(sheet, indent=1) + "\n", encoding="utf-8")
        autoencoder = copy.deepcopy(self.module.autoencoder).half()
        autoencoder.register_to_config(scaling_factor=1 / self._spread())
        autoencoder.save_pretrained(folder)
        for name in ("decoder", "encoder"):
            export_part(folder, dataclasses.replace(PARTS[name], subfolder=""))


def _mean(verdict_B1hw: torch.Tensor, begun_B: torch.Tensor) -> torch.Tensor:
    """Over patches and samples, those left out counting as 0: a mean over samples as any loss is."""
    return (verdict_B1hw.float().mean((1, 2, 3)) * begun_B).mean()


def _steps(image_BCHW: torch.Tensor) -> torch.Tensor:
    down, right = image_BCHW.diff(dim=2), image_BCHW.diff(dim=3)
    return down.abs().mean() + right.abs().mean()


def build(table: dict[str, Any], seed: int) -> GridAutoencoderObjective:
    return GridAutoencoderObjective(validated(Config, table, "[objective]"), seed)
