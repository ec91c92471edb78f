"""All of a trained model goes on learning: its UNet, and where wished its text encoders.

It learns to answer what it answered before, eps, v or the straight path's flow, on its own noise levels. With
`instance` and `prior` it is DreamBooth (Ruiz et al. 2023, arXiv:2208.12242).
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import nn

from pictor.backends.export import export_folder
from pictor.backends.torch import quiet
from pictor.families.parts.files import read_json
from pictor.training.recipe import validated
from pictor.training.teaching import Teaching, TeachingKeys

_FEW = 8
"""Steps of a base that was distilled, at most."""
_UNDISTILLED = {"num_steps": 20, "guidance_scale": 3.0, "solver": "dpmpp_2m"}
_KEPT = ("model_index.json", "scheduler", "tokenizer", "tokenizer_2", "vae", "text_encoder", "text_encoder_2")
"""What a folder of the base's shape holds besides the UNet; what changed is written over it."""


class Config(TeachingKeys):
    """Keys of the recipe's [objective] table."""

    text_rate: float = Field(0.0, ge=0)
    """Factor on the text encoders' learning rate; 0 freezes them."""
    keeps_few_steps: bool = False
    """Whether a base that was distilled to few unguided steps, and learns at all levels here, is trusted to
    paint in them still, as after some thousand samples; else what is saved is guided, in 20 steps."""


class FineTuningObjective(Teaching):
    """The base's own networks."""

    module: nn.ModuleDict

    def __init__(self, config: Config, seed: int) -> None:
        super().__init__(config, seed)
        self.config = config
        networks: dict[str, nn.Module] = {"unet": self.base.unet}
        if config.text_rate > 0:
            networks |= self.base.encoders
        self.module = nn.ModuleDict(networks).requires_grad_(True)

    @property
    def learnt_texts(self) -> bool:
        return self.config.text_rate > 0

    def rate(self, name: str) -> float:
        return self.config.text_rate if name.startswith("text_encoder") else 1.0

    def save(self, folder: Path) -> None:
        self._write(folder, graphs=(self.base.folder / "unet" / "model.onnx").is_file())

    def save_draft(self, folder: Path) -> None:
        self._write(folder, graphs=False)

    def _write(self, folder: Path, *, graphs: bool) -> None:
        """The base's folder with what learnt in its place, as fp16, and its graphs if so wished."""
        base = self.base.folder
        for name in _KEPT:
            if (base / name).is_dir():
                skipped = shutil.ignore_patterns("*.onnx", "*.bin", *(["*"] if name in self.module else []))
                shutil.copytree(base / name, folder / name, ignore=skipped, dirs_exist_ok=True)
            elif (base / name).is_file():
                shutil.copy(base / name, folder)
        for name, network in self.module.items():
            halved: Any = copy.deepcopy(network).to(torch.float16)
            with quiet():
                halved.save_pretrained(folder / name, safe_serialization=True)
        sheet = dict(read_json(base / "pictor.json")) if (base / "pictor.json").is_file() else {}
        defaults = dict(sheet.get("defaults", {}))
        distilled = defaults.get("guidance_scale") == 1.0 and defaults.get("num_steps", _FEW + 1) <= _FEW
        if distilled and not self.config.keeps_few_steps:
            defaults |= _UNDISTILLED
        defaults |= self.config.defaults
        sheet |= {**self.facts, "defaults": defaults}
        (folder / "pictor.json").write_text(json.dumps(sheet, indent=1, ensure_ascii=False) + "\n", "utf-8")
        if graphs:
            export_folder(folder)


def build(table: dict[str, Any], seed: int) -> FineTuningObjective:
    return FineTuningObjective(validated(Config, table, "[objective]"), seed)
