"""The updates that solvers are made of, in (alpha, sigma) coordinates.

Every solver moves x by x' = keep x + gain D, with D some mean of denoised estimates whose weights sum to 1.
All forms are finite at alpha = 0 (the start of a zero terminal SNR path, or of a flow) and at sigma = 0.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

from pictor.core.errors import InputError
from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step


def first_order(now: Level, then: Level) -> tuple[float, float]:
    """(keep, gain) of the exact solution for a constant D.

    x' = (sigma'/sigma) x + (alpha' - alpha sigma'/sigma) D: DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095,
    eq. 8), written without exp(-h), which has no value at alpha = 0.
    """
    keep = then.sigma / now.sigma
    return keep, then.alpha - now.alpha * keep


def ratio(now: Level, then: Level) -> float:
    """rho = k'/k, from 0 (start at pure noise, or end at a clean picture) to below 1."""
    return (then.sigma * now.alpha) / (then.alpha * now.sigma)


def log_step(now: Level, then: Level) -> float:
    """h = ln(k/k'), the step in half log-SNR; infinite where either end is."""
    rho = ratio(now, then)
    return -math.log(rho) if rho > 0.0 else math.inf


def ancestral(now: Level, then: Level, eta: float) -> tuple[float, float, float]:
    """Weights of (x, D, z) of the stochastic step: alpha' D + sigma' (sqrt(1 - q^2) eps + q z).

    q = eta sqrt(1 - (k'/k)^2); DDIM (Song et al. 2020, arXiv:2010.02502, eq. 12 and 16). eta = 0 is the exact
    first order step, eta = 1 the posterior of DDPM.
    """
    q = eta * math.sqrt(max(0.0, 1.0 - ratio(now, then) ** 2))
    direction = then.sigma * math.sqrt(1.0 - q * q) / now.sigma
    return direction, then.alpha - direction * now.alpha, then.sigma * q


def extrapolations(levels: Sequence[Level]) -> list[float]:
    """w of each step's D* = (1 + w) D - w D_prev, w = h / (2 h_prev) (arXiv:2211.01095, algorithm 2).

    0 in the first step, and where a step is infinite: from alpha = 0 there is no slope in log-SNR to follow,
    and towards sigma = 0 following it would lead to infinity.
    """
    steps = [log_step(now, then) for now, then in pairwise(levels)]
    return [0.0, *(h / (2.0 * before) if math.isfinite(h) else 0.0 for before, h in pairwise(steps))]


def exponential_moments(h: float) -> tuple[float, float]:
    """The means of s and s^2 over a step, see `exponential_mean`; h is finite and above 0."""
    return _moment(1, h) / _moment(0, h), _moment(2, h) / _moment(0, h)


def exponential_mean(h: float, nodes: Sequence[float]) -> list[float]:
    """Weights, summing to 1, of the mean of D that is exact for polynomials through the nodes.

    The exact solution of a step averages D(s) over s in [0, h] with density exp(s - h) / (1 - exp(-h))
    (arXiv:2211.01095, eq. 8). Replacing D by the polynomial through values at `nodes` (in s: 0 is the start
    of the step, h its end, history is negative) gives an exponential Adams rule of order len(nodes).

    Args:
        h: length of the step in half log-SNR, finite and above 0.
        nodes: one to three distinct numbers.
    """
    first, second = exponential_moments(h)
    weights = []
    for node in nodes:
        others = [other for other in nodes if other != node]
        scale = math.prod(node - other for other in others)
        # prod(s - other), written out in powers of s, then averaged.
        if len(others) == 2:
            mean = second - (others[0] + others[1]) * first + others[0] * others[1]
        elif len(others) == 1:
            mean = first - others[0]
        else:
            mean = 1.0
        weights.append(mean / scale)
    return weights


def _moment(n: int, h: float) -> float:
    """The integral of exp(s - h) s^n over [0, h]."""
    if h < 1.0:  # the closed forms below cancel
        term, total = h ** (n + 1) / (n + 1), 0.0
        for j in range(n + 2, n + 24):
            total += term
            term *= -h / j
        return total
    zeroth = -math.expm1(-h)
    if n == 0:
        return zeroth
    return h**n - n * _moment(n - 1, h)


def chain(levels: Sequence[Level], rows: Sequence[Coefficients], *, keeps_history: bool = True) -> list[Step]:
    """The program with one evaluation at each level but the last."""
    return [
        Step(level=now, x=row, then=then, keeps_history=keeps_history)
        for (now, then), row in zip(pairwise(levels), rows, strict=True)
    ]


def number(option: str, value: object, low: float, high: float) -> float:
    """The value of an option, a finite number from low to high.

    Raises:
        InputError: otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{option}={value!r}", expected=f"a number from {low:g} to {high:g}", param=option)
    return float(value)


def flag(option: str, value: object) -> bool:
    """The value of an option, True or False.

    Raises:
        InputError: otherwise.
    """
    if not isinstance(value, bool):
        raise InputError(f"{option}={value!r}", expected="True or False", param=option)
    return value


def choice(option: str, value: object, choices: Sequence[str]) -> str:
    """The value of an option, one of some names.

    Raises:
        InputError: otherwise.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{option}={value!r}", expected=f"one of {', '.join(choices)}", param=option)
    return value
