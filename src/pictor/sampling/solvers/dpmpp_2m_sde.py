"""SDE-DPM-Solver++ 2M (Lu et al. 2022, arXiv:2211.01095, section 5 and appendix)."""

import math
from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import chain, extrapolations, number, ratio


@register("dpmpp_2m_sde", description="2M with fresh noise; often the most detailed", stochastic=True)
def dpmpp_2m_sde(levels: Sequence[Level], *, eta: float = 1.0) -> list[Step]:
    """x' = (sigma'/sigma) rho^eta x + alpha' (1 - rho^(1 + eta)) D* + sigma' sqrt(1 - rho^(2 eta)) z.

    rho = k'/k = exp(-h), and D* is 2M's.

    Args:
        levels: the grid.
        eta: how much noise is exchanged, from 0 (2M itself) to 1 (the paper's).
    """
    eta = number("eta", eta, 0.0, 1.0)
    rows = []
    for (now, then), w in zip(pairwise(levels), extrapolations(levels), strict=True):
        rho = ratio(now, then)
        keep = (then.sigma / now.sigma) * rho**eta
        gain = then.alpha - keep * now.alpha
        z = then.sigma * math.sqrt(1.0 - rho ** (2.0 * eta))
        rows.append(Coefficients(x=keep, d0=gain * (1.0 + w), d1=-gain * w, z=z))
    return chain(levels, rows)
