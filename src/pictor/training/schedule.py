"""The learning rate as a function of samples seen."""

from __future__ import annotations


def rate_factor(samples_seen: int, samples: int, warm_up: float, cool_down: float) -> float:
    """Factor on the base rate: linear rise, plateau, linear fall to zero.

    Args:
        samples_seen: samples before this step.
        samples: samples of the whole run.
        warm_up: share of the run that rises.
        cool_down: share of the run that falls.
    """
    progress = min(1.0, samples_seen / samples)
    rise = min(1.0, (progress + 1e-4) / warm_up) if warm_up > 0 else 1.0
    fall = min(1.0, (1.0 - progress) / cool_down) if cool_down > 0 else 1.0
    return max(0.0, min(rise, fall))
