"""A network that sees squares of pixels as the channels of one place (Shi et al. 2016, arXiv:1609.05158).

Legend of array shapes: B pictures, H, W rows and columns.
"""

from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F


def by_squares(
    network: Any, x_B6HW: torch.Tensor, time_B: torch.Tensor, told_B: torch.Tensor
) -> torch.Tensor:
    """What a cascade's second network answers, [B, 3, H, W], to six planes of pixels and two times.

    Its `in_channels` are six times the pixels of a square, of which the sides are multiples.
    """
    patch = isqrt(network.config.in_channels // 6)
    places = F.pixel_unshuffle(x_B6HW, patch)
    return F.pixel_shuffle(network(places, time_B, class_labels=told_B).sample.float(), patch)
