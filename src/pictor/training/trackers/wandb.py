"""Weights & Biases; WANDB_MODE and the other variables of its own say where to."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pictor.training.trackers import Subject

PACKAGE = "wandb"
_PROJECT = "pictor"


class Wandb:
    """One run of theirs for one of ours, however often that goes on."""

    def __init__(self, subject: Subject) -> None:
        self._wandb: Any = import_module(PACKAGE)
        self._run: Any = self._wandb.init(
            project=_PROJECT,
            name=subject.name,
            id=subject.identity,
            resume="allow",
            dir=str(subject.run),
            config=dict(subject.recipe),
            settings=self._wandb.Settings(console="off", silent=True),
        )
        # Their own step may only grow, which that of a run that was killed and goes on does not.
        self._run.define_metric("samples")
        self._run.define_metric("*", step_metric="samples")

    def figures(self, samples: int, values: Mapping[str, float]) -> None:
        self._run.log({"samples": samples, **values})

    def picture(self, samples: int, name: str, file: Path) -> None:
        self._run.log({"samples": samples, name: self._wandb.Image(str(file))})

    def close(self, *, whole: bool) -> None:
        self._run.finish(exit_code=0 if whole else 1)


def open_tracker(subject: Subject) -> Wandb:
    return Wandb(subject)
