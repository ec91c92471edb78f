"""Train the picturebook model on one GPU by a clock, in several calls that go on where the last one ended.

    python recipes/picturebook-gpu/run.py --state STATE --out OUT --minutes 9
    python recipes/picturebook-gpu/run.py --join OUT --into MODEL

The first form is called again until it prints "finished"; STATE must be kept in between, OUT need not.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictor.backends.export import export_folder
from pictor.core.errors import InputError, PictorError
from pictor.training.loop import train
from pictor.training.parcels import join_parcels, split_folder
from pictor.training.recipe import Recipe, read_recipe, validated
from pictor.training.terms import Progress

HERE = Path(__file__).parent
STAGES = ("text-attributes", "autoencoder", "denoiser", "distillation")
WHOLE = ("denoiser", "distillation")
"""Stages whose models are complete; the later one is the better."""

_CONCLUDING = 0.5
"""Minutes kept back for what follows a stage's last step: validation, writing, packing. No stage is begun
with less than as much on top."""
_LINE_SECONDS = 20.0

TINY: dict[str, dict[str, Any]] = {
    "text-attributes": {"width": 32, "layers": 1},
    "autoencoder": {"size": 32, "channels": 8, "width": 8, "blocks": [1, 1, 1, 1]},
    "denoiser": {"size": 32, "channels": [32, 32, 32]},
    "distillation": {"student_steps": 2, "teacher_steps": 4},
}
"""Objective keys of the rehearsal; all else, the fitted clock and the precision too, is the real recipes'."""
_TINY_RUN = {"fit_minutes": 0.03, "batch_size": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one call may do."""

    state: Path
    out: Path
    minutes: float
    tiny: bool
    unfinished: bool
    device: str
    drawers: int


def recipe_of(stage: str, state: Path, tiny: bool) -> Recipe:
    """A stage's recipe, its `runs/` in the state's folder, at full scale or at the rehearsal's."""
    recipe = read_recipe(HERE / f"{stage}.toml")
    table = recipe.model_dump()
    if tiny:
        table |= _TINY_RUN | {"objective": recipe.objective | TINY[stage]}
    table["objective"] = {key: _placed(value, state) for key, value in table["objective"].items()}
    return validated(Recipe, table, stage)


def _placed(value: object, state: Path) -> object:
    if isinstance(value, str) and value.startswith("runs/"):
        return str(state / value.removeprefix("runs/"))
    return value


def _write(path: Path, value: object) -> None:
    """A small file, whole or not at all."""
    temporary = path.with_suffix(".writing")
    temporary.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    temporary.rename(path)


class _Lines:
    """A line on stderr now and then."""

    def __init__(self, stage: str) -> None:
        self.stage, self.last = stage, 0.0
        self.newest: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self.newest = progress
        if time.monotonic() - self.last > _LINE_SECONDS:
            self.last = time.monotonic()
            print(
                f"{self.stage}  {progress.samples_seen}/{progress.samples} samples  loss {progress.loss:.4g}"
                f"  {progress.samples_per_second:.0f}/s",
                file=sys.stderr,
                flush=True,
            )


def go_on(options: Options) -> bool:
    """Train until the minutes are over or nothing is left to do; true if nothing is."""
    started = time.monotonic()
    options.state.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    report: dict[str, object] = {}
    done = False
    try:
        done = _stages(options, started, report)
    finally:  # what there is, also where a stage fails
        _pack(options)
        _write(options.out / "progress.json", {"finished": done, "stages": report})
    return done


def _stages(options: Options, started: float, report: dict[str, object]) -> bool:
    """Train what is not finished, stage after stage, and report of each; true if all are finished."""
    kept_back = 0.0 if options.tiny else _CONCLUDING
    for stage in STAGES:
        marker = options.state / stage / "finished.json"
        if marker.is_file():
            report[stage] = json.loads(marker.read_text(encoding="utf-8"))
            continue
        left = options.minutes - (time.monotonic() - started) / 60 - kept_back
        begun = (options.state / stage).is_dir()
        if left <= kept_back and not (options.unfinished and begun):
            return False
        lines = _Lines(stage)
        outcome = train(
            recipe_of(stage, options.state, options.tiny),
            options.state / stage,
            minutes=max(0.0, left),
            resume=True,
            device=options.device,
            drawers=options.drawers,
            publish_unfinished=options.unfinished,
            graphs=False,
            on_progress=lines,
        )
        speed = lines.newest.samples_per_second if lines.newest else 0.0
        report[stage] = {
            "samples": outcome.samples_seen,
            "of": lines.newest.samples if lines.newest else outcome.samples_seen,
            "samples_per_second": round(speed, 1),
            "figures": outcome.figures,
        }
        if not outcome.finished:
            return False
        _write(marker, report[stage])
        _pack(options)  # a call that is killed later has brought this much
    return True


def _pack(options: Options) -> None:
    """Parcels of the best complete model so far, with the recipes and logs of all stages beside it."""
    written = [stage for stage in WHOLE if (options.state / stage / "model").is_dir()]
    if not written:
        return
    bundle = options.state / ".bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    shutil.copytree(options.state / written[-1] / "model", bundle / "model", copy_function=os.link)
    for stage in STAGES:
        for name in ("recipe.json", "log.jsonl", "finished.json"):
            if (options.state / stage / name).is_file():
                (bundle / "training" / stage).mkdir(parents=True, exist_ok=True)
                shutil.copy(options.state / stage / name, bundle / "training" / stage / name)
    split_folder(bundle, options.out, most_files=7)  # and progress.json
    shutil.rmtree(bundle)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--state", type=Path, help="folder that is kept between calls")
    parser.add_argument("--out", type=Path, help="folder for what is carried away")
    parser.add_argument("--minutes", type=float, default=9.0, help="length of this call")
    parser.add_argument("--scale", choices=("full", "tiny"), default="full", help="tiny rehearses on a CPU")
    parser.add_argument("--unfinished", action="store_true", help="write a begun stage as far as it is")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--drawers", type=int, default=max(0, (os.cpu_count() or 1) - 1))
    parser.add_argument("--join", type=Path, metavar="OUT", help="put a model together again")
    parser.add_argument("--into", type=Path, metavar="FOLDER")
    chosen = parser.parse_args(argv)
    try:
        if chosen.join or chosen.into:
            if not (chosen.join and chosen.into):
                raise InputError("one of --join and --into is missing", expected="both")
            model = join_parcels(chosen.join, chosen.into) / "model"
            export_folder(model)
            print(model)
            return 0
        if not (chosen.state and chosen.out):
            raise InputError("--state or --out is missing", expected="both")
        options = Options(
            state=chosen.state.resolve(),
            out=chosen.out.resolve(),
            minutes=chosen.minutes,
            tiny=chosen.scale == "tiny",
            unfinished=chosen.unfinished,
            device=chosen.device,
            drawers=chosen.drawers,
        )
        print("finished" if go_on(options) else "unfinished; the same command goes on")
    except PictorError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
