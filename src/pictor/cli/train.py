"""`pictor train`: from a recipe to a model."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pictor.core.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from pictor.training.loop import Progress

app = typer.Typer(rich_markup_mode=None)

_LINE_SECONDS = 20.0


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", show_default=False)],
    run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the run; else runs/ and the recipe's name.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Save and stop after this long.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train what a recipe describes.

    Ctrl-C saves a checkpoint; --resume then goes on to exactly the weights of an uninterrupted run. The
    trained model's folder is printed.
    """
    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes is {minutes:g}", expected="a number above 0", param="minutes")
    from pictor.training.recipe import read_recipe

    resolved = read_recipe(recipe)
    try:
        from pictor.training.loop import train as run_training
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pictor"):
            raise
        raise MissingExtraError(f"training needs {error.name}") from error

    folder = run or Path("runs") / resolved.name
    stop = _StopOnInterrupt()
    show = _Lines()
    outcome = run_training(
        resolved, folder, minutes=minutes, resume=resume, on_progress=show, should_stop=stop.wanted
    )
    show.end()
    report = {
        "model": str(outcome.model),
        "samples_seen": outcome.samples_seen,
        "finished": outcome.finished,
        "validation": outcome.figures,
    }
    if as_json:
        print(json.dumps(report, indent=2))
        return
    figures = ", ".join(f"{name} {value:.4g}" for name, value in outcome.figures.items())
    state = "finished" if outcome.finished else "stopped by --minutes; --resume goes on"
    print(f"{outcome.samples_seen} samples, {state}; {figures}", file=sys.stderr)
    print(outcome.model)


class _StopOnInterrupt:
    """The first Ctrl-C is a wish that the loop grants between steps; a second one interrupts at once."""

    def __init__(self) -> None:
        self._stop = False
        self._previous = signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self._stop = True
        signal.signal(signal.SIGINT, self._previous)
        print("\nsaving; Ctrl-C again stops without saving", file=sys.stderr)

    def wanted(self) -> bool:
        return self._stop


class _Lines:
    """Progress on stderr: one living line on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, progress: Progress) -> None:
        terminal = sys.stderr.isatty()
        clock = time.monotonic()
        if clock - self._last < (0.5 if terminal else _LINE_SECONDS):
            return
        self._last = clock
        left = (progress.samples - progress.samples_seen) / max(progress.samples_per_second, 1e-9)
        figures = "".join(f"  {name} {value:.4g}" for name, value in progress.figures.items())
        line = (
            f"{progress.samples_seen}/{progress.samples} samples  loss {progress.loss:.4g}{figures}"
            f"  {progress.samples_per_second:.1f}/s  {left / 60:.0f} min left"
        )
        print(
            f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True
        )

    def end(self) -> None:
        if sys.stderr.isatty():
            print(file=sys.stderr)
