"""Spacings: which levels of a path a picture passes on its way.

Each gives num_steps + 1 levels, the path's noisiest first and CLEAN last. All are exact: levels lie between
training timesteps where the rule says so, for rounding a time to an integer tells the network a noise that is
not there.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Literal

import numpy as np

from pictor.core.errors import InputError, PlanError
from pictor.core.levels import CLEAN, Level, Path, VEPath, VPPath

Spacing = Callable[..., list[Level]]
"""spacing(path, num_steps, **options) -> levels."""


def uniform(path: Path, num_steps: int) -> list[Level]:
    """Even in the path's clock, from end to end ("linspace").

    Where the clock's end is clean itself (flow) it is the last level; else (VP, VE) it is the last but one.
    """
    _check(num_steps)
    if path.at(path.t_min).sigma == 0.0:
        return _levels(path, _line(path.t_max, path.t_min, num_steps + 1)[:-1])
    return _levels(path, _line(path.t_max, path.t_min, num_steps))


def trailing(path: Path, num_steps: int) -> list[Level]:
    """Even from the noisiest level on, a full step before the clean end (Lin et al. 2023, table 2)."""
    _check(num_steps)
    # A VP path's clock counts from 0, so that its clean end would be at -1.
    end = -1.0 if isinstance(path, VPPath) else path.t_min
    if isinstance(path, VPPath) and num_steps > path.t_max + 1:
        raise PlanError(
            f"{num_steps} trailing steps on a path of {path.t_max + 1:g} timesteps",
            expected=f"at most {path.t_max + 1:g} steps",
            remedy="Use the uniform spacing.",
            param="num_steps",
        )
    return _levels(path, _line(path.t_max, end, num_steps + 1)[:-1])


def leading(path: Path, num_steps: int, *, offset: int = 1) -> list[Level]:
    """Multiples of a whole stride, shifted by an offset: what early Stable Diffusion was sampled with.

    It does not start at the noisiest level, which is a flaw (Lin et al. 2023, arXiv:2305.08891, section 3.3).
    """
    _check(num_steps)
    if not isinstance(path, VPPath):
        raise PlanError(
            "leading spacing on a path without timesteps",
            expected="a VP path",
            remedy="Use the uniform or trailing spacing.",
            param="spacing",
        )
    stride = int(path.t_max + 1) // num_steps
    return _levels(path, [float(i * stride + offset) for i in reversed(range(num_steps))])


def karras(path: Path, num_steps: int, *, rho: float = 7.0) -> list[Level]:
    """Even in noise^(1/rho) (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""

    def law(high: float, low: float, part: float) -> float:
        root: float = high ** (1 / rho) + part * (low ** (1 / rho) - high ** (1 / rho))
        return float(root**rho)

    return _ramp(path, num_steps, law)


def exponential(path: Path, num_steps: int) -> list[Level]:
    """Even in the logarithm of noise."""
    return _ramp(
        path, num_steps, lambda high, low, part: math.exp(math.log(high) + part * math.log(low / high))
    )


def beta(
    path: Path,
    num_steps: int,
    *,
    a: float = 0.6,
    b: float = 0.6,
    over: Literal["clock", "noise"] = "clock",
) -> list[Level]:
    """Quantiles of a beta distribution: dense at both ends (Lee et al. 2024, arXiv:2407.12173).

    Args:
        path: the way.
        num_steps: at least 1.
        a, b: shape of the distribution, above 0.
        over: "clock" takes quantiles of the path's time, as the paper does; "noise" takes them between its
            largest and smallest noise, as diffusers does.
    """
    if over == "noise":
        return _ramp(
            path, num_steps, lambda high, low, part: low + (high - low) * beta_quantile(1 - part, a, b)
        )
    if over != "clock":
        raise InputError(f"beta spacing over {over!r}", expected="clock or noise", param="over")
    _check(num_steps)
    span = path.t_max - path.t_min
    parts = [beta_quantile(1.0 - i / num_steps, a, b) for i in range(num_steps)]
    return _levels(path, [path.t_min + span * part for part in parts])


ALIGN_YOUR_STEPS = MappingProxyType(
    {
        "sd15": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
        "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
        "svd": (700.00, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
    }
)
"""Optimised noise ratios for ten steps (Sabour et al. 2024, arXiv:2404.14507)."""


def align_your_steps(path: Path, num_steps: int, *, table: str | None = None) -> list[Level]:
    """Optimised levels, interpolated in ln k to any number of steps (arXiv:2404.14507).

    The first level is always the path's noisiest, for only there is starting noise right. A path with less
    noise than the table is given the part of the table that it has.

    Args:
        path: the way.
        num_steps: at least 1.
        table: a name in ALIGN_YOUR_STEPS; None takes "svd" on VE paths and "sd15" on others.
    """
    _check(num_steps)
    name = table or ("svd" if isinstance(path, VEPath) else "sd15")
    if name not in ALIGN_YOUR_STEPS:
        raise InputError(f"table {name!r}", expected=f"one of {', '.join(ALIGN_YOUR_STEPS)}", param="table")
    ratios = _align(ALIGN_YOUR_STEPS[name], num_steps, path.at(path.t_max).k, path.at(path.t_min).k)
    return _levels(path, [path.t_max, *(path.t_of_k(k) for k in ratios)])


def _align(table: Sequence[float], num_steps: int, k_max: float, k_min: float) -> list[float]:
    """The ratios between the first level and the clean one, from the part of the table inside of the path."""
    logs = [-math.log(k) for k in table]
    places = list(range(len(table)))
    first, last = 0.0, len(table) - 1.0
    # The tables are rounded: an end within a percent of the path's is the path's.
    if k_max < 0.99 * table[0]:
        first = float(np.interp(-math.log(k_max), logs, places))
    if k_min > 1.01 * table[-1]:
        last = float(np.interp(-math.log(k_min), logs, places))
    inner = _line(first, last, num_steps + 1)[1:-1]
    return [math.exp(-float(np.interp(place, places, logs))) for place in inner]


SPACINGS: MappingProxyType[str, Spacing] = MappingProxyType(
    {
        "uniform": uniform,
        "trailing": trailing,
        "leading": leading,
        "karras": karras,
        "exponential": exponential,
        "beta": beta,
        "align_your_steps": align_your_steps,
    }
)
"""All spacings by name."""


def spacing(name: str) -> Spacing:
    """The spacing of this name.

    Raises:
        InputError: when there is none; lists the names.
    """
    if name not in SPACINGS:
        raise InputError(f"spacing {name!r}", expected=f"one of {', '.join(SPACINGS)}", param="spacing")
    return SPACINGS[name]


def beta_quantile(p: float, a: float, b: float) -> float:
    """The x in [0, 1] below which a share p of the beta distribution lies, by bisection."""
    if not (0 <= p <= 1 and a > 0 and b > 0):
        raise InputError(f"beta quantile {p} of a={a}, b={b}", expected="0 <= p <= 1, a > 0 and b > 0")
    if p in (0.0, 1.0):
        return p
    low, high = 0.0, 1.0
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (middle, high) if _beta_share(middle, a, b) < p else (low, middle)
    return (low + high) / 2


def _beta_share(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its power series."""
    if x > 0.5:
        return 1.0 - _beta_share(1.0 - x, b, a)  # where the series converges fast
    factor, total = 1.0, 0.0
    for n in range(64):
        total += factor / (a + n)
        factor *= (n + 1 - b) * x / (n + 1)
    return float(x**a * total * math.gamma(a + b) / (math.gamma(a) * math.gamma(b)))


def _ramp(path: Path, num_steps: int, law: Callable[[float, float, float], float]) -> list[Level]:
    """Levels whose noise follows law(high, low, part), with part from 0 to 1.

    Noise is k = sigma/alpha on VP and VE paths, from end to end. Flow paths reach k = infinity and 0, so
    noise is sigma/(alpha + sigma) there, which is flow's own sigma, down to the last step of a uniform
    spacing. With zero terminal SNR the first level is the path's end, and the law counts from just below it.
    """
    _check(num_steps)
    span = path.t_max - path.t_min
    high, low = path.at(path.t_max), path.at(path.t_min)
    if low.sigma == 0.0:
        top = high.sigma / (high.alpha + high.sigma)
        last = path.at(path.t_min + span / num_steps)
        bottom = last.sigma / (last.alpha + last.sigma)
        shares = [law(top, bottom, part) for part in _line(0.0, 1.0, num_steps)]
        times = [path.t_of_k(share / (1.0 - share)) for share in shares[1:]]
    else:
        finite = high if high.alpha > 0.0 else path.at(path.t_max - span / 1000)
        times = [path.t_of_k(law(finite.k, low.k, part)) for part in _line(0.0, 1.0, num_steps)[1:]]
    return _levels(path, [path.t_max, *times])


def _line(first: float, last: float, count: int) -> list[float]:
    """count even numbers from first to last, both exact; just the first for one."""
    if count <= 1:
        return [first][:count]
    inner = [first + (last - first) * (i / (count - 1)) for i in range(count - 1)]
    return [*inner, last]


def _levels(path: Path, times: Sequence[float]) -> list[Level]:
    levels = [*(path.at(t) for t in times), CLEAN]
    if not all(then.k < now.k for now, then in pairwise(levels)):
        raise PlanError(
            f"{len(times)} steps of this spacing do not fit on the path: noise would not fall at every step",
            expected="fewer steps, or a path with a wider range of noise",
            remedy="Use fewer steps or the uniform spacing.",
            param="num_steps",
        )
    return levels


def _check(num_steps: int) -> None:
    if isinstance(num_steps, bool) or not isinstance(num_steps, int) or num_steps < 1:
        raise InputError(f"num_steps {num_steps!r}", expected="an integer of at least 1", param="num_steps")
