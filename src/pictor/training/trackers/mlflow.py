"""MLflow; MLFLOW_TRACKING_URI and the other variables of its own say where to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from pictor.training.trackers import Subject

PACKAGE = "mlflow"
_EXPERIMENT = "pictor"
_TAG = "pictor.run"
_LONGEST = 500
"""Letters of a parameter's value that every store takes."""


class MLflow:
    """One run of theirs for one of ours, however often that goes on."""

    def __init__(self, subject: Subject) -> None:
        self._entities: Any = import_module("mlflow.entities")
        self._client: Any = import_module("mlflow.tracking").MlflowClient()
        there = self._client.get_experiment_by_name(_EXPERIMENT)
        place = there.experiment_id if there else self._client.create_experiment(_EXPERIMENT)
        found = self._client.search_runs([place], filter_string=f"tags.`{_TAG}` = '{subject.identity}'")
        if found:
            self._run: str = found[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
            return
        made = self._client.create_run(place, tags={_TAG: subject.identity}, run_name=subject.name)
        self._run = made.info.run_id
        flat = _flat(subject.recipe)
        params = [self._entities.Param(name, str(value)[:_LONGEST]) for name, value in flat.items()]
        self._client.log_batch(self._run, params=params)

    def figures(self, samples: int, values: Mapping[str, float]) -> None:
        clock, metric = int(1000 * time.time()), self._entities.Metric
        metrics = [metric(name, value, clock, samples) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def picture(self, samples: int, name: str, file: Path) -> None:
        self._client.log_artifact(self._run, str(file), name)

    def close(self, *, whole: bool) -> None:
        self._client.set_terminated(self._run, "FINISHED" if whole else "KILLED")


def _flat(table: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested tables under dotted names."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        name = f"{before}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def open_tracker(subject: Subject) -> MLflow:
    return MLflow(subject)
