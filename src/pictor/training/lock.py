"""One training in a run's folder at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pictor.core.errors import InputError
from pictor.training.run_files import LOCK

_TRIES = 5
_PAUSE = 0.1
"""Seconds between tries: whoever asks `is_held` holds the lock for a moment."""


def _lock(stream: IO[Any], *, alone: bool) -> bool:
    """Take the lock; False where another process has it. Where files cannot be locked everyone gets it."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(stream, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        return True
    return True


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Within this block no other process trains in the folder, which is made where it is missing.

    Raises:
        InputError: another one does.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / LOCK).open("a", encoding="utf-8") as stream:
        for left in reversed(range(_TRIES)):
            if _lock(stream, alone=True):
                break
            if left:
                time.sleep(_PAUSE)
        else:
            raise InputError(
                f"run {run} is being trained by another process",
                expected="a run that nobody works on",
                remedy="Wait for it, or pass --run with another folder.",
                param="run",
            )
        yield


def is_held(run: Path) -> bool | None:
    """Whether a process trains in the folder; None where no lock tells, since an older version trained."""
    try:
        with (run / LOCK).open("rb") as stream:
            return not _lock(stream, alone=False)
    except OSError:
        return None
