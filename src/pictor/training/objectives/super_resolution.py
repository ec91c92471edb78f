"""Super-resolution: small pictures to pictures of twice their width and height.

The loss is Charbonnier's (LapSRN, Lai et al. 2017, arXiv:1704.03915) on pixels and on the steps between
neighbours, so that edges are worth more than planes.
"""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from pictor.backends.base import ENLARGER
from pictor.backends.enlarger import EnlargerNetwork
from pictor.backends.export import export_part
from pictor.data.picturebook import Mix
from pictor.training.captioned_latents import MixTable
from pictor.training.drawing import Draw
from pictor.training.enlarger_pairs import EnlargerPairs, psnr
from pictor.training.objectives import Batch, Figures
from pictor.training.planes import planes
from pictor.training.recipe import Strict, validated

_VALIDATION = 64
_ROUND = 1e-3
"""Below this difference the loss is a square, so that its slope does not jump."""


class Config(Strict):
    """Keys of the recipe's [objective] table."""

    size: int = Field(256, ge=32, le=512, multiple_of=8)
    """Side that pictures are drawn at, in pixels."""
    crop: int = Field(48, ge=8, le=256)
    """Side of the small crops."""
    crops: int = Field(8, ge=1, le=64)
    """Crops of each picture: drawing costs more than cutting."""
    channels: int = Field(48, ge=4, le=256)
    blocks: int = Field(4, ge=1, le=32)
    """Residual blocks of the network."""
    gradient: float = Field(0.5, ge=0)
    """Weight of the steps between neighbours."""
    mix: MixTable = Mix()
    font: Path | None = None

    @model_validator(mode="after")
    def _crops_fit(self) -> Config:
        if 2 * self.crop > self.size:
            raise ValueError(f"crop can be at most {self.size // 2}, half of the size")
        return self


def _charbonnier(difference: torch.Tensor) -> torch.Tensor:
    return (difference.square() + _ROUND**2).sqrt().mean()


class SuperResolutionObjective:
    """The residual over the bilinear enlargement, on crops of drawn pictures."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.pairs = EnlargerPairs(config.size, config.crop, config.crops, seed, config.font, config.mix)
        self.module = EnlargerNetwork(config.channels, config.blocks)

    def rate(self, name: str) -> float:
        return 1.0

    def drawer(self) -> Draw:
        return self.pairs

    def batch(self, first: int, count: int) -> Batch:
        return {name: torch.from_numpy(array) for name, array in self.pairs(first, count).items()}

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        small, large = (planes(batch[name]) for name in ("small", "large"))
        out = self.module(small)
        wrong = out - large
        steps = _charbonnier(wrong[..., 1:, :] - wrong[..., :-1, :]) + _charbonnier(
            wrong[..., 1:] - wrong[..., :-1]
        )
        figures = {"psnr": 10 * torch.log10(4 / wrong.detach().square().mean())}
        return _charbonnier(wrong) + self.config.gradient * steps / 2, figures

    def validate(self) -> dict[str, float]:
        """Mean PSNR on compositions that training never draws, beside bicubic enlargement's.

        At x2 and at x4 of pictures shrunk by the bicubic filter, and at x2 of worn ones.
        """
        figures: dict[str, float] = {}
        for name, scale, wear in (("x2", 2, False), ("x4", 4, False), ("x2_worn", 2, True)):
            scores = []
            for index in range(_VALIDATION):
                small, large = self.pairs.held_out(index, scale, wear=wear)
                bicubic = Image.fromarray(small).resize(large.shape[1::-1], Image.Resampling.BICUBIC)
                scores.append((psnr(self._enlarged(small, scale), large), psnr(np.asarray(bicubic), large)))
            ours, theirs = np.mean(scores, axis=0)
            figures |= {f"{name}_psnr": float(ours), f"{name}_bicubic_psnr": float(theirs)}
        return figures

    def _enlarged(self, pixels_HWC: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
        while scale > 1:
            place = next(self.module.parameters()).device
            image = planes(torch.tensor(pixels_HWC)[None].to(place))
            out = self.module(image)[0].float().clamp(-1, 1).permute(1, 2, 0)
            pixels_HWC = ((out + 1) * 127.5).round().to(torch.uint8).cpu().numpy()
            scale //= 2
        return pixels_HWC

    def save(self, folder: Path) -> None:
        """Write config.json, the weights in half precision, and the graph that reads them."""
        copy.deepcopy(self.module).half().save_pretrained(folder)
        export_part(folder, dataclasses.replace(ENLARGER, subfolder=""))


def build(table: dict[str, Any], seed: int) -> SuperResolutionObjective:
    return SuperResolutionObjective(validated(Config, table, "[objective]"), seed)
