"""DPM-Solver++ 3M (Lu et al. 2022, arXiv:2211.01095; the third order multistep rule of their code)."""

import math
from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import (
    chain,
    exponential_mean,
    exponential_moments,
    extrapolations,
    first_order,
    flag,
    log_step,
)


@register("dpmpp_3m", description="third order, one evaluation a step; for smooth models and many steps")
def dpmpp_3m(levels: Sequence[Level], *, as_published: bool = False) -> list[Step]:
    """The exact update for the parabola through the last three estimates; 2M while there are fewer.

    The authors' code, and all that follow it, count the second difference half, which leaves a rule of second
    order. Here it counts in full. The first two steps are of lower order, so the whole is of third order only
    where they cost little: at much noise, where pictures start.

    Args:
        levels: the grid.
        as_published: True gives the halved rule, to make the pictures of other tools again.
    """
    halved = flag("as_published", as_published)
    steps = [log_step(now, then) for now, then in pairwise(levels)]
    rows = []
    for i, ((now, then), w) in enumerate(zip(pairwise(levels), extrapolations(levels), strict=True)):
        keep, gain = first_order(now, then)
        mean = [1.0 + w, -w, 0.0]
        if i >= 2 and all(math.isfinite(h) for h in steps[i - 2 : i + 1]):
            nodes = (0.0, -steps[i - 1], -steps[i - 1] - steps[i - 2])
            mean = exponential_mean(steps[i], nodes)
            if halved:
                half = exponential_moments(steps[i])[1] / 2.0
                mean = [weight - half * part for weight, part in zip(mean, _difference(nodes), strict=True)]
        rows.append(Coefficients(x=keep, d0=gain * mean[0], d1=gain * mean[1], d2=gain * mean[2]))
    return chain(levels, rows)


def _difference(nodes: tuple[float, float, float]) -> list[float]:
    """Weights of the second divided difference of values at three nodes."""
    return [1.0 / math.prod(node - other for other in nodes if other != node) for node in nodes]
