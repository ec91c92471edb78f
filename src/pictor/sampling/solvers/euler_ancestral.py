"""Euler with ancestral noise, as the field's user interfaces call it."""

from collections.abc import Sequence

from pictor.core.levels import Level
from pictor.sampling.program import Step
from pictor.sampling.registry import register
from pictor.sampling.solvers.ddim import ddim


@register("euler_ancestral", description="first order with fresh noise in every step", stochastic=True)
def euler_ancestral(levels: Sequence[Level], *, eta: float = 1.0) -> list[Step]:
    """An Euler step to k_down and noise back up to k': the same update as DDIM, in other words.

    Args:
        levels: the grid.
        eta: how much of the noise is fresh, from 0 to 1.
    """
    return ddim(levels, eta=eta)
