"""Who starts the processes that train: one file an engine, found by its name.

An engine's file has `train`, with the parameters and the promises of `pictor.training.loop.train`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from pictor.core.errors import InputError
from pictor.training.terms import Outcome


def engine_names() -> list[str]:
    """The engines that there are."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def training_by(engine: str) -> Callable[..., Outcome]:
    """The `train` of an engine.

    Raises:
        InputError: an unknown name.
    """
    if engine not in engine_names():
        raise InputError(
            f"engine {engine!r} is unknown", expected=f"one of {', '.join(engine_names())}", param="engine"
        )
    train: Callable[..., Outcome] = importlib.import_module(f"{__name__}.{engine}").train
    return train
