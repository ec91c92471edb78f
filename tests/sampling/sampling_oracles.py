"""Data whose ideal denoiser and probability flow are known in closed form, and grids to cross."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from pictor.core.levels import Level

LevelOf = Callable[[float], Level]


def vp(k: float) -> Level:
    if math.isinf(k):
        return Level(0.0, 1.0, 999.0)
    return Level(1 / math.hypot(1, k), k / math.hypot(1, k), 500.0)


def flow(k: float) -> Level:
    sigma = 1.0 if math.isinf(k) else k / (1 + k)
    return Level(1 - sigma if math.isinf(k) else 1 / (1 + k), sigma, 1000 * sigma)


def ve(k: float) -> Level:
    return Level(1.0, k, math.log(k) / 4 if k else 0.0)


def even_grid(high: float, low: float, steps: int, level_of: LevelOf = vp) -> list[Level]:
    """Levels even in log-SNR."""
    return [level_of(high * (low / high) ** (i / steps)) for i in range(steps + 1)]


class Gaussian:
    """Independent normal numbers: x0 = mean + deviation * normal."""

    mean = np.array([0.7, -0.4, 0.2])
    deviation = np.array([0.3, 1.0, 2.0])

    def x0(self, x, level: Level):
        spread = level.alpha**2 * self.deviation**2 + level.sigma**2
        return (level.alpha * self.deviation**2 * x + level.sigma**2 * self.mean) / spread

    def denoise(self, x, levels: Sequence[Level], rows: Sequence[int]):
        return np.stack([self.x0(x[entry], level) for entry, level in enumerate(levels)])

    def move(self, x, now: Level, then: Level):
        """The probability flow: deviations from the mean scale with the marginal's."""
        scale = [np.sqrt(at.alpha**2 * self.deviation**2 + at.sigma**2) for at in (now, then)]
        return then.alpha * self.mean + (x - now.alpha * self.mean) * scale[1] / scale[0]


class Points:
    """Numbers from a finite set, all as likely: the ideal denoiser of a tiny data set."""

    values = np.array([-1.0, -0.2, 0.5, 1.5])

    def x0(self, x, level: Level):
        logits = -((x[..., None] - level.alpha * self.values) ** 2) / (2 * level.sigma**2)
        likely = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return (likely * self.values).sum(axis=-1) / likely.sum(axis=-1)

    def denoise(self, x, levels: Sequence[Level], rows: Sequence[int]):
        return np.stack([self.x0(x[entry], level) for entry, level in enumerate(levels)])

    def move(self, x, now: Level, then: Level):
        """In one dimension the probability flow keeps quantiles, since paths never cross."""
        return np.array([self._quantile(self._share(value, now), then) for value in x])

    def _share(self, x: float, level: Level) -> float:
        return sum(
            0.5 * math.erfc((level.alpha * value - x) / (level.sigma * math.sqrt(2))) for value in self.values
        ) / len(self.values)

    def _quantile(self, share: float, level: Level) -> float:
        low, high = -50.0, 50.0
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if self._share(middle, level) < share else (low, middle)
        return (low + high) / 2
