"""Denoiser: the straight path from noise to latents, steered by words.

x_t = (1 - t) x0 + t eps; the network learns eps - x0 (Liu et al. 2022, arXiv 2209.03003). Times are mostly
logit-normal (Esser et al. 2024, arXiv 2403.03206) with a uniform share, since flat backgrounds are decided
near t = 1. The text encoder goes on learning at its own, lower rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field

from pictor.core.predictions import Mixture, target
from pictor.training.captioned_latents import latents_of
from pictor.training.denoisers import DenoiserKeys, DenoisingObjective
from pictor.training.objectives import Batch
from pictor.training.parts import open_autoencoder
from pictor.training.pipeline_folder import PipelineFacts, write_pipeline
from pictor.training.recipe import validated

_VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


class Config(DenoiserKeys):
    """Keys of the recipe's [objective] table."""

    autoencoder: Path
    """Folder of a trained AutoencoderTiny or AutoencoderKL."""
    text_encoder: Path
    """Folder that holds text_encoder/ and tokenizer/."""
    uniform_share: float = Field(0.15, ge=0, le=1)
    """Share of times drawn uniformly; the rest is logit-normal with unit width."""
    logit_mean: float = Field(0.0, ge=-3, le=3)
    """Middle of the logit-normal times; above 0 the noisy half, where objects are decided, is seen more."""


@dataclass(frozen=True, slots=True)
class LogitNormalTime:
    """Times mostly from a logit-normal law, some uniform."""

    uniform_share: float
    logit_mean: float

    def __call__(self, rng: np.random.Generator) -> float:
        if rng.random() < self.uniform_share:
            return float(rng.random())
        return float(1 / (1 + np.exp(-self.logit_mean - rng.standard_normal())))


class RectifiedFlowObjective(DenoisingObjective):
    """A UNet and a text encoder on the picturebook's latents."""

    def __init__(self, config: Config, seed: int) -> None:
        super().__init__(
            config,
            seed,
            autoencoder=config.autoencoder,
            text_encoder=config.text_encoder,
            draw_time=LogitNormalTime(config.uniform_share, config.logit_mean),
        )
        self.config = config

    def squared_error(self, batch: Batch) -> torch.Tensor:
        x0, eps, t = latents_of(batch, self.encoder), batch["eps"], batch["t"]
        level = Mixture(1 - t[:, None, None, None], t[:, None, None, None])
        out = self.module(level.alpha * x0 + level.sigma * eps, 1000.0 * t, batch["ids"])
        return F.mse_loss(out, target("flow", x0, eps, level), reduction="none").mean((1, 2, 3))

    def validate(self) -> dict[str, float]:
        """Error at fixed times with fixed noise."""

        def at(time: float) -> Callable[[Batch], torch.Tensor]:
            return lambda batch: self.squared_error(batch | {"t": torch.full_like(batch["t"], time)})

        return self.judged({f"mse_t{time}": at(time) for time in _VALIDATION_TIMES})

    def write(self, folder: Path, *, graphs: bool) -> None:
        facts = PipelineFacts(size=self.config.size, corpus=self.source.pictures.facts)
        # The decoder may have been trained further since this run began; its encoder is the one learnt with.
        decoder = open_autoencoder(self.config.autoencoder)
        write_pipeline(
            folder,
            self.module.unet,
            decoder,
            self.module.text_encoder,
            self.source.tokenizer,
            facts,
            graphs=graphs,
        )


def build(table: dict[str, Any], seed: int) -> RectifiedFlowObjective:
    return RectifiedFlowObjective(validated(Config, table, "[objective]"), seed)
