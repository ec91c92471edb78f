"""How alike pictures are, as tensors: PSNR and SSIM.

Legend of array shapes: B pictures, C channels, H, W rows and columns; all in [-1, 1].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


def psnr(a_BCHW: torch.Tensor, b_BCHW: torch.Tensor) -> torch.Tensor:
    """Peak signal to noise ratio of each picture in dB, [B]; 80 at most."""
    error = (a_BCHW - b_BCHW).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error.clamp_min(4e-8))


def ssim(a_BCHW: torch.Tensor, b_BCHW: torch.Tensor, window: int = 7, stride: int = 1) -> torch.Tensor:
    """Mean structural similarity with a box window (Wang et al. 2004, equation 13)."""

    def mean(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(x, window, stride)

    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    ma, mb = mean(a_BCHW), mean(b_BCHW)
    va, vb = mean(a_BCHW**2) - ma**2, mean(b_BCHW**2) - mb**2
    cov = mean(a_BCHW * b_BCHW) - ma * mb
    score = ((2 * ma * mb + c1) * (2 * cov + c2)) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return score.mean()
