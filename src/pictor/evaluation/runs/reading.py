"""A run's folder as one value: what it was to learn, how it went, and where it stands."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pictor.core.errors import InputError
from pictor.training.lock import is_held
from pictor.training.run_files import CALLS, CHECKPOINTS, LOG, PREVIEWS, RECIPE

_FRESH = 90.0
"""Seconds since the last line for which a run without a lock passes for running."""
_DEPTH = 4
"""Folders below the one that runs are looked for in."""
_OWN = ("samples", "step", "loss", "rate", "samples_per_second", "seconds", "memory_gb")

State = Literal["running", "finished", "interrupted", "ended"]
"""`ended`: nobody trains, and the folder does not tell how long the run was to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One line of figures."""

    samples: int
    loss: float
    rate: float | None
    seconds: float | None
    """Training time of all calls until here."""
    memory_gb: float | None
    """That the process had held at most until here."""
    speed: float | None
    """Samples a second: since the line before, or in older logs since the call began."""
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """Figures on samples that training never draws."""

    samples: int
    figures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A sheet of pictures."""

    samples: int
    file: Path
    prompts: tuple[str, ...]
    size: tuple[int, int]
    """Width and height of one of its pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of training."""

    facts: Mapping[str, Any]
    """What stood in calls.jsonl when it began."""
    started: datetime | None
    ended: datetime | None
    """None while it runs, and where it was killed."""
    ended_by: str | None
    """"return", "stop", or an error's name."""
    samples: int | None
    """Where it ended."""
    of: int | None
    """Samples that the run was to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run's folder tells."""

    folder: Path
    name: str
    recipe: Mapping[str, Any]
    kind: str
    """Of its objective; "?" where the recipe does not say."""
    points: tuple[Point, ...]
    validations: tuple[Validation, ...]
    previews: tuple[Preview, ...]
    calls: tuple[Call, ...]
    problems: tuple[str, ...]
    """What failed beside the training, and which lines cannot be read."""
    samples: int
    planned: int | None
    """Samples of the whole run; None where that is not known."""
    state: State
    updated: float
    """Unix time of its last sign of life."""

    @property
    def seconds(self) -> float | None:
        """Training time of all calls; None where an older log does not tell it."""
        return self.points[-1].seconds if self.points else None

    @property
    def memory_gb(self) -> float | None:
        """That a process held at most; None where an older log does not tell it."""
        return max((point.memory_gb for point in self.points if point.memory_gb is not None), default=None)

    @property
    def loss(self) -> float | None:
        """The mean over the last tenth of the lines: one line is one batch."""
        tail = [point.loss for point in self.points[-max(1, len(self.points) // 10) :]]
        return sum(tail) / len(tail) if tail else None

    @property
    def speed(self) -> float | None:
        """Samples a second, the median of the lines."""
        speeds = sorted(point.speed for point in self.points if point.speed is not None)
        return speeds[len(speeds) // 2] if speeds else None

    @property
    def reason(self) -> str:
        """Why an interrupted run ended, in words; empty where it does not tell."""
        if self.state != "interrupted" or not self.calls:
            return ""
        by = self.calls[-1].ended_by
        return {None: "killed", "stop": "stopped", "return": "its minutes were over"}.get(by, f"{by}")


def is_run(folder: Path) -> bool:
    """Whether a folder looks like a run's."""
    return (folder / LOG).is_file() or ((folder / RECIPE).is_file() and (folder / CHECKPOINTS).is_dir())


def find_runs(folder: Path) -> list[Path]:
    """Folders of runs in a folder or below it, in the order of their names.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", expected="a folder of runs", param="folder")
    found = []
    for path, below, _ in os.walk(folder):
        place = Path(path)
        if is_run(place):
            found.append(place)
            below.clear()
        elif len(place.relative_to(folder).parts) >= _DEPTH:
            below.clear()
        below[:] = sorted(name for name in below if not name.startswith("."))
    return found


def read_run(folder: Path, name: str | None = None) -> Run:
    """Read a run. What is damaged is passed over and named in `problems`.

    Args:
        folder: of the run.
        name: what to call it, None for the folder's name.

    Raises:
        InputError: there is no such folder, or it is no run's.
    """
    if not folder.is_dir():
        raise InputError(
            f"there is no run {folder}",
            expected="the folder of a run",
            remedy="pictor runs list shows them.",
            param="run",
        )
    if not is_run(folder):
        raise InputError(
            f"{folder} is not the folder of a run",
            expected=f"a folder with {RECIPE} and {LOG}",
            remedy="pictor runs list shows runs.",
            param="run",
        )
    problems: list[str] = []
    recipe = _table(folder / RECIPE, problems)
    objective = recipe.get("objective")
    kind = objective.get("kind") if isinstance(objective, Mapping) else None
    calls = _calls(folder, problems)
    points, validations = _log(folder, problems)
    record = _checkpoint_record(folder)
    told = [points[-1].samples if points else 0, validations[-1].samples if validations else 0]
    samples = max([*told, _whole(record.get("samples_seen")) or 0, *(call.samples or 0 for call in calls)])
    planned = _planned(recipe, calls, record)
    updated = max(_changed(folder / file) for file in (LOG, CALLS, RECIPE))
    return Run(
        folder=folder,
        name=name or folder.resolve().name,
        recipe=recipe,
        kind=str(kind or "?"),
        points=points,
        validations=validations,
        previews=_previews(folder, problems),
        calls=calls,
        problems=tuple(problems),
        samples=samples,
        planned=planned,
        state=_state(folder, samples, planned, updated),
        updated=updated,
    )


def _state(folder: Path, samples: int, planned: int | None, updated: float) -> State:
    held = is_held(folder)
    finished = planned is not None and samples >= planned
    if held or (held is None and not finished and time.time() - updated < _FRESH):
        return "running"
    if finished:
        return "finished"
    return "ended" if planned is None else "interrupted"


def _planned(recipe: Mapping[str, Any], calls: tuple[Call, ...], record: Mapping[str, Any]) -> int | None:
    """The newest number that tells: of the checkpoint, of the last call that ended, of the recipe."""
    told = _whole(record.get("fitted_samples")) or _whole(record.get("of"))
    told = told or next((c.of for c in reversed(calls) if c.of), None)
    fits = recipe.get("fit_minutes") is not None
    return told or (None if fits else _whole(recipe.get("samples")))


def _lines(file: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file; other lines are named."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    lines = text.split("\n")
    for number, line in enumerate(lines if lines[-1] else lines[:-1], 1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if isinstance(record, dict):
            yield record | {"line": number}
        else:
            what = "is empty" if not line.strip() else "is damaged"
            problems.append(f"line {number} of {file.name} {what} and was passed over")


def _log(folder: Path, problems: list[str]) -> tuple[tuple[Point, ...], tuple[Validation, ...]]:
    points: list[Point] = []
    validations: list[Validation] = []
    before: tuple[int, float] | None = None
    for line in _lines(folder / LOG, problems):
        samples = _whole(line.get("samples"))
        where = f"line {line['line']} of {LOG}"
        if "problem" in line:
            problems.append(f"{line['problem']}" + (f", at {samples} samples" if samples else ""))
            continue
        if "preview" in line:
            continue
        if samples is None:
            problems.append(f"{where} names no samples and was passed over")
            continue
        # A run that was killed tells once more what lies behind its checkpoint.
        while points and points[-1].samples >= samples and "loss" in line:
            points.pop()
        if isinstance(line.get("validation"), dict):
            validations = [one for one in validations if one.samples < samples]
            validations.append(Validation(samples=samples, figures=_numbers(line["validation"])))
        elif (loss := _number(line.get("loss"))) is not None:
            clock = _number(line.get("seconds"))
            speed = _number(line.get("samples_per_second"))
            if clock is not None:
                if before is not None and samples > before[0] and clock > before[1]:
                    speed = (samples - before[0]) / (clock - before[1])
                before = samples, clock
            figures = {name: value for name, value in _numbers(line).items() if name not in (*_OWN, "line")}
            rate = _number(line.get("rate"))
            points.append(
                Point(
                    samples=samples,
                    loss=loss,
                    rate=rate,
                    seconds=clock,
                    memory_gb=_number(line.get("memory_gb")),
                    speed=speed,
                    figures=figures,
                )
            )
        else:
            problems.append(f"{where} has no loss that is a number and was passed over")
    return tuple(points), tuple(validations)


def _calls(folder: Path, problems: list[str]) -> tuple[Call, ...]:
    calls: list[Call] = []
    for line in _lines(folder / CALLS, problems):
        if "started" in line:
            calls.append(
                Call(
                    facts={key: value for key, value in line.items() if key != "line"},
                    started=_moment(line["started"]),
                    ended=None,
                    ended_by=None,
                    samples=None,
                    of=None,
                )
            )
        elif "ended" in line and calls and calls[-1].ended is None:
            calls[-1] = Call(
                facts=calls[-1].facts,
                started=calls[-1].started,
                ended=_moment(line["ended"]),
                ended_by=str(line.get("ended_by")),
                samples=_whole(line.get("samples")),
                of=_whole(line.get("of")),
            )
    return tuple(calls)


def _previews(folder: Path, problems: list[str]) -> tuple[Preview, ...]:
    found = []
    for file in sorted((folder / PREVIEWS).glob("*.json")):
        facts = _table(file, problems)
        sheet = file.with_suffix(".png")
        samples, size, prompts = _whole(facts.get("samples")), facts.get("size"), facts.get("prompts")
        if samples is None or not isinstance(prompts, list) or not sheet.is_file():
            continue
        if isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size):
            found.append(
                Preview(
                    samples=samples,
                    file=sheet,
                    prompts=tuple(str(prompt) for prompt in prompts),
                    size=(size[0], size[1]),
                )
            )
    return tuple(found)


def _table(file: Path, problems: list[str]) -> dict[str, Any]:
    try:
        table = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        problems.append(f"{file.name} is missing")
        return {}
    except (OSError, ValueError, RecursionError):
        table = None
    if not isinstance(table, dict):
        problems.append(f"{file.name} is damaged")
        return {}
    return table


def _checkpoint_record(folder: Path) -> dict[str, Any]:
    records = sorted((folder / CHECKPOINTS).glob("[0-9]*/record.json"))
    return _table(records[-1], []) if records else {}


def _numbers(table: Mapping[str, Any]) -> dict[str, float]:
    return {str(key): number for key, value in table.items() if (number := _number(value)) is not None}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
