"""Denoiser: the straight path from noise to latents, steered by words.

x_t = (1 - t) x0 + t eps; the network learns eps - x0 (Liu et al. 2022, arXiv 2209.03003). Times are mostly
logit-normal (Esser et al. 2024, arXiv 2403.03206) with a uniform share, since flat backgrounds are decided
near t = 1. The text encoder goes on learning at its own, lower rate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from pydantic import Field
from torch import nn
from transformers import CLIPTextModel

from pictor.core.errors import InputError
from pictor.core.predictions import Mixture, target
from pictor.data.picturebook import Picturebook, corpus_identity
from pictor.training.objectives import Batch
from pictor.training.parts import encode, open_autoencoder, open_text_encoder, open_unet
from pictor.training.pipeline_folder import PipelineFacts, write_pipeline
from pictor.training.recipe import Strict, validated
from pictor.training.tokenizer import tokenize

_VALIDATION = 128
_VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


class Config(Strict):
    """Keys of the recipe's [objective] table."""

    autoencoder: Path
    """Folder of a trained AutoencoderTiny or AutoencoderKL."""
    text_encoder: Path
    """Folder that holds text_encoder/ and tokenizer/."""
    start: Path | None = None
    """Folder with a unet/ to go on from; its channels and layers must be those named here."""
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    channels: tuple[int, ...] = (96, 160)
    """Channels of the UNet's levels; each has cross-attention."""
    layers: int = Field(1, ge=1, le=4)
    """Residual blocks a level."""
    head_width: int = Field(32, ge=8)
    """Channels of an attention head; divides every level's channels."""
    uniform_share: float = Field(0.15, ge=0, le=1)
    """Share of times drawn uniformly; the rest is logit-normal with unit width."""
    logit_mean: float = Field(0.0, ge=-3, le=3)
    """Middle of the logit-normal times; above 0 the noisy half, where objects are decided, is seen more."""
    empty_captions: float = Field(0.1, ge=0, le=1)
    """Share of captions emptied, which classifier-free guidance needs."""
    text_rate: float = Field(0.3, ge=0)
    """Factor on the text encoder's learning rate; 0 freezes it."""
    font: Path | None = None


class TextToLatents(nn.Module):
    """The two networks that learn together."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(self, x_BCHW: torch.Tensor, t_B: torch.Tensor, ids_BT: torch.Tensor) -> torch.Tensor:
        """Predicted eps - x0 at times t in [0, 1]."""
        words_BTD = self.text_encoder(input_ids=ids_BT).last_hidden_state
        out: torch.Tensor = self.unet(x_BCHW, 1000.0 * t_B, words_BTD).sample
        return out


class RectifiedFlowObjective:
    """A UNet and a text encoder on the picturebook's latents."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.book = Picturebook(config.size, seed, config.font)
        self.autoencoder = open_autoencoder(config.autoencoder)
        text_encoder, self.tokenizer = open_text_encoder(config.text_encoder)
        text_encoder.requires_grad_(config.text_rate > 0)
        self.latent_channels = int(self.autoencoder.config.latent_channels)
        self.side = config.size // 8
        unet = self._unet(int(text_encoder.config.hidden_size))
        self.module = TextToLatents(unet, text_encoder)

    def _unet(self, words: int) -> UNet2DConditionModel:
        """A fresh network, or the one to go on from if it is of the same shape."""
        config, depth = self.config, len(self.config.channels)
        fresh = UNet2DConditionModel(
            sample_size=self.side,
            in_channels=self.latent_channels,
            out_channels=self.latent_channels,
            block_out_channels=config.channels,
            layers_per_block=config.layers,
            down_block_types=("CrossAttnDownBlock2D",) * depth,
            up_block_types=("CrossAttnUpBlock2D",) * depth,
            cross_attention_dim=words,
            # The class's name for the number of heads.
            attention_head_dim=tuple(width // config.head_width for width in config.channels),
            norm_num_groups=16,
        )
        if config.start is None:
            return fresh
        earlier = open_unet(config.start)
        if {n: p.shape for n, p in earlier.named_parameters()} != {
            n: p.shape for n, p in fresh.named_parameters()
        }:
            raise InputError(
                f"{config.start}/unet has other channels or layers than this recipe",
                expected=f"channels {list(config.channels)}, {config.layers} a level, {words} numbers a word",
                remedy="Name that network's own sizes, or leave start out.",
                param="objective.start",
            )
        return earlier

    def rate(self, name: str) -> float:
        return self.config.text_rate if name.startswith("text_encoder.") else 1.0

    def _times(self, rng: np.random.Generator) -> float:
        if rng.random() < self.config.uniform_share:
            return float(rng.random())
        return float(1 / (1 + np.exp(-self.config.logit_mean - rng.standard_normal())))

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        pictures, texts, times, noises = [], [], [], []
        for number in range(first, first + count):
            scene = self.book.scene(number, held_out=held_out)
            rng = self.book.rng(number, 31)
            pictures.append(self.book.draw(scene, number))
            text = self.book.caption(scene, rng).text
            texts.append("" if rng.random() < self.config.empty_captions else text)
            times.append(self._times(rng))
            noises.append(rng.standard_normal((self.latent_channels, self.side, self.side), np.float32))
        return {
            "image": torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1),
            "ids": tokenize(self.tokenizer, texts),
            "t": torch.tensor(times, dtype=torch.float32),
            "eps": torch.from_numpy(np.stack(noises)),
        }

    def _squared_error(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of each sample, [B]."""
        x0, eps, t = encode(self.autoencoder, batch["image"]), batch["eps"], batch["t"]
        level = Mixture(1 - t[:, None, None, None], t[:, None, None, None])
        out = self.module(level.alpha * x0 + level.sigma * eps, t, batch["ids"])
        return F.mse_loss(out, target("flow", x0, eps, level), reduction="none").mean((1, 2, 3))

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        error = self._squared_error(batch)
        return error.mean(), {}

    def validate(self) -> dict[str, float]:
        """Error on held-out compositions at fixed times with fixed noise."""
        batch = self.batch(0, _VALIDATION, held_out=True)
        figures = {}
        for time in _VALIDATION_TIMES:
            batch["t"] = torch.full((_VALIDATION,), time)
            figures[f"held_out_mse_t{time}"] = float(self._squared_error(batch).mean())
        return figures

    def save(self, folder: Path) -> None:
        facts = PipelineFacts(size=self.config.size, corpus=corpus_identity(self.config.size, self.book.seed))
        # The decoder may have been trained further since this run began; its encoder is the one learnt with.
        decoder = open_autoencoder(self.config.autoencoder)
        write_pipeline(folder, self.module.unet, decoder, self.module.text_encoder, self.tokenizer, facts)


def build(table: dict[str, Any], seed: int) -> RectifiedFlowObjective:
    return RectifiedFlowObjective(validated(Config, table, "[objective]"), seed)
