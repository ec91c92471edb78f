"""Losses are looked at now and then, all of them: a run whose loss is no number ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from pictor.core.errors import PictorError
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.run_files import CHECKPOINTS


class LossWatch:
    """Losses of the steps that nobody has looked at; looking makes the CPU wait for a GPU.

    Args:
        run: the run's folder.
        names: of the pictures that the samples from a first to a last one show, none where they have none.
    """

    def __init__(self, run: Path, names: Callable[[int, int], list[str]] = lambda first, last: []) -> None:
        self._run, self._names = run, names
        self._steps: list[tuple[int, int, int, torch.Tensor]] = []
        self._newest = math.nan

    def note(self, step: int, first: int, last: int, loss: torch.Tensor) -> None:
        """Of a step with these samples: its loss, wherever that lies."""
        self._steps.append((step, first, last, loss))

    def look(self) -> float:
        """The newest loss.

        Raises:
            PictorError: one of the losses since the last look is no number.
        """
        if not self._steps:
            return self._newest
        values = torch.stack([loss.float() for *_, loss in self._steps]).tolist()
        for (step, first, last, _), value in zip(self._steps, values, strict=True):
            if not math.isfinite(value):
                pictures = self._names(first, last)
                named = f", of the pictures {', '.join(pictures)}" if pictures else ""
                good = latest_checkpoint(self._run / CHECKPOINTS)
                raise PictorError(
                    f"the loss is {value} at step {step} (samples {first} to {last}{named})",
                    expected="a finite number",
                    remedy=f"Lower the learning rate; the last good checkpoint is {good or 'none'}.",
                )
        self._steps.clear()
        self._newest = float(values[-1])
        return self._newest
