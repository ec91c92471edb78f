"""Multistep consistency sampling, as latent consistency models use it (Luo et al. 2023, arXiv:2310.04378)."""

from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import chain, number

_SIGMA_DATA = 0.5


@register(
    "lcm", description="for consistency models, 1 to 8 steps: denoise, then noise anew", stochastic=True
)
def lcm(levels: Sequence[Level], *, timestep_scaling: float = 0.0) -> list[Step]:
    """x' = alpha' f + sigma' z (Song et al. 2023, arXiv:2303.01469, algorithm 1).

    f is D itself, or the consistency function c_skip x + c_out D of equation 5 with its boundary condition:
    c_skip = s^2/(t^2 + s^2), c_out = t/sqrt(t^2 + s^2), s = 0.5 and t the scaled time of the network.

    Args:
        levels: the grid.
        timestep_scaling: 0 for f = D; 10 is what the first latent consistency models were distilled with. It
            changes x by less than 1e-4 at any level that is sampled.
    """
    scaling = number("timestep_scaling", timestep_scaling, 0.0, 1e6)
    rows = []
    for now, then in pairwise(levels):
        c_skip, c_out = 0.0, 1.0
        if scaling:
            t = scaling * now.time
            c_skip = _SIGMA_DATA**2 / (t**2 + _SIGMA_DATA**2)
            c_out = t / (t**2 + _SIGMA_DATA**2) ** 0.5
        rows.append(Coefficients(x=then.alpha * c_skip, d0=then.alpha * c_out, z=then.sigma))
    return chain(levels, rows, keeps_history=False)
