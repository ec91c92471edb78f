"""DDIM (Song et al. 2020, arXiv:2010.02502)."""

from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import ancestral, chain, number


@register("ddim", description="first order; eta mixes fresh noise in, from 0 (none) to 1 (as DDPM)")
def ddim(levels: Sequence[Level], *, eta: float = 0.0) -> list[Step]:
    """Equation 12 with the sigma of equation 16, on any path.

    Args:
        levels: the grid.
        eta: 0 is deterministic, 1 is DDPM.
    """
    eta = number("eta", eta, 0.0, 1.0)
    rows = []
    for now, then in pairwise(levels):
        x, d0, z = ancestral(now, then, eta)
        rows.append(Coefficients(x=x, d0=d0, z=z))
    return chain(levels, rows, keeps_history=False)
