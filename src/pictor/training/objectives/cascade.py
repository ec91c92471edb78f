"""Cascade: diffusion that makes large pictures of a model's small ones.

A UNet without attention, and so for pictures of any size, denoises crops of large pictures beside the small
picture, enlarged by the bicubic filter and noised to a random level that it is told (SR3, Saharia et al.
2021, arXiv:2104.07636; noise conditioning augmentation, Ho et al. 2022, arXiv:2106.15282). What is denoised
is the difference from the enlarged picture (SRDiff, Li et al. 2021, arXiv:2104.14951), which is small: so are
the errors of a network that has seen little. What is saved is a whole cascade: a copy of the model of small
pictures, and this network.

Legend: B samples, H, W pixels.
"""

from __future__ import annotations

import copy
import json
import math
import shutil
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from diffusers import UNet2DModel
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from pictor.backends.squares import by_squares
from pictor.backends.torch import quiet
from pictor.core.errors import InputError
from pictor.families.parts.cascading import SuperResolution, enlarged
from pictor.families.registry import open_bundle
from pictor.training.captioned_latents import CorpusKeys
from pictor.training.drawing import Draw
from pictor.training.large_crops import LargeCrops
from pictor.training.noising import Noising, NoisingKeys
from pictor.training.objectives import Batch, Figures
from pictor.training.pipeline_folder import write_index
from pictor.training.recipe import validated

_VALIDATION, _VALIDATION_SIDE = 16, 128
_SCALES = (2, 4, 8)
_MEASURED = 256
"""Crops whose differences from enlarged pictures are measured."""
_DEVIATION = 0.5
"""Of what is denoised, about that of pictures in [-1, 1]."""


class Config(NoisingKeys, CorpusKeys):
    """Keys of the recipe's [objective] table."""

    reads_words: ClassVar[bool] = False
    base: Path
    """Folder of the model of small pictures."""
    size: int = Field(256, ge=32, le=1024, multiple_of=8)
    """Side of the large pictures in pixels: 2, 4 or 8 times that of the base's."""
    crop: int = Field(64, ge=16, le=256, multiple_of=16)
    """Side of the crops that are learnt from, in pixels."""
    crops: int = Field(8, ge=1, le=64)
    """Crops of each picture."""
    patch: Literal[1, 2, 4] = 2
    """Pixels along each side of a place of the UNet's finest level: 1 costs most."""
    channels: tuple[int, ...] = Field((32, 64, 96), min_length=1, max_length=6)
    """Channels of the UNet's levels, fine to coarse, multiples of 16."""
    layers: int = Field(1, ge=1, le=4)
    """Residual blocks a level."""
    max_augmentation: float = Field(0.5, gt=0, le=1)
    """The noisiest level that small pictures are noised to, as a share of the timesteps."""
    augmentation: float = Field(0.1, ge=0, le=1)
    """The level that the saved model's own are noised to."""
    num_steps: int = Field(16, ge=1, le=1000)
    """Of the saved model's second stage."""


class SecondStage(nn.Module):
    """The network that learns."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        depth = len(config.channels)
        self.unet = UNet2DModel(
            sample_size=config.size // config.patch,
            in_channels=6 * config.patch**2,
            out_channels=3 * config.patch**2,
            block_out_channels=config.channels,
            layers_per_block=config.layers,
            down_block_types=("DownBlock2D",) * depth,
            up_block_types=("UpBlock2D",) * depth,
            add_attention=False,
            norm_num_groups=16,
            resnet_time_scale_shift="scale_shift",
            class_embed_type="timestep",
        )

    def forward(self, x_B6HW: torch.Tensor, time_B: torch.Tensor, told_B: torch.Tensor) -> torch.Tensor:
        return by_squares(self.unet, x_B6HW, time_B, told_B)


class CascadeObjective:
    """The second stage, on crops of large pictures."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        traits = open_bundle(config.base, "torch").traits
        self.scale = config.size // min(traits.defaults.size)
        if traits.path is None or config.size not in {scale * min(traits.defaults.size) for scale in _SCALES}:
            raise InputError(
                f"{config.base} makes pictures of {min(traits.defaults.size)} pixels a side",
                expected=f"a diffusion model whose pictures become {config.size} by a factor of 2, 4 or 8",
                remedy="Name such a model with --base, or another size.",
                param="objective.base",
            )
        self.coarsest = config.patch * 2 ** (len(config.channels) - 1)
        pictures = config.pictures(config.size, seed, self.scale)
        largest, multiple = min(map(min, pictures.sizes)), math.lcm(self.coarsest, self.scale)
        if config.crop > largest or config.crop % multiple:
            raise InputError(
                f"crop is {config.crop}",
                expected=f"at most {largest}, and a multiple of {multiple}",
                param="objective.crop",
            )
        self.source = LargeCrops(
            pictures=pictures, seed=seed, scale=self.scale, side=config.crop, each=config.crops
        )
        self.module = SecondStage(config)
        self.noising = Noising(config)
        some = self.source(0, _MEASURED)
        self.spread = max(float((some["large"] - some["like"]).std()) / _DEVIATION, 1e-3)

    def rate(self, name: str) -> float:
        return 1.0

    def drawer(self) -> Draw:
        return self.source

    def batch(self, first: int, count: int) -> Batch:
        return {key: torch.from_numpy(array) for key, array in self.source(first, count).items()}

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        step = self.noising.steps(batch["t"])
        told = self.noising.steps(batch["share"] * self.config.max_augmentation)
        level, veiled = self.noising.levels(step), self.noising.levels(told)
        like = veiled.alpha * batch["like"] + veiled.sigma * batch["veil"]
        x0 = (batch["large"] - batch["like"]) / self.spread
        x = level.alpha * x0 + level.sigma * batch["eps"]
        out = self.module(torch.cat([x, like], 1), step.float(), told.float())
        return self.noising.error(out, x0, batch["eps"], level).mean(), {}

    def validate(self) -> dict[str, float]:
        """On the middles of held-out pictures, made as the saved model makes them, beside the bicubic filter.

        Mean PSNR in dB, and sharpness: the mean step between neighbouring pixels over the true picture's.
        """
        second = self._second()
        scores = []
        for number in range(_VALIDATION):
            large, small = self.source.pair(number, held_out=True)
            side = min(_VALIDATION_SIDE, *large.shape[1:]) // self.scale
            top, left = ((length - side) // 2 for length in small.shape[1:])
            small = small[None, :, top : top + side, left : left + side]
            true = large[:, self.scale * top :, self.scale * left :][
                :, : self.scale * side, : self.scale * side
            ]
            made, plain = second(small)[0], enlarged(small, self.scale)[0].clip(-1, 1)
            scores.append(
                [_psnr(made, true), _psnr(plain, true), _sharpness(made, true), _sharpness(plain, true)]
            )
        names = ("psnr", "bicubic_psnr", "sharpness", "bicubic_sharpness")
        return dict(zip(names, np.mean(scores, axis=0).tolist(), strict=True))

    def _second(self) -> SuperResolution:
        place = next(self.module.parameters()).device

        @torch.no_grad()
        def run(
            x: NDArray[np.float32], time: NDArray[np.float64], told: NDArray[np.float64]
        ) -> NDArray[np.float32]:
            tensors = (torch.tensor(array, dtype=torch.float32, device=place) for array in (x, time, told))
            out: NDArray[np.float32] = self.module(*tensors).cpu().numpy()
            return out

        return SuperResolution(
            run=run,
            path=self.noising.path,
            prediction=self.config.prediction,
            scale=self.scale,
            multiple=self.coarsest,
            spread=self.spread,
            augmentation=self.config.augmentation,
            num_steps=self.config.num_steps,
        )

    def save(self, folder: Path) -> None:
        """Write the cascade: base/, super_resolution/ in half precision, scheduler/, and its facts."""
        shutil.copytree(self.config.base, folder / "base")
        with quiet():
            copy.deepcopy(self.module.unet).half().save_pretrained(folder / "super_resolution")
            self.config.scheduler(clips=False, spacing="trailing").save_pretrained(folder / "scheduler")
        write_index(
            folder,
            "PictorCascadePipeline",
            super_resolution=("diffusers", "UNet2DModel"),
            scheduler=("diffusers", "DDPMScheduler"),
        )
        told = {name: getattr(self.config, name) for name in ("augmentation", "num_steps")}
        facts = {
            **self.source.pictures.facts,
            "super_resolution": {"scale": self.scale, "spread": self.spread, **told},
        }
        (folder / "pictor.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    save_draft = save


def _psnr(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(10 * np.log10(4 / max(float(np.square(one - other).mean()), 1e-6)))


def _sharpness(one: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    def steps(image: NDArray[np.float32]) -> float:
        return float(np.abs(np.diff(image, axis=1)).mean() + np.abs(np.diff(image, axis=2)).mean())

    return steps(one) / max(steps(true), 1e-6)


def build(table: dict[str, Any], seed: int) -> CascadeObjective:
    return CascadeObjective(validated(Config, table, "[objective]"), seed)
