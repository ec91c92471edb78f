"""Euler's method."""

from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import chain, first_order


@register(
    "euler", description="first order, the exact step for a constant estimate; the plain choice for flow"
)
def euler(levels: Sequence[Level]) -> list[Step]:
    """One exact first order update per step: DDIM at eta 0, DPM-Solver++ 1 and Euler on a flow are this."""
    rows = []
    for now, then in pairwise(levels):
        keep, gain = first_order(now, then)
        rows.append(Coefficients(x=keep, d0=gain))
    return chain(levels, rows, keeps_history=False)
