"""What networks predict, as one table: every output is F = a * x0 + b * eps.

With x = alpha * x0 + sigma * eps that is a linear system of two equations, so

    delta = b * alpha - a * sigma
    x0    = (b * x - sigma * F) / delta
    eps   = (alpha * F - a * x) / delta

The same table gives the target to train on. Only operators are used: floats, numpy arrays and torch tensors.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from pictor.core.errors import InputError, PlanError

Array = Any
"""A numpy array or a torch tensor."""


class NoiseLevel(Protocol):
    """A Level, or a Mixture of arrays."""

    @property
    def alpha(self) -> Any: ...
    @property
    def sigma(self) -> Any: ...


class Mixture(NamedTuple):
    """Levels of a batch as arrays that broadcast against x (shape [B, 1, 1, 1]), for training."""

    alpha: Array
    sigma: Array


def _eps(alpha: Any, sigma: Any, sigma_data: float) -> tuple[Any, Any]:
    return 0.0 * sigma, 0.0 * alpha + 1.0


def _x0(alpha: Any, sigma: Any, sigma_data: float) -> tuple[Any, Any]:
    return 0.0 * sigma + 1.0, 0.0 * alpha


def _v(alpha: Any, sigma: Any, sigma_data: float) -> tuple[Any, Any]:
    """Salimans and Ho 2022, arXiv:2202.00512, appendix D."""
    return -sigma, alpha


def _flow(alpha: Any, sigma: Any, sigma_data: float) -> tuple[Any, Any]:
    """Liu et al. 2022, arXiv:2209.03003, eq. 1: the velocity from data to noise."""
    return 0.0 * sigma - 1.0, 0.0 * alpha + 1.0


def _edm(alpha: Any, sigma: Any, sigma_data: float) -> tuple[Any, Any]:
    """Karras et al. 2022, arXiv:2206.00364, eq. 7 with table 1, solved for the raw output."""
    r = (sigma**2 + sigma_data**2) ** 0.5
    return sigma / (sigma_data * r), -sigma_data / r


_TABLE: dict[str, Callable[[Any, Any, float], tuple[Any, Any]]] = {
    "eps": _eps,
    "x0": _x0,
    "v": _v,
    "flow": _flow,
    "edm": _edm,
}

PREDICTIONS = tuple(_TABLE)
"""The names of predictions."""


def check_prediction(prediction: str) -> str:
    """The name itself.

    Raises:
        InputError: when no prediction has this name.
    """
    if prediction not in _TABLE:
        raise InputError(
            f"prediction {prediction!r}", expected=f"one of {', '.join(_TABLE)}", param="prediction"
        )
    return prediction


def weights(prediction: str, level: NoiseLevel, sigma_data: float = 1.0) -> tuple[Any, Any]:
    """(a, b) of F = a * x0 + b * eps.

    Args:
        prediction: one of PREDICTIONS.
        level: a Level (floats come back) or a Mixture (arrays come back).
        sigma_data: standard deviation of the data; only "edm" looks at it.

    Raises:
        InputError: for an unknown prediction.
        PlanError: for "edm" at a level where alpha is not 1.
    """
    _check_edm(check_prediction(prediction), level)
    return _TABLE[prediction](level.alpha, level.sigma, sigma_data)


def target(prediction: str, x0: Array, eps: Array, level: NoiseLevel, sigma_data: float = 1.0) -> Array:
    """What the network should answer: a * x0 + b * eps, of x0's shape. A batch's levels come as a Mixture."""
    a, b = weights(prediction, level, sigma_data)
    return a * x0 + b * eps


def x0_weights(prediction: str, level: NoiseLevel, sigma_data: float = 1.0) -> tuple[float, float]:
    """(cx, cf) of x0 = cx * x + cf * F at one Level.

    Raises:
        PlanError: where the output says nothing of x0 (delta = 0).
    """
    a, b = weights(prediction, level, sigma_data)
    if prediction == "x0":
        return 0.0, 1.0  # true at sigma = 0 as well, where the system is singular
    delta = b * level.alpha - a * level.sigma
    if delta == 0.0:
        raise PlanError(
            f"{prediction} prediction says nothing of the picture at {_where(level)}",
            expected="a prediction that is defined at this noise level",
            remedy="Use v, flow or x0 prediction, or a path without zero terminal SNR.",
        )
    return b / delta, -level.sigma / delta


def eps_weights(prediction: str, level: NoiseLevel, sigma_data: float = 1.0) -> tuple[float, float]:
    """(cx, cf) of eps = cx * x + cf * F at one Level.

    Raises:
        PlanError: where the output says nothing of the noise (delta = 0).
    """
    a, b = weights(prediction, level, sigma_data)
    if prediction == "eps":
        return 0.0, 1.0
    delta = b * level.alpha - a * level.sigma
    if delta == 0.0:
        raise PlanError(
            f"{prediction} prediction says nothing of the noise at {_where(level)}",
            expected="a prediction that is defined at this noise level",
            remedy="Use v, flow or eps prediction.",
        )
    return -a / delta, level.alpha / delta


def input_scale(prediction: str, level: NoiseLevel, sigma_data: float = 1.0) -> Any:
    """What x is multiplied with on its way into the network: EDM's 1/r (its c_in), else 1."""
    _check_edm(check_prediction(prediction), level)
    if prediction != "edm":
        return 1.0
    return 1.0 / (level.sigma**2 + sigma_data**2) ** 0.5


def x0_from_output(
    prediction: str, x: Array, output: Array, levels: Sequence[NoiseLevel], sigma_data: float = 1.0
) -> Array:
    """The denoised pictures of a batch of outputs.

    Args:
        prediction: what the network predicts.
        x: latents [B, ...], row i at levels[i].
        output: what the network said of them, of the same shape.
        levels: B levels.
        sigma_data: see `weights`.

    Returns:
        x0 of x's shape.

    Raises:
        PlanError: where the prediction says nothing of x0.
    """
    x0 = output * 1.0
    for row, level in enumerate(levels):
        cx, cf = x0_weights(prediction, level, sigma_data)
        x0[row] = cx * x[row] + cf * output[row]
    return x0


def _where(level: NoiseLevel) -> str:
    return f"alpha={level.alpha:g}, sigma={level.sigma:g}"


def _check_edm(prediction: str, level: NoiseLevel) -> None:
    if prediction == "edm" and isinstance(level.alpha, float) and level.alpha != 1.0:
        raise PlanError(
            f"edm prediction at alpha={level.alpha:g}", expected="a path with alpha = 1 (VE, EDM)"
        )
