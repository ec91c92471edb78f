"""How long a run is, and the learning rate as a function of samples seen."""

from __future__ import annotations

import math

from pictor.training.recipe import CoolDown, Recipe

_SETTLING = 10.0
"""Seconds before speed is measured, for at least twice as long."""


def rate_factor(
    samples_seen: int, samples: int, warm_up: float, cool_down: float, shape: CoolDown = "linear"
) -> float:
    """Factor on the base rate: linear rise, plateau, fall to zero.

    Args:
        samples_seen: samples before this step.
        samples: samples of the whole run.
        warm_up: share of the run that rises.
        cool_down: share of the run that falls.
        shape: of the fall: "linear", or "cosine", half a period of it (Loshchilov and Hutter 2017,
            arXiv 1608.03983).
    """
    progress = min(1.0, samples_seen / samples)
    rise = min(1.0, (progress + 1e-4) / warm_up) if warm_up > 0 else 1.0
    fall = min(1.0, (1.0 - progress) / cool_down) if cool_down > 0 else 1.0
    if shape == "cosine":
        fall = (1 - math.cos(math.pi * fall)) / 2
    return max(0.0, min(rise, fall))


class Intervals:
    """Whether it is time again: at whole multiples of a period of training time, also when a run goes on.

    Args:
        minutes: the period, 0 for never.
        seconds: training time of the run's earlier calls.
    """

    def __init__(self, minutes: float, seconds: float) -> None:
        self._period = 60.0 * minutes
        self._passed = int(seconds // self._period) if minutes else 0

    def due(self, seconds: float) -> bool:
        """Whether a period has ended since the last time that one had."""
        if not self._period or seconds // self._period <= self._passed:
            return False
        self._passed = int(seconds // self._period)
        return True


class Length:
    """How many samples a run has: the recipe's, or as many as fit its minutes.

    Speed is measured until the learning rate begins to fall, and then the number is fixed. Before speed is
    known the run is taken to be as far as the clock says, so that the schedule has no jump.

    Args:
        recipe: names the samples and, if so, the minutes.
        fitted: the number that an earlier call of this run fixed, None if none did.
        seconds: training time of the earlier calls.
    """

    def __init__(self, recipe: Recipe, fitted: int | None, seconds: float) -> None:
        self.recipe, self.fitted, self.seconds = recipe, fitted, seconds
        self._minutes = recipe.fit_minutes
        self._settling = min(_SETTLING, 2.0 * self._minutes) if self._minutes else 0.0
        self._mark: tuple[int, float] | None = None

    def samples(self, seen: int, elapsed: float) -> int:
        """The run's samples, by what is known after `elapsed` seconds of this call.

        Args:
            seen: samples so far; what they came from is done.
            elapsed: seconds of training in this call.

        Returns:
            At most the recipe's samples, a whole number of batches unless it is those; `seen` where the time
            is over.
        """
        if self._minutes is None:
            return self.recipe.samples
        if self.fitted is not None:
            return self.fitted
        total, spent = 60.0 * self._minutes, self.seconds + elapsed
        if self._mark is None:
            if elapsed >= self._settling:
                self._mark = seen, elapsed
        elif elapsed - self._mark[1] >= 2 * self._settling and seen > self._mark[0]:
            speed = (seen - self._mark[0]) / (elapsed - self._mark[1])
            samples = self._whole(seen, seen + speed * (total - spent))
            if seen >= samples * (1 - self.recipe.optimiser.cool_down):
                self.fitted = samples
            return samples
        return self._whole(seen, seen * total / spent) if seen and spent > 0 else self.recipe.samples

    def _whole(self, seen: int, samples: float) -> int:
        """What was seen and a whole number of batches more, or none where the time is over."""
        batch = self.recipe.batch_size
        return min(self.recipe.samples, seen + max(0, round((samples - seen) / batch)) * batch)
