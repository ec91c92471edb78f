"""Guidance: two denoised estimates of one picture made into one that follows its prompt more closely.

All rules are one formula, x0 = other + weight (conditional - other), in Imagen's convention: weight 1 is the
conditional estimate, 0 the other one. Rows are guided one by one, so rows of one batch may follow different
rules, and the other estimate is asked for only where it counts.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pictor.core.errors import InputError
from pictor.core.levels import Level
from pictor.core.predictions import check_prediction, eps_weights, weights, x0_weights
from pictor.sampling.loop import Denoise

Array = Any
"""A numpy array or a torch tensor."""

Which = Literal["conditional", "unconditional", "weak"]
"""With the prompt; with the negative (or empty) prompt; with the prompt, by a weaker model."""

Predict = Callable[[Array, Sequence[Level], Sequence[int], Sequence[Which]], Array]
"""predict(x [n, ...], levels, rows, which) -> x0 [n, ...]: entry j is which[j] for rows[j] at levels[j]."""


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """The rule of one row. The functions below make the usual ones; the parts may be combined.

    Raises:
        InputError: for a number out of its range, or an unknown space.
    """

    scale: float = 1.0
    """The weight inside of the interval, a finite number of at least 0."""
    k_low: float = 0.0
    k_high: float = math.inf
    """Guided where k_low < k <= k_high, with k = sigma/alpha; elsewhere the conditional estimate stands."""
    phi: float = 0.0
    """How much of the rescaled estimate is taken, from 0 to 1."""
    space: str = "x0"
    """The prediction in whose units the rescaling is done; its result depends on it."""
    other: Which = "unconditional"
    """What is guided away from."""
    sigma_data: float = 1.0
    """For the space "edm"."""

    def __post_init__(self) -> None:
        if not 0 <= self.scale < math.inf:
            raise InputError(
                f"guidance scale {self.scale}",
                expected="a finite number of at least 0 (1 is no guidance)",
                param="guidance_scale",
            )
        if not 0 <= self.k_low < self.k_high:
            raise InputError(
                f"guidance between noise ratios {self.k_low} and {self.k_high}", expected="0 <= low < high"
            )
        if not 0 <= self.phi <= 1:
            raise InputError(
                f"guidance rescale {self.phi}", expected="a number from 0 to 1", param="guidance_rescale"
            )
        if self.other not in ("unconditional", "weak"):
            raise InputError(f"guidance away from {self.other!r}", expected="unconditional or weak")
        check_prediction(self.space)

    def weight(self, level: Level) -> float:
        """The weight of the conditional estimate at this level."""
        return self.scale if self.k_low < level.k <= self.k_high else 1.0


def classifier_free(scale: float) -> Guidance:
    """Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598, eq. 6, with scale = 1 + their w)."""
    return Guidance(scale=scale)


def interval(scale: float, low: float, high: float, *, unit: Literal["k", "log_snr"] = "k") -> Guidance:
    """Guidance at middle noise only (Kynkäänniemi et al. 2024, arXiv:2404.07724, eq. 6).

    Args:
        scale: the weight inside.
        low, high: the bounds, low < high.
        unit: "k" for the noise ratio sigma/alpha, which is EDM's sigma; "log_snr" for 2 ln(alpha/sigma).
    """
    if unit == "k":
        return Guidance(scale=scale, k_low=low, k_high=high)
    if unit == "log_snr":
        return Guidance(scale=scale, k_low=math.exp(-high / 2), k_high=math.exp(-low / 2))
    raise InputError(f"unit {unit!r}", expected="k or log_snr")


def rescaled(scale: float, phi: float, space: str) -> Guidance:
    """Guidance that keeps the conditional estimate's contrast (Lin et al. 2023, arXiv:2305.08891, eq. 14-16).

    Args:
        scale: the weight.
        phi: from 0 (none) to 1; the paper uses 0.7.
        space: the prediction in whose units contrast is measured. The paper and its followers use whatever
            their network predicts ("v" there); the choice changes the picture.
    """
    return Guidance(scale=scale, phi=phi, space=space)


def autoguided(scale: float) -> Guidance:
    """Guidance away from a weaker model with the same prompt (Karras et al. 2024, arXiv:2406.02507)."""
    return Guidance(scale=scale, other="weak")


def guide(conditional: Array, other: Array, weight: Any) -> Array:
    """other + weight (conditional - other); weight is a number, or an array that broadcasts."""
    return other + weight * (conditional - other)


def rescale(guided_row: Array, conditional: Array, phi: float) -> Array:
    """Draw one row's standard deviation back to the conditional's, by phi (eq. 14-16 of arXiv:2305.08891)."""
    spread = _deviation(guided_row)
    if not spread > 0:
        return guided_row  # a constant has no contrast to scale
    return (phi * (_deviation(conditional) / spread) + (1.0 - phi)) * guided_row


def combine(rule: Guidance, x: Array, level: Level, conditional: Array, other: Array) -> Array:
    """One row's guided x0.

    Args:
        rule: the row's rule.
        x: its latents, [...].
        level: where they stand.
        conditional: x0 with the prompt, of x's shape.
        other: x0 without it, or by the weaker model.

    Raises:
        PlanError: when the space of rescaling says nothing of x0 at this level (eps at alpha = 0).
    """
    x0 = guide(conditional, other, rule.weight(level))
    if rule.phi == 0.0:
        return x0
    # x0 -> F = a x0 + b eps, with eps read off x and x0; and back by the table.
    a, b = weights(rule.space, level, rule.sigma_data)
    eps_x, eps_x0 = eps_weights("x0", level)
    cx, cf = x0_weights(rule.space, level, rule.sigma_data)
    slope, offset = a + b * eps_x0, b * eps_x
    output = rescale(slope * x0 + offset * x, slope * conditional + offset * x, rule.phi)
    return cx * x + cf * output


def guided(predict: Predict, rules: Sequence[Guidance]) -> Denoise:
    """The denoiser that follows a rule per row.

    All estimates of a step are asked for in one batch: first one of each row, in order, then the others of
    those rows that need two. A row whose weight is 1 or 0 needs only one.

    Args:
        predict: the model; see `Predict`.
        rules: one per row of the whole batch.

    Returns:
        A `denoise` for `sample`.
    """

    def denoise(x: Array, levels: Sequence[Level], rows: Sequence[int]) -> Array:
        own = [rules[row] for row in rows]
        at = [rule.weight(level) for rule, level in zip(own, levels, strict=True)]
        first: list[Which] = [
            rule.other if weight == 0.0 and rule.phi == 0.0 else "conditional"
            for rule, weight in zip(own, at, strict=True)
        ]
        twice = [entry for entry, weight in enumerate(at) if weight != 1.0 and first[entry] == "conditional"]
        entries = [*range(len(rows)), *twice]
        estimates = predict(
            x[entries],
            [levels[entry] for entry in entries],
            [rows[entry] for entry in entries],
            [*first, *(own[entry].other for entry in twice)],
        )
        x0 = estimates[list(range(len(rows)))]
        for place, entry in enumerate(twice, start=len(rows)):
            x0[entry] = combine(own[entry], x[entry], levels[entry], estimates[entry], estimates[place])
        return x0

    return denoise


def _deviation(values: Array) -> Any:
    """Standard deviation over a whole row, by operators and mean() alone."""
    centred = values - values.mean()
    return (centred * centred).mean() ** 0.5
