"""Variational autoencoder: a picture as one vector of numbers, which the prior can be asked for as well.

The loss is the negative evidence lower bound of Kingma and Welling 2013, arXiv:1312.6114, in nats, over the
numbers of a picture:

    -E log p(x | z) + beta KL(q(z | x) | N(0, 1)),        z = mean(x) + deviation(x) * noise

with one draw of the noise for each picture. beta = 1 is the bound itself; more presses codes towards the
prior and apart from each other (Higgins et al. 2017). The likelihood's spread may be learnt (Rybkin et al.
2021, arXiv:2006.13202): then the bound itself says how much of a picture is worth a code.

Legend of array shapes: B pictures, D numbers of a code, C channels, H, W pixels.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from pictor.backends.export import export_part
from pictor.backends.vector_vae import VectorAutoencoder
from pictor.core.errors import InputError
from pictor.families.variational import DECODER, ENCODER, PIPELINE
from pictor.training.captioned_latents import CorpusKeys
from pictor.training.noised_pictures import NoisedPictures
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.planes import planes
from pictor.training.recipe import validated
from pictor.training.similarity import psnr, ssim
from pictor.training.sourced import Sourced

Likelihood = Literal["gaussian", "laplace"]

_VALIDATION = 256
_FIRST_SPREAD = 0.3
"""Of a learnt likelihood: about that of pictures round their mean."""
_ACTIVE = 0.01
"""Variance of a number's mean over pictures from which it counts as used (Burda et al. 2015,
arXiv:1509.00519)."""


class Config(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    reads_words: ClassVar[bool] = False
    size: int = Field(64, ge=16, le=256)
    """Side of the pictures in pixels, a multiple of 2 to the power of the number of levels."""
    numbers: int = Field(64, ge=1, le=1024)
    """Of a code."""
    channels: tuple[int, ...] = Field((32, 64, 128, 256), min_length=1, max_length=7)
    """Of the networks' levels, fine to coarse; each halves rows and columns."""
    blocks: int = Field(1, ge=0, le=8)
    """Residual blocks a level."""
    likelihood: Likelihood = "gaussian"
    """Of a pixel's channel round what is decoded."""
    spread: float | Literal["learnt"] = "learnt"
    """Its standard deviation, or its mean absolute one for laplace, where black and white are 2 apart."""
    beta: float = Field(1.0, ge=0)
    """Weight of the divergence from the prior."""
    warm_up: int = Field(0, ge=0)
    """Samples over which beta rises from 0."""

    @model_validator(mode="after")
    def _in_range(self) -> Config:
        if self.size % 2 ** len(self.channels):
            raise ValueError(f"size has to be a multiple of {2 ** len(self.channels)} with as many channels")
        if min(self.channels) < 1:
            raise ValueError("channels are at least 1 each")
        if self.spread != "learnt" and not 0 < self.spread < math.inf:
            raise ValueError('spread is a number above 0 or "learnt"')
        return self


def divergences(mean_BD: torch.Tensor, log_variance_BD: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, variance) | N(0, 1)) of each number in nats, [B, D] (Kingma and Welling, appendix B)."""
    return (mean_BD.square() + log_variance_BD.exp() - 1 - log_variance_BD) / 2


def log_likelihood(
    kind: Likelihood,
    x_BCHW: torch.Tensor,
    centre_BCHW: torch.Tensor,
    log_spread: torch.Tensor,
) -> torch.Tensor:
    """log p(x) of each picture in nats, [B]: its numbers lie round the centres, each for itself."""
    off = (x_BCHW - centre_BCHW) / log_spread.exp()
    if kind == "gaussian":
        each = -(off.square() + math.log(2 * math.pi)) / 2 - log_spread
    else:
        each = -off.abs() - math.log(2) - log_spread
    return each.flatten(1).sum(1)


class _Learnt(nn.Module):
    """The network and the logarithm of the likelihood's spread."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.network = VectorAutoencoder(config.size, config.numbers, config.channels, config.blocks)
        spread = _FIRST_SPREAD if config.spread == "learnt" else config.spread
        log_spread = torch.tensor([math.log(spread)])
        self.log_spread = nn.Parameter(log_spread, requires_grad=config.spread == "learnt")


class VariationalObjective(Sourced[NoisedPictures]):
    """The evidence lower bound on pictures without their captions."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        pictures = config.pictures(config.size, seed, config.size)
        if any(sides != (config.size,) * 2 for sides in pictures.sizes):
            raise InputError(
                f"{config.data} has pictures of several sizes",
                expected=f"squares of {config.size}, since all are told by as many numbers",
                remedy=f"Prepare them with --size {config.size} and without --buckets.",
                param="objective.data",
            )
        self.source = NoisedPictures(pictures=pictures, channels=config.numbers)
        self.module = _Learnt(config)

    def rate(self, name: str) -> float:
        # One number, which all others wait for.
        return 10.0 if name == "log_spread" else 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        image = planes(batch["image"])
        out, mean, log_variance = self.module.network(image, batch["noise"])
        likely_B = log_likelihood(self.config.likelihood, image, out.float(), self.module.log_spread)
        far_B = divergences(mean.float(), log_variance.float()).sum(1)
        beta_B = self.config.beta * torch.clamp((batch["number"] + 1) / max(1, self.config.warm_up), max=1)
        figures = {
            "elbo": (likely_B - far_B).detach().mean() / image[0].numel(),
            "kl": far_B.detach().mean(),
            "psnr": psnr(out.detach().float(), image).mean(),
            "spread": self.module.log_spread.detach().exp().squeeze(),
        }
        return (beta_B * far_B - likely_B).mean() / image[0].numel(), figures

    def validate(self) -> dict[str, float]:
        """On compositions that training never draws: the bound, and how well mean codes are decoded.

        `elbo` is in nats for each number of a picture and estimated by one draw a picture, `kl` in nats a
        picture; `used_numbers` are those of a code that tell anything of it.
        """
        sums: dict[str, float] = {}
        means = []
        network = self.module.network
        for judged in self.source.judged(_VALIDATION):
            batch = beside(judged, self.module)
            image = planes(batch["image"])
            mean, _ = network.encode(image)
            out = network.decode(mean).float().clamp(-1, 1)
            _, drawn = self.loss(batch)
            figures = {"elbo": drawn["elbo"], "kl": drawn["kl"]}
            figures |= {"psnr": psnr(out, image).mean(), "ssim": ssim(out, image)}
            for name, value in figures.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(image) / _VALIDATION
            means.append(mean.float())
        used = (torch.cat(means).var(0) > _ACTIVE).sum()
        return {**sums, "spread": float(self.module.log_spread.exp()), "used_numbers": float(used)}

    def save(self, folder: Path) -> None:
        """Write model_index.json, the network in half precision, its two graphs and pictor.json."""
        self.save_draft(folder)
        for part in (DECODER, ENCODER):
            export_part(folder, part)

    def save_draft(self, folder: Path) -> None:
        index = {"_class_name": PIPELINE, DECODER.subfolder: [DECODER.library, DECODER.classes[0]]}
        likelihood = {"kind": self.config.likelihood, "spread": float(self.module.log_spread.detach().exp())}
        sheet = {
            "defaults": {"size": [self.config.size] * 2},
            "likelihood": likelihood,
            "beta": self.config.beta,
            **self.source.pictures.facts,
        }
        for name, table in (("model_index.json", index), ("pictor.json", sheet)):
            (folder / name).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        copy.deepcopy(self.module.network).half().save_pretrained(folder / DECODER.subfolder)


def build(table: dict[str, Any], seed: int) -> VariationalObjective:
    return VariationalObjective(validated(Config, table, "[objective]"), seed)
