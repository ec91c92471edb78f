"""Noise levels, and the paths that lead through them from pure noise to a clean picture.

A picture's latents at a level are x = alpha * x0 + sigma * eps, with x0 the clean latents and eps standard
normal noise. `k = sigma / alpha` is the noise ratio: EDM's sigma, and the one number on which paths agree.
All numbers are Python floats (float64): a network's time that is rounded on its way gives another picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from operator import mul
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError, PlanError


@dataclass(frozen=True, slots=True)
class Level:
    """Where x stands: x = alpha * x0 + sigma * eps.

    Raises:
        PlanError: when alpha or sigma is negative or not finite, or both are 0.
    """

    alpha: float
    sigma: float
    time: float
    """What the network is told, in its own units (0 to 999, 1000 t, ln(sigma)/4)."""

    def __post_init__(self) -> None:
        if not (0 <= self.alpha < math.inf and 0 <= self.sigma < math.inf and self.alpha + self.sigma > 0):
            raise PlanError(
                f"a noise level with alpha={self.alpha} and sigma={self.sigma}",
                expected="finite numbers of at least 0, not both 0",
            )

    @property
    def k(self) -> float:
        """The noise ratio sigma/alpha: 0 when clean, infinite for pure noise."""
        return self.sigma / self.alpha if self.alpha else math.inf

    @property
    def log_snr(self) -> float:
        """2 ln(alpha/sigma): infinite when clean, minus infinity for pure noise."""
        if not self.sigma:
            return math.inf
        return 2 * (math.log(self.alpha) - math.log(self.sigma)) if self.alpha else -math.inf


CLEAN = Level(1.0, 0.0, 0.0)
"""The end of every path. No network is evaluated here."""


@runtime_checkable
class Path(Protocol):
    """A way from noise (t_max) to a clean picture (t_min), by a clock of its own."""

    @property
    def t_min(self) -> float: ...
    @property
    def t_max(self) -> float: ...
    def at(self, t: float) -> Level:
        """The level at time t of the path's clock; PlanError outside of [t_min, t_max]."""
        ...

    def t_of_k(self, k: float) -> float:
        """The time whose noise ratio sigma/alpha is nearest to k (the path's ends bound it)."""
        ...


@dataclass(frozen=True)
class VPPath:
    """Variance preserving: alpha^2 + sigma^2 = 1 (Ho et al. 2020, arXiv:2006.11239, eq. 4).

    The clock is the training timestep, continuous in [0, n - 1]; the network is told t itself. Levels are
    exact at integers. Between them ln k is linear in t, which keeps k monotone and matches how the field
    inverts sigma to t.

    Args:
        alphas_cumprod: alpha^2 of each training timestep, strictly decreasing inside [0, 1); the last may be
            exactly 0 (zero terminal SNR).
    """

    alphas_cumprod: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "alphas_cumprod", tuple(float(a) for a in self.alphas_cumprod))
        steps = self.alphas_cumprod
        falling = all(a > b for a, b in pairwise(steps))
        if len(steps) < 2 or not falling or not 0 <= steps[-1] < steps[0] < 1:
            raise PlanError(
                f"alphas_cumprod of {len(steps)} values is no path",
                expected="at least 2 values, strictly decreasing inside [0, 1)",
            )

    @property
    def t_min(self) -> float:
        return 0.0

    @property
    def t_max(self) -> float:
        return float(len(self.alphas_cumprod) - 1)

    @cached_property
    def _log_k(self) -> NDArray[np.float64]:
        """ln k of each timestep whose k is finite."""
        a = np.array([a for a in self.alphas_cumprod if a > 0])
        log_k: NDArray[np.float64] = 0.5 * (np.log1p(-a) - np.log(a))
        return log_k

    def at(self, t: float) -> Level:
        t = _within(t, self)
        low = min(int(t), len(self.alphas_cumprod) - 2)
        part = t - low
        if part in (0.0, 1.0):
            a = self.alphas_cumprod[low + int(part)]
            return Level(math.sqrt(a), math.sqrt(1.0 - a), t)
        if low + 1 < len(self._log_k):
            k = math.exp((1.0 - part) * self._log_k[low] + part * self._log_k[low + 1])
            return Level(1.0 / math.hypot(1.0, k), k / math.hypot(1.0, k), t)
        # The last stretch before zero terminal SNR: ln k runs to infinity, 1/k falls to 0 on a line.
        inverse = (1.0 - part) * math.exp(-self._log_k[low])
        return Level(inverse / math.hypot(1.0, inverse), 1.0 / math.hypot(1.0, inverse), t)

    def t_of_k(self, k: float) -> float:
        _check_ratio(k)
        if k == 0.0:
            return self.t_min
        last = len(self._log_k) - 1
        if math.log(k) > self._log_k[-1] and last < self.t_max:
            return self.t_max - math.exp(self._log_k[-1]) / k
        return float(np.interp(math.log(k), self._log_k, np.arange(last + 1)))


@dataclass(frozen=True)
class VEPath:
    """Variance exploding: alpha = 1, sigma from sigma_min to sigma_max (Song et al. 2021, arXiv:2011.13456).

    The clock is u in [0, 1], sigma = sigma_min (sigma_max / sigma_min)^u.

    Args:
        sigma_min: the smallest noise that the network has learnt, above 0.
        sigma_max: the largest.
        sigma_data: standard deviation of the data, for networks with EDM's preconditioning.
        log_time: True tells the network ln(sigma)/4 (EDM), False sigma itself (NCSN++).
    """

    sigma_min: float
    sigma_max: float
    sigma_data: float = 1.0
    log_time: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.sigma_min < self.sigma_max < math.inf and 0 < self.sigma_data < math.inf):
            raise PlanError(
                f"sigma_min={self.sigma_min}, sigma_max={self.sigma_max}, sigma_data={self.sigma_data}",
                expected="0 < sigma_min < sigma_max and 0 < sigma_data, all finite",
            )

    @property
    def t_min(self) -> float:
        return 0.0

    @property
    def t_max(self) -> float:
        return 1.0

    def at(self, t: float) -> Level:
        u = _within(t, self)
        ends = {0.0: self.sigma_min, 1.0: self.sigma_max}
        sigma = ends.get(u) or self.sigma_min * (self.sigma_max / self.sigma_min) ** u
        return Level(1.0, sigma, math.log(sigma) / 4 if self.log_time else sigma)

    def t_of_k(self, k: float) -> float:
        _check_ratio(k)
        k = min(max(k, self.sigma_min), self.sigma_max)
        return min(math.log(k / self.sigma_min) / math.log(self.sigma_max / self.sigma_min), 1.0)


@dataclass(frozen=True)
class FlowPath:
    """Rectified flow: alpha = 1 - sigma (Liu et al. 2022, arXiv:2209.03003, eq. 1).

    The clock is t in [0, 1]; a shift moves levels towards noise, as large pictures need (Esser et al. 2024,
    arXiv:2403.03206, eq. 23): sigma = shift t / (1 + (shift - 1) t). The network is told 1000 sigma.

    Args:
        shift: above 0; 1 is no shift. `flow_shift` gives the one that depends on the picture's size.
        time_scale: the network's time at sigma = 1.
    """

    shift: float = 1.0
    time_scale: float = 1000.0

    def __post_init__(self) -> None:
        if not (0 < self.shift < math.inf and 0 < self.time_scale < math.inf):
            raise PlanError(
                f"shift={self.shift}, time_scale={self.time_scale}", expected="finite numbers above 0"
            )

    @property
    def t_min(self) -> float:
        return 0.0

    @property
    def t_max(self) -> float:
        return 1.0

    def at(self, t: float) -> Level:
        t = _within(t, self)
        whole = 1.0 + (self.shift - 1.0) * t
        sigma = self.shift * t / whole
        return Level((1.0 - t) / whole, sigma, self.time_scale * sigma)

    def t_of_k(self, k: float) -> float:
        _check_ratio(k)
        # k = shift t / (1 - t)
        return 1.0 if math.isinf(k) else k / (self.shift + k)


def vp_linear(
    n: int = 1000, beta_start: float = 1e-4, beta_end: float = 0.02, *, zero_terminal_snr: bool = False
) -> VPPath:
    """Betas on a line (Ho et al. 2020, arXiv:2006.11239, section 4)."""
    return vp_from_betas(np.linspace(beta_start, beta_end, n).tolist(), zero_terminal_snr=zero_terminal_snr)


def vp_scaled_linear(
    n: int = 1000, beta_start: float = 0.00085, beta_end: float = 0.012, *, zero_terminal_snr: bool = False
) -> VPPath:
    """Square roots of betas on a line: latent diffusion's choice, with Stable Diffusion's range."""
    roots = np.linspace(math.sqrt(beta_start), math.sqrt(beta_end), n)
    return vp_from_betas((roots**2).tolist(), zero_terminal_snr=zero_terminal_snr)


def vp_cosine(n: int = 1000, max_beta: float = 0.999, *, zero_terminal_snr: bool = False) -> VPPath:
    """The cosine schedule (Nichol and Dhariwal 2021, arXiv:2102.09672, eq. 17), betas capped."""
    bar = [math.cos((i / n + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(n + 1)]
    betas = [min(1.0 - then / now, max_beta) for now, then in pairwise(bar)]
    return vp_from_betas(betas, zero_terminal_snr=zero_terminal_snr)


def vp_from_betas(betas: Sequence[float], *, zero_terminal_snr: bool = False) -> VPPath:
    """The path of any betas in (0, 1).

    With `zero_terminal_snr` alphas are shifted and scaled so that the last is exactly 0 and the first stays
    (Lin et al. 2023, arXiv:2305.08891, algorithm 1).
    """
    if not all(0 < beta < 1 for beta in betas):
        raise PlanError("a beta lies outside of (0, 1)", expected="betas strictly between 0 and 1")
    alphas_cumprod = list(accumulate((1.0 - beta for beta in betas), mul))
    if zero_terminal_snr and len(alphas_cumprod) > 1:
        roots = [math.sqrt(a) for a in alphas_cumprod]
        scale = roots[0] / (roots[0] - roots[-1])
        alphas_cumprod[1:] = [((root - roots[-1]) * scale) ** 2 for root in roots[1:]]
    return VPPath(tuple(alphas_cumprod))


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> VEPath:
    """Song's variance exploding path; the network is told sigma."""
    return VEPath(sigma_min, sigma_max)


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0, sigma_data: float = 0.5) -> VEPath:
    """EDM's path (Karras et al. 2022, arXiv:2206.00364, table 1); the network is told ln(sigma)/4."""
    return VEPath(sigma_min, sigma_max, sigma_data, log_time=True)


def flow_shift(
    tokens: int,
    *,
    base_tokens: int = 256,
    max_tokens: int = 4096,
    base_mu: float = 0.5,
    max_mu: float = 1.15,
) -> float:
    """The shift e^mu of a picture of so many tokens, mu on a line through the two given points (Flux's)."""
    slope = (max_mu - base_mu) / (max_tokens - base_tokens)
    return math.exp(base_mu + slope * (tokens - base_tokens))


def _within(t: float, path: Path) -> float:
    """t, where it lies on the path's clock; rounding at the ends is forgiven."""
    slack = 1e-9 * (path.t_max - path.t_min)
    if not path.t_min - slack <= t <= path.t_max + slack:
        raise PlanError(f"time {t}", expected=f"a time from {path.t_min:g} to {path.t_max:g} on this path")
    return min(max(float(t), path.t_min), path.t_max)


def _check_ratio(k: float) -> None:
    if not k >= 0:
        raise InputError(f"noise ratio {k}", expected="a number of at least 0 (or infinity)")
