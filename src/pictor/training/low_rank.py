"""Low-rank changes of a frozen network's layers: W + alpha / rank * up @ down.

LoRA (Hu et al. 2021, arXiv:2106.09685); of a convolution, `down` has its kernel and `up` is of one pixel.

Legend: O outputs, I inputs, R rank.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from pictor.families.parts.lora import METADATA

Target = Literal["attention", "feed-forward", "convolutions"]

_LAYERS: dict[str, re.Pattern[str]] = {
    "attention": re.compile(r"(^|\.)(to_[qkv]|to_out\.0|[qkv]_proj|out_proj)$"),
    "feed-forward": re.compile(r"(^|\.)(ff\.net\.0\.proj|ff\.net\.2|fc1|fc2)$"),
    "convolutions": re.compile(
        r"(^|\.)(conv1|conv2|conv_shortcut|proj_in|proj_out|(up|down)samplers\.0\.conv)$"
    ),
}
"""Which layers a target means, by the end of their names in a UNet or in CLIP."""


class LowRank(nn.Module):
    """The change of one layer; of nothing, before it learns."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, scale: float) -> None:
        super().__init__()
        self._scale = scale
        # Of a convolution: how its kernel moves, which `down` does in its place.
        self._moves: dict[str, Any] | None = None
        if isinstance(layer, nn.Conv2d):
            self._moves = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        outputs, inputs, *kernel = layer.weight.shape
        self.down = nn.Parameter(torch.empty(rank, inputs, *kernel))
        self.up = nn.Parameter(torch.zeros(outputs, rank, *(1 for _ in kernel)))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to the layer's output."""
        if self._moves is None:
            return self._scale * F.linear(F.linear(x, self.down), self.up)
        return self._scale * F.conv2d(F.conv2d(x, self.down, **self._moves), self.up)


class LowRankAdapter(nn.Module):
    """Changes of the layers of some networks, which work as long as this lives.

    Args:
        networks: by the name of their part; they stay as they are, and hold nothing of this.
        targets: which of their layers.
        rank: R.
        alpha: the change is scaled by alpha / rank.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], targets: Iterable[Target], rank: int, alpha: float
    ) -> None:
        super().__init__()
        self.rank, self.alpha = rank, alpha
        patterns = [_LAYERS[target] for target in targets]
        self.changes = nn.ModuleDict()
        self._made: dict[tuple[str, str], LowRank] = {}
        for part, network in networks.items():
            for name, layer in network.named_modules():
                fits = isinstance(layer, nn.Linear | nn.Conv2d) and any(p.search(name) for p in patterns)
                if fits:
                    change = LowRank(layer, rank, alpha / rank)
                    layer.register_forward_hook(_adding(change))
                    self.changes[f"{part}/{name}".replace(".", "/")] = change
                    self._made[part, name] = change

    def save(self, file: Path) -> None:
        """Write diffusers' format: names as PEFT has them, and alpha in the metadata."""
        tensors: dict[str, torch.Tensor] = {}
        told: dict[str, Any] = {}
        for (part, name), change in self._made.items():
            stem = f"{part}.{name}"
            for end, matrix in (("lora_A", change.down), ("lora_B", change.up)):
                tensors[f"{stem}.{end}.weight"] = matrix.detach().half().cpu().contiguous()
            told |= {f"{part}.r": self.rank, f"{part}.lora_alpha": self.alpha}
            told.setdefault(f"{part}.target_modules", []).append(name)
        save_file(tensors, file, metadata={"format": "pt", METADATA: json.dumps(told, sort_keys=True)})


def _adding(change: LowRank) -> Any:
    """A hook that adds the change to its layer's output."""

    def add(_layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = output + change(inputs[0])
        return changed

    return add
