"""The folder of a run: whose it is, and where it goes on."""

from __future__ import annotations

import json
from pathlib import Path

from pictor.core.errors import InputError
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.recipe import Recipe, validated


def claim(run: Path, recipe: Recipe, resume: bool) -> Path | None:
    """Take a run folder for this recipe.

    Returns:
        The checkpoint to go on from, None for a new run.

    Raises:
        InputError: the folder holds a run, and `resume` is false or it was started with another recipe.
    """
    stored = run / "recipe.json"
    checkpoint = latest_checkpoint(run / "checkpoints")
    if checkpoint is None:
        run.mkdir(parents=True, exist_ok=True)
        stored.write_text(recipe.model_dump_json(indent=1), encoding="utf-8")
        return None
    if not resume:
        raise InputError(
            f"run {run} has a checkpoint already",
            expected="an empty run folder",
            remedy="Pass --resume to go on, or --run for another folder.",
            param="run",
        )
    # Compared as JSON, where a tuple that was written comes back as the list it became; read as a recipe
    # first, since keys that the run did not know have their defaults.
    begun = validated(Recipe, json.loads(stored.read_text(encoding="utf-8")), f"recipe {stored}")
    if begun.model_dump(mode="json") != recipe.model_dump(mode="json"):
        raise InputError(
            f"run {run} was started with another recipe",
            expected=f"the recipe in {stored}",
            remedy="Use that recipe, or --run for another folder.",
            param="recipe",
        )
    return checkpoint
