"""`pictor data`: collect and prepare pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from pictor.cli._data_caption import caption
from pictor.cli._data_check import check, dedupe, stats
from pictor.cli._data_prepare import prepare
from pictor.cli._data_sources import stoppable

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
for verb in (check, stats, dedupe, caption, prepare):
    app.command()(verb)


@app.callback()
def data() -> None:
    """Collect and prepare pictures."""


@app.command()
def picturebook(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of its own for the pictures.")],
    count: Annotated[
        int, typer.Option(help="Pictures in all; a folder with fewer is added to, one with more refused.")
    ],
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels, 16 to 512.")] = 128,
    seed: Annotated[int, typer.Option(help="Of the whole book.")] = 0,
    held_out: Annotated[
        bool, typer.Option("--held-out", help="Only compositions that the rule keeps from training.")
    ] = False,
    counted: Annotated[float | None, typer.Option(help="Share of two to four alike objects.")] = None,
    related: Annotated[float | None, typer.Option(help="Share of two objects in a relation.")] = None,
    styled: Annotated[float | None, typer.Option(help="Share of other styles than the plain one.")] = None,
    font: Annotated[
        Path | None, typer.Option(metavar="FILE", help="NotoColorEmoji.ttf, where the system has none.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that draw; else one a core.")] = None,
) -> None:
    """Write the built-in corpus as pictures with metadata.jsonl (the imagefolder convention).

    Ctrl-C keeps what is whole; the same command goes on. The path of metadata.jsonl is printed.
    """
    from pictor.data.picturebook import Mix
    from pictor.data.picturebook.folder import write_folder

    shares = {"counted": counted, "related": related, "styled": styled}
    mix = replace(Mix(), **{name: value for name, value in shares.items() if value is not None})  # type: ignore[arg-type]
    with stoppable() as (show, stopping):
        path = write_folder(
            out,
            count,
            size=size,
            seed=seed,
            held_out=held_out,
            mix=mix,
            font=font,
            workers=workers,
            on_progress=show,
            should_stop=lambda: bool(stopping),
        )
    print(path)
