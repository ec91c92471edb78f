"""Denoiser: the straight path from noise to latents, steered by words.

x_t = (1 - t) x0 + t eps; the network learns eps - x0 (Liu et al. 2022, arXiv 2209.03003). Times are mostly
logit-normal (Esser et al. 2024, arXiv 2403.03206) with a uniform share, since flat backgrounds are decided
near t = 1. The text encoder goes on learning at its own, lower rate.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from pictor.training.attention import ready_to_train
from pictor.training.captioned_latents import CaptionedPictures, CorpusKeys, PictureEncoder, downsampling
from pictor.training.drawing import Draw
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.parts import open_autoencoder, open_text_encoder, open_unet
from pictor.training.pipeline_folder import PipelineFacts, write_pipeline
from pictor.training.recipe import validated

_VALIDATION = 128
_USUAL_CHANNELS = (96, 160)
_VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


class Config(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    autoencoder: Path
    """Folder of a trained AutoencoderTiny or AutoencoderKL."""
    text_encoder: Path
    """Folder that holds text_encoder/ and tokenizer/."""
    start: Path | None = None
    """Folder with a unet/ to go on from; where channels are named, of that shape."""
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    channels: tuple[int, ...] | None = Field(None, min_length=1, max_length=8)
    """Channels of the UNet's levels, fine to coarse; None for those of `start`, or 96 and 160."""
    attention: int | None = Field(None, ge=1)
    """How many levels, from the coarsest, attend to words and to each other's places; None for all."""
    layers: int = Field(1, ge=1, le=4)
    """Residual blocks a level."""
    head_width: int = Field(32, ge=8)
    """Channels of an attention head; divides every level's channels."""
    time_width: int | None = Field(None, ge=32)
    """Numbers of the embedding of time and words that scales and shifts every block; None for 4 times the
    finest level's channels."""
    uniform_share: float = Field(0.15, ge=0, le=1)
    """Share of times drawn uniformly; the rest is logit-normal with unit width."""
    logit_mean: float = Field(0.0, ge=-3, le=3)
    """Middle of the logit-normal times; above 0 the noisy half, where objects are decided, is seen more."""
    text_rate: float = Field(0.3, ge=0)
    """Factor on the text encoder's learning rate; 0 freezes it."""


@dataclass(frozen=True, slots=True)
class LogitNormalTime:
    """Times mostly from a logit-normal law, some uniform."""

    uniform_share: float
    logit_mean: float

    def __call__(self, rng: np.random.Generator) -> float:
        if rng.random() < self.uniform_share:
            return float(rng.random())
        return float(1 / (1 + np.exp(-self.logit_mean - rng.standard_normal())))


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
        return out.float()


def _network(config: Config, side: int, latents: int, words: int) -> UNet2DConditionModel:
    """A fresh network, or the one to go on from if it is of the same shape.

    Args:
        config: the recipe's.
        side: of the latents.
        latents: their channels.
        words: width of a word's embedding.
    """
    if config.start is not None and config.channels is None:
        return _fitting(open_unet(config.start), config.start, latents, words)
    channels = config.channels or _USUAL_CHANNELS
    depth = len(channels)
    plain = depth - min(config.attention or depth, depth)
    fresh = UNet2DConditionModel(
        sample_size=side,
        in_channels=latents,
        out_channels=latents,
        block_out_channels=channels,
        layers_per_block=config.layers,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * (depth - plain),
        up_block_types=("CrossAttnUpBlock2D",) * (depth - plain) + ("UpBlock2D",) * plain,
        cross_attention_dim=words,
        # The class's name for the number of heads.
        attention_head_dim=tuple(width // config.head_width for width in channels),
        norm_num_groups=16,
        # The words, pooled, join the time: what is said of the whole picture need not wait for attention.
        addition_embed_type="text",
        addition_embed_type_num_heads=words // config.head_width,
        resnet_time_scale_shift="scale_shift",
        time_embedding_dim=config.time_width,
    )
    if config.start is None:
        return fresh
    earlier = open_unet(config.start)
    if {n: p.shape for n, p in earlier.named_parameters()} != {
        n: p.shape for n, p in fresh.named_parameters()
    }:
        raise InputError(
            f"{config.start}/unet has other channels or layers than this recipe",
            expected=f"channels {list(channels)}, {config.layers} a level, {words} numbers a word",
            remedy="Name that network's own sizes, or leave start or channels out.",
            param="objective.start",
        )
    return earlier


def _fitting(network: UNet2DConditionModel, folder: Path, latents: int, words: int) -> UNet2DConditionModel:
    """The network to go on from, if it is for these latents and words."""
    told = network.config
    if (told.in_channels, told.out_channels, told.cross_attention_dim) != (latents, latents, words):
        raise InputError(
            f"{folder}/unet takes latents of {told.in_channels} channels and words of"
            f" {told.cross_attention_dim} numbers",
            expected=f"{latents} and {words}, as this autoencoder and text encoder make them",
            remedy="Begin with parts of one model.",
            param="objective.start",
        )
    return network


class RectifiedFlowObjective:
    """A UNet and a text encoder on the picturebook's latents."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.encoder = PictureEncoder(open_autoencoder(config.autoencoder))
        text_encoder, tokenizer = open_text_encoder(config.text_encoder)
        # Plain attention, for the reason that `TrainingAttention` gives.
        text_encoder.set_attn_implementation("eager")
        text_encoder.requires_grad_(config.text_rate > 0)
        factor, latents = (
            downsampling(self.encoder.autoencoder),
            self.encoder.autoencoder.config.latent_channels,
        )
        unet = _network(config, config.size // factor, int(latents), int(text_encoder.config.hidden_size))
        stride = factor * 2 ** (len(unet.config.block_out_channels) - 1)
        self.source = CaptionedPictures(
            pictures=config.pictures(config.size, seed, stride),
            tokenizer=tokenizer,
            channels=int(latents),
            factor=factor,
            empty_captions=config.empty_captions,
            draw_time=LogitNormalTime(config.uniform_share, config.logit_mean),
        )
        self.module = TextToLatents(ready_to_train(unet), text_encoder)

    def rate(self, name: str) -> float:
        return self.config.text_rate if name.startswith("text_encoder.") else 1.0

    def batches_of(self, size: int) -> None:
        self.source = self.source.in_batches(size)

    def drawer(self) -> Draw:
        return self.source

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        return self.source.batch(first, count, held_out)

    def _squared_error(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of each sample, [B]."""
        x0, eps, t = self.encoder(batch["image"]), batch["eps"], batch["t"]
        level = Mixture(1 - t[:, None, None, None], t[:, None, None, None])
        out = self.module(level.alpha * x0 + level.sigma * eps, t, batch["ids"])
        return F.mse_loss(out, target("flow", x0, eps, level), reduction="none").mean((1, 2, 3))

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        return self._squared_error(batch).mean(), {}

    def validate(self) -> dict[str, float]:
        """Error at fixed times with fixed noise: on held-out pictures, or where there are none on others."""
        kind = "held_out" if self.source.pictures.has_held_out else "seen"
        batches = [beside(batch, self.module) for batch in self.source.judged(_VALIDATION)]
        figures = {}
        for time in _VALIDATION_TIMES:
            errors = [
                self._squared_error(batch | {"t": torch.full_like(batch["t"], time)}) for batch in batches
            ]
            figures[f"{kind}_mse_t{time}"] = float(torch.cat(errors).mean())
        return figures

    def save(self, folder: Path) -> None:
        self._write(folder, graphs=True)

    def save_draft(self, folder: Path) -> None:
        self._write(folder, graphs=False)

    def _write(self, folder: Path, *, graphs: bool) -> None:
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
