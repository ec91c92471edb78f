"""Attention for training: the fused kernel on a GPU, plain products on a CPU.

The fused kernel's backward pass on a CPU takes several times as long as the three matrix products that it
saves memory on, most of all in bfloat16. What is learnt is the same.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0


class TrainingAttention:
    """An attention processor that chooses by where the numbers are."""

    def __init__(self) -> None:
        self._plain, self._fused = AttnProcessor(), AttnProcessor2_0()

    def __call__(
        self, attn: Attention, hidden_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        chosen = self._fused if hidden_states.device.type == "cuda" else self._plain
        out: torch.Tensor = chosen(attn, hidden_states, *args, **kwargs)
        return out


Unet = TypeVar("Unet", UNet2DConditionModel, UNet2DModel)


def ready_to_train(unet: Unet) -> Unet:
    """The same network with `TrainingAttention`, which no file of it will show."""
    processor = TrainingAttention()
    for layer in unet.modules():
        if isinstance(layer, Attention):
            layer.set_processor(processor)
    return unet
