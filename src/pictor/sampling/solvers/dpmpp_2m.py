"""DPM-Solver++ 2M (Lu et al. 2022, arXiv:2211.01095, algorithm 2)."""

from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import chain, extrapolations, first_order


@register("dpmpp_2m", description="second order, one evaluation a step; the usual choice for 15 to 30 steps")
def dpmpp_2m(levels: Sequence[Level]) -> list[Step]:
    """The first order update of D* = (1 + w) D - w D_prev, w = h / (2 h_prev)."""
    rows = []
    for (now, then), w in zip(pairwise(levels), extrapolations(levels), strict=True):
        keep, gain = first_order(now, then)
        rows.append(Coefficients(x=keep, d0=gain * (1.0 + w), d1=-gain * w))
    return chain(levels, rows)
