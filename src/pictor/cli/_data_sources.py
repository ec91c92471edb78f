"""What the verbs on sources of pictures share: which sources, how many processes, progress, Ctrl-C."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from pictor.data.crew import Terms
    from pictor.data.sources.registry import Opened

Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Folders of pictures with .txt or metadata.jsonl, parquet or tar files, data sets of the Hub"
        " (hf:OWNER/NAME); cats:2.5 for a weight.",
    ),
]
ImageColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column of the pictures, where it has no usual name.")
]
CaptionColumn = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Column of captions; several times for several."),
]
Split = Annotated[str | None, typer.Option(metavar="NAME", help="Of a Hugging Face data set.")]
Licence = Annotated[str, typer.Option(metavar="TEXT", help="Of pictures that do not state their own.")]
Workers = Annotated[int | None, typer.Option(help="Processes that decode; else one a core.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def opened(
    sources: list[str],
    image_column: str | None = None,
    caption_column: list[str] | None = None,
    split: str | None = None,
    licence: str = "",
) -> "list[Opened]":
    """The sources that the user named."""
    from pictor.data.sources.registry import open_sources
    from pictor.data.sources.source import Reading

    reading = Reading(image=image_column, captions=tuple(caption_column or ()), split=split, licence=licence)
    return open_sources(sources, reading)


@contextmanager
def stoppable() -> Iterator[tuple["Rate", list[int]]]:
    """A line of progress, and a list that Ctrl-C makes no longer empty."""
    stopping: list[int] = []
    previous = signal.signal(signal.SIGINT, lambda number, frame: stopping.append(number))
    show = Rate()
    try:
        yield show, stopping
    finally:
        show.end()
        signal.signal(signal.SIGINT, previous)


@contextmanager
def terms(workers: int | None) -> Iterator["Terms"]:
    """How work on the pictures of sources is done and shown."""
    from pictor.data.crew import Terms

    with stoppable() as (show, stopping):
        yield Terms(workers=workers, on_progress=show, should_stop=lambda: bool(stopping))


class Rate:
    """How many are done, how fast, and how long the rest takes: a living line, or one every few seconds."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, count: int) -> None:
        clock = time.monotonic()
        if self._first is None:
            self._first = done
        if clock - self._last < (0.5 if sys.stderr.isatty() else 10.0) and done < count:
            return
        self._last = clock
        rate = (done - self._first) / max(clock - self._begun, 1e-9)
        speed = f", {rate:.0f}/s, {(count - done) / rate / 60:.1f} min left" if rate > 0 else ""
        line = f"{done}/{count} pictures{speed}"
        terminal = sys.stderr.isatty()
        print(
            f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True
        )

    def end(self) -> None:
        if sys.stderr.isatty():
            print(file=sys.stderr)


def counts_table(*columns: str) -> "Table":
    """A table whose first column is words and whose others are numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, show_edge=False)
    table.add_column(columns[0])
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def show(*tables: "Table") -> None:
    """Print tables that have rows; words from files stay plain text."""
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    for table in tables:
        if table.row_count:
            console.print(table)
            console.print()
