"""`pictor evaluate`: how well a model does what it is asked."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pictor.core.errors import InputError

if TYPE_CHECKING:
    from pictor.engine.studio import Studio
    from pictor.evaluation.judge import Judge
    from pictor.evaluation.training_book import TrainingBook

app = typer.Typer(rich_markup_mode=None)

_REPORT, _PAGE = "report.json", "report.html"
_PICTURES = 16
"""Of a model that reads no words, for each that is counted: two splits, two languages, four kinds."""


@app.command()
def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A diffusers folder; else the embedded model.")
    ] = None,
    count: Annotated[
        int,
        typer.Option(
            help="Prompts of each kind, seen and held out, in each of two languages; of a model that reads no"
            " words a sixteenth of its pictures."
        ),
    ] = 16,
    kinds: Annotated[
        str | None, typer.Option(metavar="LIST", help="Among single,counted,related,styled; else all.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps from noise to picture.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How closely to follow the prompt.")] = None,
    solver: Annotated[str | None, typer.Option(metavar="NAME", help="See `pictor solvers`.")] = None,
    seed: Annotated[int, typer.Option(help="Of the prompts and of the pictures.")] = 0,
    judge: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A trained judge; else the one that comes with Pictor.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--everything", help="Ask also for what the model's own book did not hold.")
    ] = False,
    corpus_seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the picturebook that the model was trained on; else what its folder says."
        ),
    ] = None,
    font: Annotated[
        Path | None, typer.Option(metavar="FILE", help="NotoColorEmoji.ttf; else the system's.")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="auto, onnx or torch.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help=f"Also write {_REPORT} and {_PAGE} there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure what a model makes of prompts, by a judge that was trained on real renders.

    Seen and held-out compositions, in English and Chinese, beside the judge's own ceiling on real renders,
    the autoencoder's reconstructions, retrieval of training pictures, and chance. The default makes 304
    pictures. Of a model that reads no words: how a set of its pictures lies beside real renders.
    """
    from pictor.cli._progress import ProgressLine
    from pictor.data.picturebook.font import find_font
    from pictor.engine.files import check_writable
    from pictor.engine.studio import load, model_folder
    from pictor.evaluation.evaluate import Wish
    from pictor.evaluation.evaluate import evaluate as measure
    from pictor.evaluation.judge import Judge, default_judge
    from pictor.evaluation.page import page
    from pictor.evaluation.prompts import KINDS, check_wish
    from pictor.evaluation.report import document, table
    from pictor.evaluation.training_book import TrainingBook, training_book

    chosen = KINDS if kinds is None else tuple(kind.strip() for kind in kinds.split(",") if kind.strip())
    check_wish(chosen, count)
    for name, value in (("seed", seed), ("corpus-seed", corpus_seed)):
        if value is not None and not 0 <= value < 2**32:
            raise InputError(f"{name} is {value}", expected="an integer from 0 to 4294967295", param=name)
    if out is not None:
        check_writable(out)
        for name in (_REPORT, _PAGE):
            if (out / name).exists():
                raise InputError(
                    f"{out / name} is there already",
                    expected="a folder without a report",
                    remedy="Name another folder with --out.",
                    param="out",
                )
    find_font(font)
    seer = Judge(judge or default_judge())
    studio = load(model, backend=backend)
    book = training_book(model_folder(model))
    if corpus_seed is not None:
        book = replace(book or TrainingBook(), seed=corpus_seed)
    if "text" not in studio.traits.abilities:
        if kinds is not None or everything:
            raise InputError(
                f"{studio.traits.name} reads no words",
                expected="neither kinds of prompts nor --everything",
                param="kinds" if kinds is not None else "everything",
            )
        _check_wordless(count)
        asked = {"num_steps": steps, "guidance_scale": guidance, "solver": solver}
        given = {name: value for name, value in asked.items() if value is not None}
        _unprompted(studio, seer, _PICTURES * count, seed, given, book, font, out, as_json)
        return
    wish = Wish(
        kinds=chosen,
        count=count,
        seed=seed,
        num_steps=steps,
        guidance_scale=guidance,
        solver=solver,
        trained_on=book,
        everything=everything,
        font=font,
    )
    with ProgressLine() as progress:
        found = measure(
            studio, seer, wish, on_progress=progress, say=lambda line: print(f"{line} ...", file=sys.stderr)
        )
    report = document(found)
    if out is not None:
        text = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        _write(out, {_REPORT: text, _PAGE: page(found)})
    print(json.dumps(report, indent=2) if as_json else table(found))


def _check_wordless(count: int) -> None:
    """Refuse a count that asks for too many pictures of a model that reads no words."""
    from pictor.evaluation.unprompted import MAX_PICTURES

    most = MAX_PICTURES // _PICTURES
    if count > most:
        raise InputError(
            f"count is {count}",
            expected=f"an integer from 1 to {most} for a model that reads no words: {_PICTURES} times as many"
            " pictures are asked for",
            param="count",
        )


def _unprompted(
    studio: "Studio",
    judge: "Judge",
    pictures: int,
    seed: int,
    settings: dict[str, str | int | float],
    book: "TrainingBook | None",
    font: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """The same of a model that reads no words."""
    from pictor.cli._progress import ProgressLine
    from pictor.evaluation.unprompted import evaluate_unprompted, unprompted_document, unprompted_table
    from pictor.evaluation.unprompted_page import unprompted_page

    with ProgressLine() as progress:
        found = evaluate_unprompted(
            studio,
            judge,
            pictures=pictures,
            seed=seed,
            settings=settings,
            trained_on=book,
            font=font,
            on_progress=progress,
            say=lambda line: print(f"{line} ...", file=sys.stderr),
        )
    report = json.dumps(unprompted_document(found), indent=1, ensure_ascii=False)
    if out is not None:
        _write(out, {_REPORT: report + "\n", _PAGE: unprompted_page(found)})
    print(report if as_json else unprompted_table(found))


def _write(folder: Path, texts: dict[str, str]) -> None:
    """Write these files into a folder, which is made where it is missing."""
    from pictor.engine.files import write_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder} ({error.strerror})", param="out") from None
    for name, text in texts.items():
        write_file(folder / name, text.encode(), overwrite=True)
    print(f"wrote {' and '.join(str(folder / name) for name in texts)}", file=sys.stderr)
