"""`pictor data prepare`: from sources of pictures to a folder that training reads."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pictor.cli._data_sources import (
    AsJson,
    CaptionColumn,
    ImageColumn,
    Licence,
    Sources,
    Split,
    Workers,
    counts_table,
    opened,
    show,
    terms,
)


def prepare(
    sources: Sources,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of its own for what is prepared.")],
    size: Annotated[int, typer.Option(help="Side of the pictures in pixels.")],
    buckets: Annotated[
        bool, typer.Option("--buckets", help="Keep portraits and panoramas, at sizes of about the same area.")
    ] = False,
    step: Annotated[int, typer.Option(help="What divides the sides of buckets.")] = 8,
    max_aspect: Annotated[float, typer.Option(help="Of buckets: longest side over the shorter one.")] = 2.0,
    margin: Annotated[
        int, typer.Option(help="Pixels stored beyond the size, for cuts at random places.")
    ] = 0,
    val: Annotated[float, typer.Option(help="Share of pictures that only validate.")] = 0.01,
    quarantine: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Pictures to leave out, of `check` and `dedupe`.")
    ] = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    split: Split = None,
    licence: Licence = "",
    workers: Workers = None,
    engine: Annotated[str, typer.Option(help="local: this machine; ray: a Ray cluster.")] = "local",
    as_json: AsJson = False,
) -> None:
    """Decode, turn, cut and resize pictures, and write them with a manifest for training.

    Ctrl-C keeps what is whole; the same command goes on. Every picture is accounted for.
    """
    from pictor.core.errors import InputError
    from pictor.data.buckets import Buckets
    from pictor.data.prepare import Settings
    from pictor.data.prepare import prepare as run
    from pictor.data.quarantine import Quarantine

    if not 16 <= size <= 2048 or size % 8:
        raise InputError(f"size is {size}", expected="a multiple of 8 from 16 to 2048", param="size")
    table = Buckets.of_area(size, step, max_aspect) if buckets else Buckets.square(size)
    settings = Settings(buckets=table, margin=margin, val=val)
    listed = Quarantine(quarantine)
    found = opened(sources, image_column, caption_column, split, licence)
    with terms(workers) as how:
        summary = run(found, out, settings, how, listed, engine)
    if listed.unmet:
        print(
            f"warning: {len(listed.unmet)} pictures of {quarantine} are not in these sources", file=sys.stderr
        )
    if as_json:
        print(json.dumps(summary, indent=2, ensure_ascii=False))
        return
    sizes = counts_table("bucket", "pictures", "enlarged")
    for bucket, count in summary["in_bucket"].items():
        sizes.add_row(bucket, str(count), str(summary["enlarged"].get(bucket, 0)))
    notes = counts_table("converted", "pictures")
    for note, count in summary["converted"].items():
        notes.add_row(note, str(count))
    show(sizes, notes)
    parts = ", ".join(f"{count} {name}" for name, count in summary["splits"].items())
    print(
        f"{summary['pictures']} pictures: {summary['prepared']} prepared ({parts};"
        f" {summary['without_caption']} without a caption), {summary['left_out']} left out"
    )
    if summary["left_out"]:
        print(f"{out / 'left-out.jsonl'} names those that are left out", file=sys.stderr)
    print(out)
