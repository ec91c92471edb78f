"""`pictor data check`, `stats` and `dedupe`: what is in sources of pictures, and what is wrong with it."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from pictor.cli._terminal import printable

if TYPE_CHECKING:
    from pictor.data.quarantine import Finding

_SHOWN = 20

Quarantine = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Add what is found to this JSON-lines file, for `prepare` to leave out."
    ),
]


def check(
    sources: Sources,
    min_side: Annotated[int, typer.Option(help="Least side in pixels.")] = 64,
    max_aspect: Annotated[float, typer.Option(help="Longest side over the shorter one.")] = 4.0,
    max_caption: Annotated[int, typer.Option(help="Letters in a caption.")] = 2000,
    quarantine: Quarantine = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    split: Split = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Decode every picture and say what is wrong with which; exit 1 if anything is.

    Nothing is deleted or moved.
    """
    from pictor.data.checks import KINDS, Limits
    from pictor.data.checks import check as run
    from pictor.data.quarantine import extended

    limits = Limits(min_side=min_side, max_aspect=max_aspect, max_caption=max_caption)
    found = opened(sources, image_column, caption_column, split)
    with terms(workers) as how:
        report = run(found, limits, how)
    if quarantine is not None:
        extended(quarantine, report.findings)
    if as_json:
        document = {
            "pictures": report.pictures,
            "bad": report.bad,
            "counts": report.counts,
            "converted": dict(report.notes),
            "findings": _rows(report.findings),
        }
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        wrong = counts_table("wrong", "pictures")
        for kind, count in report.counts.items():
            wrong.add_row(KINDS[kind], str(count))
        notes = counts_table("converted", "pictures")
        for note, count in sorted(report.notes.items()):
            notes.add_row(note, str(count))
        _name(report.findings)
        show(wrong, notes)
        print(f"{report.pictures} pictures, {report.bad} of them bad")
    if report.bad:
        raise typer.Exit(1)


def stats(
    sources: Sources,
    size: Annotated[int, typer.Option(help="Side in pixels that they would be prepared to.")] = 64,
    step: Annotated[int, typer.Option(help="What divides the sides of buckets.")] = 8,
    max_aspect: Annotated[float, typer.Option(help="Of buckets: longest side over the shorter one.")] = 2.0,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    split: Split = None,
    licence: Licence = "",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Count pictures by source, size, proportions, captions and licence; only their heads are read."""
    from pictor.data.buckets import Buckets
    from pictor.data.stats import stats as run

    buckets = Buckets.of_area(size, step, max_aspect)
    found = opened(sources, image_column, caption_column, split, licence)
    with terms(workers) as how:
        document = run(found, buckets, how).document()
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    tables = []
    for title, key in (
        ("source", "sources"),
        ("format", "formats"),
        ("shorter side", "shorter_side"),
        ("licence", "licences"),
    ):
        table = counts_table(title, "pictures")
        for name, count in document[key].items():
            table.add_row(printable(name) or "(not said)", str(count))
        tables.append(table)
    table = counts_table(f"bucket of {size}x{size}", "pictures", "enlarged", "kept of each")
    for row in document["buckets"]:
        table.add_row(row["bucket"], str(row["pictures"]), str(row["enlarged"]), f"{row['kept']:.0%}")
    show(*tables, table)
    words = document["captions"]
    letters = ", ".join(f"{name} {value}" for name, value in words["letters"].items())
    print(f"{document['pictures']} pictures, {document['unreadable']} that cannot be read")
    print(
        f"{words['total']} captions ({letters or 'no'} letters);"
        f" {words['pictures_without']} pictures without one, {words['pictures_with_several']} with several"
    )


def dedupe(
    sources: Sources,
    distance: Annotated[int, typer.Option(help="Of 64 bits, how many may differ; 0 to 16.")] = 4,
    quarantine: Quarantine = None,
    image_column: ImageColumn = None,
    caption_column: CaptionColumn = None,
    split: Split = None,
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Name the pictures that look like a larger one, or like an earlier one of the same size.

    Those that the quarantine lists already are not compared. Nothing is deleted or moved.
    """
    from pictor.data.checks import dedupe as run
    from pictor.data.quarantine import Quarantine as Listed
    from pictor.data.quarantine import extended

    found = opened(sources, image_column, caption_column, split)
    listed = Listed(quarantine) if quarantine is not None and quarantine.exists() else None
    with terms(workers) as how:
        skipped, findings = run(found, distance, how, listed)
    total = sum(len(entry.source) for entry in found)
    if quarantine is not None:
        extended(quarantine, findings)
    if as_json:
        document = {"pictures": total, "not_compared": skipped, "findings": _rows(findings)}
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return
    _name(findings)
    print(f"{total} pictures, {len(findings)} look like others; {skipped} were not compared")


def _rows(findings: "list[Finding]") -> list[dict[str, str]]:
    return [
        {"source": found.place, "key": found.key, "kind": found.kind, "reason": found.reason}
        for found in findings
    ]


def _name(findings: "list[Finding]") -> None:
    """Print the first few pictures, and why."""
    for found in findings[:_SHOWN]:
        print(printable(f"{found.key}: {found.reason}"))
    if len(findings) > _SHOWN:
        print(
            f"{len(findings) - _SHOWN} more are not shown; --json and --quarantine have all", file=sys.stderr
        )
