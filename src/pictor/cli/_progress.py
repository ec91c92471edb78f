"""One line of progress on a terminal; silent where stderr is a file or a pipe."""

import sys
from types import TracebackType
from typing import Self

from pictor.engine.execute import Progress

_WIDTH = 30


class ProgressLine:
    """Call it with a `Progress`; leave its context before anything else is printed."""

    def __init__(self) -> None:
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __call__(self, progress: Progress) -> None:
        if sys.stderr.isatty():
            self._shown = True
            filled = _WIDTH * progress.done // progress.total
            bar = "━" * filled + "╌" * (_WIDTH - filled)
            print(f"\r{bar} {progress.done}/{progress.total}", end="", file=sys.stderr, flush=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
