"""`pictor train`: from a recipe to a model."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pictor.cli._train_lines import TrainingLines
from pictor.core.errors import InputError, MissingExtraError
from pictor.training.kinds import kind_names, recipe_of_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pictor.data.sources.registry import Opened
    from pictor.training.recipe import Recipe

app = typer.Typer(rich_markup_mode=None)

_FEW = 200


@app.command()
def train(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="[RECIPE.toml]", show_default=False, help="What to train, and how."),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="SOURCE", help="In the place of a recipe: pictures of yours with captions."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            show_default=False,
            help=f"In the place of a recipe: {', '.join(kind_names())}. With --data finetune is usual; "
            "without it a kind learns from the picturebook.",
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where a kind begins with a model: one of Pictor's; else the embedded one."
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the run; else runs/ and the recipe's name, or KIND-DATA."
        ),
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Save and stop after this long.")] = None,
    fit_minutes: Annotated[
        float | None, typer.Option(help="Make the run as long as fits this training time on this machine.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    processes: Annotated[int, typer.Option(help="Processes that share each batch.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda (a GPU for each process), or auto.")] = "auto",
    drawers: Annotated[int, typer.Option(help="Processes that draw samples ahead; 0 is a thread.")] = 0,
    shard: Annotated[
        bool, typer.Option("--shard", help="Each process holds a share of weights and moments only.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="Who starts the processes: local, or ray on the machines of a cluster.")
    ] = "local",
    track: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Also tell tensorboard, wandb or mlflow; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Train what a recipe describes, or a model of your own pictures.

    `pictor train --data pictures` prepares them and lets the embedded model go on learning on them;
    `pictor train --kind text-to-image` trains a model of a kind on the picturebook.

    Ctrl-C saves a checkpoint; --resume then goes on to exactly the weights of an uninterrupted run. The
    trained model's folder is printed. Also runs under torchrun.
    """
    for name, value in (("minutes", minutes), ("fit_minutes", fit_minutes)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value:g}", expected="a number above 0", param=name)
    _check_what(recipe, data, kind, base)
    resolved, folder = _recipe(recipe, data or [], kind, base, run, device, resume)
    if fit_minutes is not None:
        resolved = resolved.model_copy(update={"fit_minutes": fit_minutes})
    if track:
        named = tuple(dict.fromkeys([*resolved.track, *track]))
        resolved = resolved.model_copy(update={"track": named})
    try:
        from pictor.training.checkpoints import latest_checkpoint
        from pictor.training.engines import training_by
        from pictor.training.processes import leads
        from pictor.training.run_files import CHECKPOINTS
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pictor"):
            raise
        raise MissingExtraError(f"training needs {error.name}") from error

    first = leads()
    if first and resume and latest_checkpoint(folder / CHECKPOINTS) is None:
        print(f"note: {folder} has nothing to go on from; it begins", file=sys.stderr)
    stop = _StopOnSignal(first)
    show = TrainingLines()
    try:
        outcome = training_by(engine)(
            resolved,
            folder,
            minutes=minutes,
            resume=resume,
            processes=processes,
            device=device,
            drawers=drawers,
            shard=shard,
            on_kept=show.kept,
            on_outlook=lambda outlook: print(outlook, file=sys.stderr),
            on_progress=show,
            should_stop=stop.wanted,
        )
    finally:
        show.end()
    if not first:
        return
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


def _check_what(recipe: Path | None, data: list[str] | None, kind: str | None, base: Path | None) -> None:
    """Whether it is said once what is trained."""
    if recipe is None and not data and kind is None:
        raise InputError(
            "neither a recipe nor pictures nor a kind",
            expected="what to train",
            remedy="Pass RECIPE.toml, --data with a folder of pictures and captions, or --kind with one of "
            f"{', '.join(kind_names())}.",
            param="recipe",
        )
    if recipe is not None and data:
        raise InputError(
            "a recipe and pictures",
            expected="one of the two",
            remedy="Name the prepared folder as data in the recipe's [objective], or leave the recipe out.",
            param="recipe",
        )
    if recipe is not None and (base is not None or kind is not None):
        raise InputError(
            "a recipe is given, which says what is trained and from where",
            expected="--kind and --base without a recipe",
            param="kind" if base is None else "base",
        )


def _recipe(
    recipe: Path | None,
    data: list[str],
    kind: str | None,
    base: Path | None,
    run: Path | None,
    device: str,
    resume: bool,
) -> tuple[Recipe, Path]:
    """The recipe, and the folder of its run; with pictures they are prepared in there first."""
    from pictor.training.recipe import read_recipe, stored_recipe

    if recipe is not None:
        resolved = read_recipe(recipe)
        return resolved, run or Path("runs") / resolved.name
    try:
        from pictor.training.checkpoints import latest_checkpoint
        from pictor.training.lock import held
        from pictor.training.run_files import CHECKPOINTS, RECIPE
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training needs {error.name}") from error
    kind = kind or "finetune"
    folder = run or Path("runs") / (f"{kind}-{_called(data[0])}" if data else kind)
    if resume and (folder / RECIPE).is_file():
        return stored_recipe(folder / RECIPE), folder  # which is bound to the pictures that it began with
    if latest_checkpoint(folder / CHECKPOINTS) is not None:
        raise InputError(
            f"{folder} is a run already",
            expected="a folder of its own for each run",
            remedy="Pass --resume to go on with it, or --run for another folder.",
            param="run",
        )
    if not data:
        return _recipe_of(kind, None, base, device), folder
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _is_prepared(data):
        raise InputError(
            "pictures that are not prepared, under torchrun",
            expected="a folder that `pictor data prepare` wrote",
            remedy="Prepare them first, or let --processes start the processes.",
            param="data",
        )
    if _is_prepared(data):
        return _recipe_of(kind, Path(data[0]), base, device), folder
    sources = _opened(data)
    wished = _recipe_of(kind, folder, base, device)  # wrong wishes are told before pictures are prepared
    with held(folder):
        pictures = _prepared(sources, folder / "data", wished.objective)
    return _recipe_of(kind, pictures, base, device), folder


def _called(source: str) -> str:
    """The name of a source, without where it is from and its weight."""
    place, colon, weight = source.removeprefix("hf:").rpartition(":")
    weighted = colon and weight.replace(".", "", 1).isdecimal()
    return Path(place if weighted else source.removeprefix("hf:")).resolve().name


def _recipe_of(kind: str, data: Path | None, base: Path | None, device: str) -> Recipe:
    try:
        from pictor.training.devices import best_precision

        return recipe_of_kind(kind, data=data, base=base, precision=best_precision(device))
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pictor"):
            raise
        raise MissingExtraError(f"training needs {error.name}") from error


def _is_prepared(data: list[str]) -> bool:
    return len(data) == 1 and (Path(data[0]) / "prepared.json").is_file()


def _opened(data: list[str]) -> list[Opened]:
    from pictor.cli._data_sources import opened

    return opened(data)


def _prepared(sources: list[Opened], out: Path, objective: Mapping[str, Any]) -> Path:
    """The folder that the pictures are prepared in.

    Raises:
        InputError: none can be read; or what is trained reads words, and no picture has a caption.
    """
    from pictor.cli._data_sources import terms
    from pictor.data.buckets import Buckets
    from pictor.data.prepare import Settings, prepare
    from pictor.training.kinds import reads_words

    size = objective["size"]
    few = sum(len(entry.source) for entry in sources) < _FEW
    # Of few pictures none can be spared for validation.
    settings = Settings(buckets=Buckets.square(size), margin=size // 16, val=0.0 if few else 0.02)
    with terms(None) as how:
        summary = prepare(sources, out, settings, how)
    if summary["left_out"]:
        print(f"warning: left out: {summary['left_out']}; see {out / 'left-out.jsonl'}", file=sys.stderr)
    if enlarged := sum(summary["enlarged"].values()):
        print(
            f"warning: enlarged to {size} pixels: {enlarged} of {summary['prepared']} pictures, which show no"
            " more than they did",
            file=sys.stderr,
        )
    if not reads_words(objective):
        return out
    if summary["without_caption"] == summary["prepared"]:
        raise InputError(
            f"none of {summary['prepared']} pictures has a caption",
            expected="words to learn with the pictures",
            remedy="Write them, or let `pictor data caption` do it.",
            param="data",
        )
    if summary["without_caption"]:
        print(f"warning: {summary['without_caption']} pictures have no caption", file=sys.stderr)
    return out


class _StopOnSignal:
    """The first Ctrl-C or SIGTERM is a wish that the loop grants between steps; a second one ends at once."""

    def __init__(self, talks: bool) -> None:
        self._stop, self._talks = False, talks
        self._previous = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}

    def _handle(self, number: int, frame: object) -> None:
        self._stop = True
        for which, previous in self._previous.items():
            signal.signal(which, previous)
        if self._talks:
            print("\nsaving; Ctrl-C again stops without saving", file=sys.stderr)

    def wanted(self) -> bool:
        return self._stop
