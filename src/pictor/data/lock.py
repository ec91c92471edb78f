"""A lock on a file that ends with its process, however that ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pictor.core.errors import InputError

LOCK = ".lock"
"""In the folder that only one process works on."""
_TRIES = 5
_PAUSE = 0.1
"""Seconds between tries: whoever asks `is_held` holds the lock for a moment."""


def _lock(stream: IO[Any], *, alone: bool) -> bool:
    """Take the lock; False where another process has it. Where files cannot be locked everyone gets it."""
    if sys.platform == "win32":
        import msvcrt

        try:  # there is no sharing; one byte stands for the file, whether it is there or not
            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
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
def held(path: Path, busy: InputError) -> Iterator[None]:
    """Within this block no other process holds the lock on a file, which is made with its folder.

    Raises:
        InputError: `busy`, where another process does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        for left in reversed(range(_TRIES)):
            if _lock(stream, alone=True):
                break
            if left:
                time.sleep(_PAUSE)
        else:
            raise busy
        yield


def is_held(path: Path) -> bool | None:
    """Whether a process holds the lock on a file; None where there is no such file."""
    try:
        with path.open("rb") as stream:
            return not _lock(stream, alone=False)
    except OSError:
        return None
