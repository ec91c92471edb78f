"""A low-rank adapter: small matrices beside a frozen model's layers learn what its pictures shall be.

LoRA (Hu et al. 2021, arXiv:2106.09685). With `instance` and `prior` it is DreamBooth's way (Ruiz et al. 2023,
arXiv:2208.12242) of teaching one object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field
from torch import nn

from pictor.training.adapter_folder import write_adapter_folder
from pictor.training.low_rank import LowRankAdapter, Target
from pictor.training.recipe import validated
from pictor.training.teaching import Teaching, TeachingKeys

FILE = "pytorch_lora_weights.safetensors"
"""As diffusers names it."""


class Config(TeachingKeys):
    """Keys of the recipe's [objective] table."""

    rank: int = Field(8, ge=1, le=1024)
    """Of the matrices: numbers between a layer's input and what is added to its output."""
    alpha: float | None = Field(None, gt=0)
    """The change is scaled by alpha / rank; None for the rank, and so for 1."""
    targets: tuple[Target, ...] = Field(("attention",), min_length=1)
    """Which layers are changed, of "attention", "feed-forward" and "convolutions"."""
    text_rate: float = Field(0.0, ge=0)
    """Factor on the learning rate of the text encoders' adapters; 0 leaves the text encoders alone."""


class LoraObjective(Teaching):
    """An adapter of the UNet, and where wished of the text encoders."""

    module: LowRankAdapter

    def __init__(self, config: Config, seed: int) -> None:
        super().__init__(config, seed)
        self.config = config
        networks: dict[str, nn.Module] = {"unet": self.base.unet}
        if config.text_rate > 0:
            networks |= self.base.encoders
        self.module = LowRankAdapter(networks, config.targets, config.rank, config.alpha or config.rank)

    @property
    def learnt_texts(self) -> bool:
        return self.config.text_rate > 0

    def rate(self, name: str) -> float:
        return self.config.text_rate if name.startswith("changes.text_encoder") else 1.0

    def save(self, folder: Path) -> None:
        """Write diffusers' file of an adapter, and what makes a model folder of it."""
        self.module.save(folder / FILE)
        write_adapter_folder(
            folder, self.base.folder, loras={FILE: 1.0}, defaults=self.config.defaults, facts=self.facts
        )


def build(table: dict[str, Any], seed: int) -> LoraObjective:
    return LoraObjective(validated(Config, table, "[objective]"), seed)
