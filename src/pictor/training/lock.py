"""One training in a run's folder at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pictor.core.errors import InputError
from pictor.data import lock
from pictor.training.run_files import LOCK


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Within this block no other process trains in the folder, which is made where it is missing.

    Raises:
        InputError: another one does.
    """
    busy = InputError(
        f"run {run} is being trained by another process",
        expected="a run that nobody works on",
        remedy="Wait for it, or pass --run with another folder.",
        param="run",
    )
    with lock.held(run / LOCK, busy):
        yield


def is_held(run: Path) -> bool | None:
    """Whether a process trains in the folder; None where no lock tells, since an older version trained."""
    return lock.is_held(run / LOCK)
