"""How a training tells where it stands: a living line on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pictor.training.terms import Progress

_LINE_SECONDS = 20.0
_FRAME_SECONDS = 0.25
_KEPT_SECONDS = 5.0
_SETTLED = 10.0
"""Seconds after which speed and memory are those of the run."""


class TrainingLines:
    """Call it with every `Progress`, and `end` it before anything else is printed."""

    def __init__(self) -> None:
        self._begun: float | None = None
        self._last = 0.0
        self._measured = False
        self._bar: Any = None

    def __call__(self, progress: Progress) -> None:
        clock = time.monotonic()
        if self._begun is None:
            self._begun = clock
        if not self._measured and clock - self._begun >= _SETTLED:
            self._measured = True
            print(_measured(progress), file=sys.stderr, flush=True)
        terminal = sys.stderr.isatty()
        if clock - self._last < (_FRAME_SECONDS if terminal else _LINE_SECONDS):
            return
        self._last = clock
        if not terminal:
            whole = f"{progress.samples_seen}/{progress.samples} samples  {_told(progress)}"
            print(f"{whole}  {_left(progress)} left", file=sys.stderr, flush=True)
            return
        told = {"told": _told(progress), "left": _left(progress)}
        if self._bar is None:
            self._bar = _bar()
            self._bar.add_task("", **told)
            self._bar.start()
        [task] = self._bar.task_ids
        self._bar.update(task, completed=progress.samples_seen, total=progress.samples, **told)
        self._bar.refresh()

    def kept(self, what: str, done: int, of: int) -> None:
        """What is kept of pictures and captions is made before the training begins."""
        clock = time.monotonic()
        if done < of and clock - self._last < _KEPT_SECONDS:
            return
        self._last = clock
        print(f"{done}/{of} {what} encoded, to be kept", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _bar() -> Any:
    # Other commands and help need none of this.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TextColumn("{task.fields[left]} left", markup=False),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    )


def _told(progress: Progress) -> str:
    figures = "".join(f"  {name} {value:.4g}" for name, value in progress.figures.items())
    return f"loss {progress.loss:.4g}{figures}  {progress.samples_per_second:.1f}/s"


def _measured(progress: Progress) -> str:
    most = progress.peak_memory
    memory = "" if most is None else f" {most / 1e9:.2g} GB of memory at most so far,"
    return f"measured: {progress.samples_per_second:.3g} samples/s,{memory} {_left(progress)} to go"


def _left(progress: Progress) -> str:
    """The time that the rest takes at this speed."""
    seconds = (progress.samples - progress.samples_seen) / max(progress.samples_per_second, 1e-9)
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
