"""Where work on many pictures is done: one file an engine, found by its name.

An engine's file has `results`, which does the work to each part, as `Crew.results` says, in whatever order.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from typing import Protocol

from pictor.core.errors import InputError
from pictor.data.crew import Part, R, Terms, Work


class Results(Protocol):
    """Does work to parts."""

    def __call__(self, work: Work[R], jobs: Iterable[Part], terms: Terms) -> Iterator[tuple[Part, R]]:
        """Parts as they are done, each with what came of it."""


def engine_names() -> list[str]:
    """The engines that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def results_of(engine: str) -> Results:
    """How an engine does work.

    Raises:
        InputError: an unknown name.
        MissingExtraError: what it needs is not installed.
    """
    if engine not in engine_names():
        raise InputError(
            f"engine {engine!r} is unknown", expected=f"one of {', '.join(engine_names())}", param="engine"
        )
    results: Results = importlib.import_module(f"{__name__}.{engine}").results
    return results
