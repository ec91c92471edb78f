"""A disk without room is no defect: it is told as what it is, whichever library was writing."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from pictor.core.errors import InputError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def is_full(error: BaseException) -> bool:
    """Whether an error says that there was no room to write."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    # It holds the number of the system's error in its words alone.
    return isinstance(error, SafetensorError) and any(f"(os error {code})" in str(error) for code in _FULL)


@contextmanager
def full_disk_told(run: Path) -> Iterator[None]:
    """Within this block errors of a full disk are errors of the user's.

    Raises:
        InputError: there is no room for what is written to the run's folder.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if not is_full(error):
            raise
        raise InputError(
            f"run {run} cannot be written ({error})",
            expected="a writable disk with room",
            remedy="Free space and go on with --resume; the last checkpoint is whole.",
            param="run",
        ) from error
