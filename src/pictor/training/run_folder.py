"""The folder of a run: whose it is, and where it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pictor.core.errors import InputError
from pictor.engine.files import write_file
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.recipe import WATCHING, Recipe, stored_recipe
from pictor.training.run_files import CHECKPOINTS, RECIPE


def claim(run: Path, recipe: Recipe, resume: bool) -> Path | None:
    """Take a run folder for this recipe. What only decides how a run is watched may change when it goes on.

    Returns:
        The checkpoint to go on from, None for a new run.

    Raises:
        InputError: the folder holds a run, and `resume` is false or it was started with another recipe.
    """
    stored = run / RECIPE
    checkpoint = latest_checkpoint(run / CHECKPOINTS)
    if checkpoint is None:
        run.mkdir(parents=True, exist_ok=True)
        _store(stored, recipe)
        return None
    if not resume:
        raise InputError(
            f"run {run} has a checkpoint already",
            expected="an empty run folder",
            remedy="Pass --resume to go on, or --run for another folder.",
            param="run",
        )
    # Compared as JSON, where a tuple that was written comes back as the list it became.
    if _decisive(stored_recipe(stored)) != _decisive(recipe):
        raise InputError(
            f"run {run} was started with another recipe",
            expected=f"the recipe in {stored}",
            remedy="Use that recipe, or --run for another folder.",
            param="recipe",
        )
    _store(stored, recipe)
    return checkpoint


def _decisive(recipe: Recipe) -> dict[str, Any]:
    return recipe.model_dump(mode="json", exclude=set(WATCHING))


def _store(file: Path, recipe: Recipe) -> None:
    write_file(file, recipe.model_dump_json(indent=1).encode(), overwrite=True)
