"""Heun's method (Karras et al. 2022, arXiv:2206.00364, algorithm 1)."""

from collections.abc import Sequence
from itertools import pairwise

from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import choice, first_order


@register("heun", description="second order by two evaluations a step", evaluations_per_step=2)
def heun(levels: Sequence[Level], *, clock: str = "flow") -> list[Step]:
    """An Euler step, then the trapezoid of the slopes at both its ends.

    With u = x/n and c = sigma/n the slope is du/dc = (u - D)/c, for n = alpha + sigma ("flow": c is flow's
    sigma, from 1 to 0 on every path) as for n = alpha ("noise": c is k, the paper's). A step to sigma = 0 has
    no second slope, nor has one from alpha = 0 in the noise clock: these are Euler steps.

    Args:
        levels: the grid.
        clock: in which clock slopes are averaged. "flow" is stable however long the steps are; "noise" gives
            EDM's pictures, but a long step from large k multiplies what its two slopes differ by with k.
    """
    flow = choice("clock", clock, ("noise", "flow")) == "flow"
    program = []
    for now, then in pairwise(levels):
        keep, gain = first_order(now, then)
        predictor = Coefficients(x=keep, d0=gain)
        n, n_then = (level.alpha + (level.sigma if flow else 0.0) for level in (now, then))
        if then.sigma == 0.0 or n == 0.0:
            program.append(Step(level=now, x=predictor, then=then, keeps_history=False))
            continue
        half = n_then * (then.sigma / n_then - now.sigma / n) / 2.0
        # u' = u + (c' - c)/2 (slope + slope'): all but slope' is known now, and waits in base.
        kept = Coefficients(x=n_then / n + half / now.sigma, d0=-half * n / now.sigma)
        program.append(Step(level=now, x=predictor, then=then, base=kept, keeps_history=False))
        corrector = Coefficients(base=1.0, x=half / then.sigma, d0=-half * n_then / then.sigma)
        program.append(Step(level=then, x=corrector, then=then, keeps_history=False))
    return program
