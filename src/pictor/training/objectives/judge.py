"""Judge: tells what a real render shows, seen in many ways.

It learns from renders alone, never from a model's pictures, on a book of its own and on views that no model
is trained on: cropped, shrunk by several filters, softened, lit a little differently, spotted, compressed. So
it bears pictures that are less sharp than what it learnt from, while no view changes what a picture shows: a
view is never mirrored, and never tinted. Held-out compositions are among its pictures, since it must know
what models are not told.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field

from pictor.training.drawing import Draw
from pictor.training.judge_network import JudgeNetwork, save_judge
from pictor.training.judge_views import CLASSES, NO_LABEL, JudgeViews
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.planes import planes
from pictor.training.recipe import Strict, validated

_VALIDATION = 1024
_VALIDATION_START = 3_000_000_000
"""Number of the first picture that is kept for validation, beyond the length of any run."""


class Config(Strict):
    """Keys of the recipe's [objective] table."""

    size: int = Field(64, ge=16, le=256, multiple_of=8)
    """Side of what the network looks at, in pixels."""
    drawn: tuple[int, ...] = (128, 64)
    """Sides that pictures are drawn at, in turn."""
    views: int = Field(2, ge=1, le=16)
    """Views of each picture: drawing costs more than looking."""
    stages: tuple[tuple[int, int, int], ...] = (
        (32, 2, 0),
        (64, 2, 1),
        (128, 2, 1),
        (192, 2, 1),
        (256, 1, 0),
    )
    """Channels, stride and residual blocks."""
    font: Path | None = None


class JudgeObjective:
    """Every attribute of the scene's record, by cross-entropy."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.views = JudgeViews(config.size, config.drawn, config.views, seed, config.font)
        classes = {name: len(names) for name, names in CLASSES.items()}
        self.module = JudgeNetwork(classes, config.size, config.stages)

    def rate(self, name: str) -> float:
        return 1.0

    def drawer(self) -> Draw:
        return self.views

    def batch(self, first: int, count: int) -> Batch:
        return _tensors(self.views(first, count))

    def _told(self, image_BHWC: torch.Tensor) -> dict[str, torch.Tensor]:
        # A view of bytes that lie channel by channel in each pixel is what convolutions on CPUs like best.
        told: dict[str, torch.Tensor] = self.module(planes(image_BHWC))
        return told

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        told = self._told(batch["image"])
        # A mean over those that have a second object is no number where none has.
        parts = [
            F.cross_entropy(told[name].float(), labelled, reduction="sum", ignore_index=NO_LABEL)
            / (labelled != NO_LABEL).sum().clamp_min(1)
            for name, labelled in batch.items()
            if name != "image"
        ]
        right = (told["thing1"].argmax(1) == batch["thing1"]).float().mean()
        return torch.stack(parts).sum(), {"thing_accuracy": right.detach()}

    def validate(self) -> dict[str, float]:
        """Share of attributes told right on plain views, of compositions seen by models and held out."""
        figures: dict[str, float] = {}
        numbers = range(_VALIDATION_START, _VALIDATION_START + _VALIDATION)
        for mark, held_out in (("seen", False), ("held_out", True)):
            arrays, scenes = self.views.plain(numbers, held_out)
            batch = beside(_tensors(arrays), self.module)
            chunks = [self._told(part) for part in torch.split(batch.pop("image"), 128)]
            alone = torch.tensor([scene.relation is None and scene.count == 1 for scene in scenes])
            for name, labelled in batch.items():
                right = torch.cat([chunk[name] for chunk in chunks]).argmax(1) == labelled
                told = {name: right[labelled != NO_LABEL]}
                if name == "thing1":
                    told["thing_alone"] = right[alone.to(right.device)]
                figures |= {
                    f"{mark}_{key}": float(one.float().mean()) for key, one in told.items() if len(one)
                }
        return figures

    def save(self, folder: Path) -> None:
        config = {
            "kind": "pictor judge",
            "size": self.config.size,
            "stages": [list(stage) for stage in self.config.stages],
            "classes": CLASSES,
            "seed": self.seed,
            "corpus": [book.identity for book in self.views.books],
        }
        save_judge(self.module, config, folder)


def _tensors(arrays: dict[str, NDArray[np.generic]]) -> Batch:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def build(table: dict[str, Any], seed: int) -> JudgeObjective:
    return JudgeObjective(validated(Config, table, "[objective]"), seed)
