"""DDPM's ancestral sampling (Ho et al. 2020, arXiv:2006.11239)."""

import math
from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import ancestral, chain, choice, ratio


@register(
    "ddpm", description="the posterior of the diffusion, step by step; wants many steps", stochastic=True
)
def ddpm(levels: Sequence[Level], *, variance: str = "small") -> list[Step]:
    """The posterior mean of equation 7, with one of the two variances of section 3.2.

    Args:
        levels: the grid.
        variance: "small" is the posterior's own, right for data that is one point; "large" is the forward
            process's, right for standard normal data.
    """
    choice("variance", variance, ("small", "large"))
    rows = []
    for now, then in pairwise(levels):
        x, d0, z = ancestral(now, then, 1.0)
        if variance == "large" and then.sigma > 0.0:
            z = now.sigma * math.sqrt(1.0 - ratio(now, then) ** 2)
        rows.append(Coefficients(x=x, d0=d0, z=z))
    return chain(levels, rows, keeps_history=False)
