"""`pictor runs`: how trainings go, and how they compare."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pictor.cli._terminal import printable
from pictor.core.errors import InputError

if TYPE_CHECKING:
    from pictor.evaluation.runs.reading import Run

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
_Page = Annotated[
    Path | None, typer.Option(metavar="FILE.html", help="Also write a page that needs no other file.")
]


@app.callback()
def runs() -> None:
    """Look at training runs, also while they go on."""


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where runs lie, in it or below.")] = Path(
        "runs"
    ),
    as_json: _Json = False,
) -> None:
    """List runs: what they learn, where they stand, and their figures."""
    from pictor.evaluation.runs.figures import age, best, progress, short, thousands
    from pictor.evaluation.runs.reading import find_runs, read_run

    found = [
        read_run(place, place.relative_to(folder).as_posix() if place != folder else None)
        for place in find_runs(folder)
    ]
    if as_json:
        print(json.dumps([_summary(run) for run in found], indent=2))
        return
    rows = [["run", "kind", "state", "samples", "loss", "best validation", "samples/s", "last line"]]
    for run in found:
        told = best(run)
        figures = f"{short(told[1])} {told[0]}" if told else "-"
        numbers = [thousands(run.samples), short(run.points[-1].loss if run.points else None), figures]
        rows.append([run.name, run.kind, progress(run), *numbers, short(run.speed), f"{age(run)} ago"])
    _print_table(rows)


@app.command()
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.", show_default=False)],
    out: _Page = None,
    as_json: _Json = False,
) -> None:
    """Show how one run went: each tenth of it, its figures and what failed."""
    from pictor.evaluation.runs.figures import best, progress, short, span, thousands
    from pictor.evaluation.runs.reading import read_run
    from pictor.evaluation.runs.run_page import run_page
    from pictor.evaluation.runs.trace import parts

    found = read_run(run)
    if out is not None:
        _write(out, run_page(found))
    if as_json:
        print(json.dumps(_whole(found), indent=2))
        return
    reason = f" ({found.reason})" if found.reason else ""
    print(printable(f"{found.name}: {found.kind}, {progress(found)}{reason}"))
    if found.seconds is not None:
        print(f"{span(found.seconds)} of training, {short(found.speed)} samples/s")
    if told := best(found):
        print(f"best {told[0]}: {short(told[1])} at {thousands(told[2])} samples")
    traced = parts(found)
    names = list(traced[-1].figures) if traced else []
    rows = [["samples", "loss", *names, "rate", "samples/s", "what happened"]]
    for part in traced:
        figures = [short(part.figures.get(name)) for name in names]
        rate = "-" if part.rate is None else f"{part.rate:.2g}"
        rows.append(
            [thousands(part.last), short(part.loss), *figures, rate, short(part.speed), part.observation]
        )
    if len(rows) > 1:
        print()
        _print_table(rows)
    for problem in found.problems:
        print(printable(f"problem: {problem}"))


@app.command()
def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="RUN RUN...", help="Two or more runs' folders.", show_default=False),
    ],
    out: _Page = None,
    as_json: _Json = False,
) -> None:
    """Compare runs: figures beside each other, and where their recipes differ."""
    from pictor.evaluation.runs.compare import alike, compare_page, differences, final_figures
    from pictor.evaluation.runs.figures import progress, short, thousands
    from pictor.evaluation.runs.look import plain
    from pictor.evaluation.runs.reading import read_run

    if len(folders) < 2:
        raise InputError("one run is given", expected="two or more", param="runs")
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("a run is given twice", expected="different runs", param="runs")
    names = [folder.resolve().name for folder in folders]
    alone = len(set(names)) == len(names)
    found = [read_run(folder, None if alone else folder.as_posix()) for folder in folders]
    unlike = differences(found)
    if out is not None:
        _write(out, compare_page(found))
    if as_json:
        table = {one.key: list(one.values) for one in unlike}
        print(json.dumps({"runs": [_summary(run) for run in found], "recipes": table}, indent=2))
        return
    rows = [["", *(run.name for run in found)]]
    rows.append(["kind", *(run.kind for run in found)])
    rows.append(["state", *(progress(run) for run in found)])
    rows.append(["samples", *(thousands(run.samples) for run in found)])
    rows.append(["loss", *(short(run.loss) for run in found)])
    rows.append(["samples/s", *(short(run.speed) for run in found)])
    rows += [[name, *(short(value) for value in values)] for name, values in final_figures(found).items()]
    _print_table(rows)
    if not alike(found):
        print("\nobjectives differ: losses cannot be compared")
    print("\nrecipes differ in" if unlike else "\nrecipes are the same")
    _print_table([[one.key, *(_brief(plain(value)) for value in one.values)] for one in unlike])


def _brief(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


def _summary(run: "Run") -> dict[str, Any]:
    from pictor.evaluation.runs.figures import best

    told = best(run)
    return {
        "name": run.name,
        "folder": str(run.folder),
        "kind": run.kind,
        "state": run.state,
        "reason": run.reason,
        "samples": run.samples,
        "of": run.planned,
        "last_loss": run.points[-1].loss if run.points else None,
        "loss": run.loss,
        "best_validation": {"name": told[0], "value": told[1], "samples": told[2]} if told else None,
        "samples_per_second": run.speed,
        "seconds": run.seconds,
        "updated": run.updated,
        "problems": list(run.problems),
    }


def _whole(run: "Run") -> dict[str, Any]:
    from dataclasses import asdict

    from pictor.evaluation.runs.trace import parts

    return {
        **_summary(run),
        "parts": [asdict(part) for part in parts(run)],
        "validations": [{"samples": one.samples, "figures": dict(one.figures)} for one in run.validations],
        "previews": [{"samples": one.samples, "file": str(one.file)} for one in run.previews],
        "calls": [
            {**call.facts, "ended": call.ended and call.ended.isoformat(), "ended_by": call.ended_by}
            for call in run.calls
        ],
        "recipe": dict(run.recipe),
    }


def _write(page: Path, text: str) -> None:
    import sys

    from pictor.engine.files import check_writable, write_file

    if page.is_dir() or page.suffix.lower() not in (".html", ".htm"):
        raise InputError(
            f"cannot write {page}: pages are HTML files", expected="a name in .html", param="out"
        )
    if not page.parent.is_dir():
        raise InputError(f"there is no folder {page.parent}", expected="a folder that exists", param="out")
    check_writable(page.parent)
    write_file(page, text.encode(), overwrite=True)
    print(f"wrote {page}", file=sys.stderr)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (printable(text).ljust(width) for text, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
