"""UniPC (Zhao et al. 2023, arXiv:2302.04867)."""

import math
from collections.abc import Sequence
from itertools import pairwise

from pictor.core.errors import InputError
from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import register
from pictor.sampling.updates import choice, exponential_mean, extrapolations, first_order, log_step


@register("unipc", description="predictor and corrector from one evaluation a step; good at 5 to 15 steps")
def unipc(levels: Sequence[Level], *, order: int = 2, variant: str = "bh2") -> list[Step]:
    """UniPC-p in data prediction (algorithms 5 and 6): the estimate at a level first corrects x there.

    x is corrected by the update from the level before, for the polynomial through the estimates at both its
    ends (and one more, at order 2); then the predictor goes on from there. base holds the corrected x of the
    level before. Steps from alpha = 0 are not corrected, and the step to sigma = 0 is of first order.

    Args:
        levels: the grid.
        order: of the predictor, 1 or 2; the corrector adds one.
        variant: B(h) of the rules with one free weight, which the paper fixes at 1/2: "bh1" is h, "bh2" is
            exp(h) - 1. The two differ in higher orders.
    """
    if isinstance(order, bool) or order not in (1, 2):
        raise InputError(f"order={order!r}", expected="1 or 2", param="order")
    choice("variant", variant, ("bh1", "bh2"))
    steps = [log_step(now, then) for now, then in pairwise(levels)]
    slopes = [
        w * (_free_weight(h, variant) if math.isfinite(h) else 1.0) if order == 2 else 0.0
        for h, w in zip(steps, extrapolations(levels), strict=True)
    ]
    program = []
    for i, slope in enumerate(slopes):
        corrected = Coefficients(x=1.0)
        if i >= 1 and math.isfinite(steps[i - 1]):
            before = steps[i - 2] if i >= 2 and order == 2 else math.inf
            corrected = _corrector(levels[i - 1], levels[i], steps[i - 1], before, variant)
        keep, gain = first_order(levels[i], levels[i + 1])
        predicted = Coefficients(
            x=keep * corrected.x,
            base=keep * corrected.base,
            d0=keep * corrected.d0 + gain * (1.0 + slope),
            d1=keep * corrected.d1 - gain * slope,
            d2=keep * corrected.d2,
        )
        program.append(Step(level=levels[i], x=predicted, then=levels[i + 1], base=corrected))
    return program


def _corrector(before: Level, now: Level, h: float, h_before: float, variant: str) -> Coefficients:
    """x at `now`, from base at `before` and the estimates at now (d0), before (d1) and before that (d2)."""
    keep, gain = first_order(before, now)
    if math.isfinite(h_before):
        end, start, past = exponential_mean(h, (h, 0.0, -h_before))
        return Coefficients(base=keep, d0=gain * end, d1=gain * start, d2=gain * past)
    end = 0.5 * _free_weight(h, variant)
    return Coefficients(base=keep, d0=gain * end, d1=gain * (1.0 - end))


def _free_weight(h: float, variant: str) -> float:
    """B(h) over the integral of the density: 1 for bh2."""
    return h / -math.expm1(-h) if variant == "bh1" else 1.0
