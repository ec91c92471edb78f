"""Pictures of bytes as what networks learn from."""

from __future__ import annotations

import torch


def planes(pixels_BHWC: torch.Tensor) -> torch.Tensor:
    """Pictures [B, C, H, W] in [-1, 1] of bytes.

    It is a view of what lies channel by channel in each pixel, as convolutions on CPUs like it best.
    """
    return pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1
