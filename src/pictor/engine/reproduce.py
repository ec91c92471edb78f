"""Make a picture again from its recipe, and say how far off the result is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.errors import InputError, ModelError
from pictor.engine.pictures import Picture, sequence, sheet
from pictor.engine.studio import OnProgress, ShouldStop, Studio
from pictor.tasks.registry import task_named
from pictor.tasks.wish import remade

if TYPE_CHECKING:
    from PIL import Image

    from pictor.core.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Between two pictures, in levels of 0 to 255; None where their sizes differ."""

    maximum: int | None
    mean: float | None

    @property
    def identical(self) -> bool:
        return self.maximum == 0


def reproduce(
    recipe: Recipe,
    studio: Studio,
    *,
    inputs: Mapping[str, Any] | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> Picture:
    """The picture, sheet or strip that a recipe tells of.

    Args:
        recipe: of the picture.
        studio: with its model.
        inputs: the pictures and latents that it was made from, by the names in `recipe.inputs`.
        on_progress: called after each step.
        should_stop: asked between steps.

    Raises:
        ModelError: the studio's model is not the recipe's.
        InputError: an input is missing or is another one, or the recipe needs adapters.
        Cancelled: should_stop said so.
    """
    if recipe.adapters != studio.bundle.adapters:
        raise InputError(
            f"the picture was made with {_named(recipe.adapters)}, and this is the model with"
            f" {_named(studio.bundle.adapters)}",
            expected="the same adapters at the same weights",
            remedy="Pass each with --lora FILE:WEIGHT.",
            param="lora",
        )
    # Where nothing was denoised, the network that enlarges may have made the picture.
    enlarged = recipe.num_steps == 0 and recipe.task == "upscale"
    here = studio.bundle.enlarger_hash if enlarged else studio.bundle.model_hash
    if recipe.model_hash != here:
        raise ModelError(
            f"the picture was made by {recipe.model_name} ({recipe.model_hash[:10]}),"
            f" and this is {studio.traits.name} ({here[:10] or 'without a network that enlarges'})",
            remedy="Pass the folder of its model with --model.",
            param="model",
        )
    task = task_named(recipe.task)
    plan = studio.plan(remade(task.request, recipe, inputs or {}))
    for name, digest in recipe.inputs.items():
        if plan.inputs.get(name) != digest:
            raise InputError(
                f"the given {name} is not the one that the picture was made from",
                expected=f"the one whose pixels have the SHA-256 {digest[:10]}...",
                param="input",
            )
    strip = recipe.layout == "strip"
    pictures = studio.run(plan, frames=strip, on_progress=on_progress, should_stop=should_stop)
    if strip:
        return pictures[0].strip()
    if recipe.layout == "sequence":
        return sequence(pictures)
    return sheet(pictures) if recipe.layout == "grid" else pictures[0]


def _named(adapters: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({digest[:10]})" for name, digest in sorted(adapters.items())) or "no adapter"


def compare(one: Image.Image, other: Image.Image) -> Difference:
    """How far two pictures are apart, over all pixels and channels."""
    if one.size != other.size:
        return Difference(maximum=None, mean=None)
    gap = np.abs(np.asarray(one.convert("RGB"), np.int16) - np.asarray(other.convert("RGB"), np.int16))
    return Difference(maximum=int(gap.max()), mean=float(gap.mean()))
