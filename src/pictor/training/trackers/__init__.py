"""Who is told of a run besides its log.jsonl: one file a tracker, found by its name.

A tracker's file has `PACKAGE`, the package that it needs, and `open_tracker`, which makes one.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from pictor.core.errors import InputError

ALWAYS = ("tensorboard",)
"""Trackers that write into the run's folder alone: they are told wherever their package is installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The run that is tracked."""

    run: Path
    name: str
    identity: str
    """Stays when a run goes on."""
    recipe: Mapping[str, Any]
    samples: int
    """Where this call begins; a tracker may know of more, which a killed call had told it."""


class Tracker(Protocol):
    """Takes figures and pictures as they come."""

    def figures(self, samples: int, values: Mapping[str, float]) -> None:
        """Numbers by name, after so many samples."""

    def picture(self, samples: int, name: str, file: Path) -> None:
        """A PNG."""

    def close(self, *, whole: bool) -> None:
        """The call is over; `whole` where no error and no wish to stop ended it."""


def tracker_names() -> list[str]:
    """The trackers that a recipe can name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def chosen_trackers(asked: Sequence[str]) -> list[str]:
    """Those to open: what is asked for, and what is always told where it is installed.

    Raises:
        InputError: an unknown name, or the tracker's package is not installed.
    """
    known = tracker_names()
    for name in asked:
        if name not in known:
            raise InputError(
                f"tracker {name!r} is unknown", expected=f"one of {', '.join(known)}", param="track"
            )
        package = _part(name).PACKAGE
        if find_spec(package) is None:
            raise InputError(
                f"the tracker {name} needs the package {package}, which is not installed",
                expected="installed packages",
                remedy=f"Run: pip install {package}",
                param="track",
            )
    found = [name for name in ALWAYS if find_spec(_part(name).PACKAGE) is not None]
    return list(dict.fromkeys([*asked, *found]))


def open_tracker(name: str, subject: Subject) -> Tracker:
    """Begin to tell a tracker of a run; its library raises what it likes."""
    tracker: Tracker = _part(name).open_tracker(subject)
    return tracker


def _part(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
