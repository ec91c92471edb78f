"""Child processes that are ended by their parent, and not by a signal to the whole group.

Ctrl-C in a terminal, and a cluster's SIGTERM, reach all processes of a group. What they mean is the parent's
to decide; a child that they ended on its own, perhaps while it was still importing, would be waited for.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

_HELD_BACK = {signal.SIGINT, signal.SIGTERM}


@contextmanager
def unsignalled() -> Iterator[None]:
    """Processes that this thread starts in here never see SIGINT or SIGTERM; it sees them afterwards."""
    # Which otherwise begins with the first child, and undoes what is held back.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
