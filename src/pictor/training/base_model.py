"""A trained model of the shape of Stable Diffusion, opened to go on learning.

Its networks, tokenizers, noise path and prediction are its own: Stable Diffusion 1.x, 2.x and XL, and the
embedded model. Objectives decide what of it learns.

Legend: B samples, C latent channels, h, w latent rows and columns, T tokens, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from pictor.backends.torch import quiet
from pictor.core.errors import InputError
from pictor.core.levels import FlowPath, Level, VPPath
from pictor.core.predictions import Mixture, input_scale, target, weights
from pictor.families.parts.files import read_json
from pictor.families.parts.opening import class_of
from pictor.families.parts.schedulers import Schedule, read_schedule
from pictor.training.attention import ready_to_train
from pictor.training.captioned_latents import DrawTime, PictureEncoder
from pictor.training.noising import uniform_time
from pictor.training.objectives import Batch
from pictor.training.parts import open_autoencoder, open_unet

ENCODERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
"""Subfolders of text encoders and of their tokenizers."""

_PIPELINES = {"StableDiffusionPipeline": ("text_encoder",), "StableDiffusionXLPipeline": tuple(ENCODERS)}
_TEXT_CLASSES = {"CLIPTextModel": CLIPTextModel, "CLIPTextModelWithProjection": CLIPTextModelWithProjection}


@dataclass(frozen=True, slots=True)
class MiddleTime:
    """Times of the straight path: logit-normal (Esser et al. 2024, arXiv:2403.03206), a share uniform."""

    uniform: float = 0.15
    middle: float = 0.5
    """Of the logits; above 0 the noisy half, where objects are decided, is seen more."""

    def __call__(self, rng: np.random.Generator) -> float:
        if rng.random() < self.uniform:
            return float(rng.random())
        return float(1 / (1 + np.exp(-self.middle - rng.standard_normal())))


class BaseModel(nn.Module):
    """The networks of a folder, frozen, in float32.

    Args:
        folder: with a model_index.json of a StableDiffusionPipeline or a StableDiffusionXLPipeline.

    Raises:
        InputError: it is another kind of model, or one made for inpainting.
        ModelError: a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.index = read_json(folder / "model_index.json")
        encoders = _encoders(folder, self.index)
        self.schedule: Schedule = read_schedule(folder / "scheduler" / "scheduler_config.json")
        with quiet():
            self.unet: UNet2DConditionModel = ready_to_train(open_unet(folder))
            self.text_encoders = nn.ModuleDict({name: _open_text(folder / name) for name in encoders})
            self.pictures = PictureEncoder(open_autoencoder(folder / "vae").float())
            self.tokenizers = {
                name: CLIPTokenizer.from_pretrained(folder / ENCODERS[name]) for name in encoders
            }
        self.channels = int(self.pictures.autoencoder.config.latent_channels)
        if self.unet.config.in_channels != self.channels:
            raise InputError(
                f"{folder}/unet takes {self.unet.config.in_channels} channels: it is made for inpainting",
                expected=f"the autoencoder's {self.channels}",
                remedy="Begin with the model that paints whole pictures.",
                param="objective.base",
            )
        self.eval().requires_grad_(False)

    @property
    def encoders(self) -> dict[str, nn.Module]:
        """The text encoders by their subfolders."""
        return dict(self.text_encoders.items())

    @property
    def stride(self) -> int:
        """Pixels that sides of pictures are multiples of."""
        return int(self.pictures.factor * 2 ** (len(self.unet.config.block_out_channels) - 1))

    @property
    def draw_time(self) -> DrawTime:
        """The law of the times in [0, 1] that suits the path."""
        return MiddleTime() if isinstance(self.schedule.path, FlowPath) else uniform_time

    def level(self, time: float) -> Level:
        """The level at a share of the path's clock; of a path with trained timesteps one of those."""
        path = self.schedule.path
        if isinstance(path, VPPath):
            return path.at(float(min(int(time * (path.t_max + 1)), int(path.t_max))))
        return path.at(path.t_min + time * (path.t_max - path.t_min))

    def words(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Captions as the UNet takes them: each token by all text encoders, and the whole by the second."""
        if batch["ids"].is_floating_point():  # what was read in them before
            return {"hidden": batch["ids"]} | {key: batch[key] for key in ("pooled",) if key in batch}
        if len(self.text_encoders) == 1:
            return {"hidden": self.text_encoders["text_encoder"](input_ids=batch["ids"]).last_hidden_state}
        outs = [
            encoder(input_ids=batch[key], output_hidden_states=True)
            for key, encoder in zip(("ids", "ids_2"), self.text_encoders.values(), strict=True)
        ]
        # SDXL reads the layers before the last (Podell et al. 2023, arXiv:2307.01952, section 2.1).
        hidden_BTD = torch.cat([out.hidden_states[-2] for out in outs], dim=2)
        return {"hidden": hidden_BTD, "pooled": outs[-1].text_embeds}

    def forward(
        self, x_BChw: torch.Tensor, times_B: torch.Tensor, words: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:
        """The UNet's raw output of x's shape."""
        told = None
        if "pooled" in words:
            height, width = (side * self.pictures.factor for side in x_BChw.shape[2:])
            sizes = words["pooled"].new_tensor([[height, width, 0, 0, height, width]])
            told = {"text_embeds": words["pooled"], "time_ids": sizes.expand(len(x_BChw), -1)}
        out: torch.Tensor = self.unet(x_BChw, times_B, words["hidden"], added_cond_kwargs=told).sample
        return out[:, : self.channels].float()  # a learnt variance comes in further channels

    def squared_error(self, batch: Batch, *, min_snr_gamma: float | None = None) -> torch.Tensor:
        """Mean squared error [B] of the model's own prediction.

        Args:
            batch: of `CaptionedPictures`, with ids_2 where there is a second text encoder.
            min_snr_gamma: of min-SNR weighting (Hang et al. 2023, arXiv:2303.09556, section 3.4): the error
                of x0 counts min(SNR, gamma) times; None to weigh the prediction's own error alike everywhere.
        """
        x0, eps = self.pictures(batch["image"]), batch["eps"]
        levels = [self.level(float(time)) for time in batch["t"].tolist()]
        mixture = Mixture(*(_column([getattr(one, key) for one in levels], x0) for key in ("alpha", "sigma")))
        times = x0.new_tensor([one.time for one in levels])
        kind, spread = self.schedule.prediction, self.schedule.sigma_data
        seen = input_scale(kind, mixture, spread) * (mixture.alpha * x0 + mixture.sigma * eps)
        out = self(seen, times, self.words(batch))
        wanted = target(kind, x0, eps, mixture, spread)
        error_B = F.mse_loss(out, wanted, reduction="none").mean((1, 2, 3))
        if min_snr_gamma is None:
            return error_B
        return error_B * snr_weight(kind, mixture, min_snr_gamma, spread).flatten()


def snr_weight(prediction: str, level: Mixture, gamma: float, sigma_data: float = 1.0) -> torch.Tensor:
    """What min-SNR weighting multiplies the squared error of a prediction with; see `squared_error`.

    An error of F is one of x0 of sigma / delta times its size (`pictor.core.predictions`), so that the weight
    is min(SNR, gamma) (sigma / delta)^2: min(SNR, gamma) / SNR of eps, min(SNR, gamma) / (SNR + 1) of v.
    """
    a, b = weights(prediction, level, sigma_data)
    share = level.sigma / (b * level.alpha - a * level.sigma)
    weight: torch.Tensor = ((level.alpha / level.sigma) ** 2).clamp(max=gamma) * share**2
    return weight


def _encoders(folder: Path, index: Mapping[str, Any]) -> tuple[str, ...]:
    """The text encoders of a folder that can be taught.

    Raises:
        InputError: it is of another kind.
    """
    kind = index.get("_class_name")
    encoders = _PIPELINES.get(str(kind), ())
    if not encoders or any(class_of(index, name) not in _TEXT_CLASSES for name in encoders):
        raise InputError(
            f"{folder} is a {kind}, which cannot be taught this way",
            expected=f"a folder of a {' or a '.join(_PIPELINES)}",
            remedy="Name Stable Diffusion 1.x, 2.x or XL, or one of Pictor's own models.",
            param="objective.base",
        )
    return encoders


def _open_text(folder: Path) -> nn.Module:
    kind = read_json(folder / "config.json").get("architectures") or ["CLIPTextModel"]
    network = _TEXT_CLASSES[kind[0]].from_pretrained(folder, use_safetensors=True).float()
    # Plain attention, for the reason that `TrainingAttention` gives.
    network.set_attn_implementation("eager")
    found: nn.Module = network
    return found


def _column(numbers: list[float], like: torch.Tensor) -> torch.Tensor:
    return like.new_tensor(numbers).reshape(-1, 1, 1, 1)
