"""Pictures near to another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.geometry import slerp
from pictor.core.noise import picture_noise
from pictor.core.plan import Origin, Plan, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds, check_size
from pictor.tasks.inputs import covering, digest, fitting, read_pixels, recipe_in
from pictor.tasks.registry import Task
from pictor.tasks.stages import check_share, common_inputs, given_or, latent_shape, settle, stage
from pictor.tasks.wish import Given, Several, argument, option

if TYPE_CHECKING:
    from pictor.core.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Vary(Several):
    """Make pictures that are near to another.

    A picture that this model made of words begins with its own noise, moved towards another seed's; any other
    picture is noised, and denoised again.
    """

    image: Given = argument("The picture.", metavar="IMAGE", picture=True)
    amount: float = option("How far to go, up to 1.", 0.3)
    prompt: str = option("What to show; else what the picture was made of.", "", metavar="TEXT")


def plan_vary(request: Vary, traits: Traits) -> Plan:
    """Begin between the picture's noise and another, or with the picture noised.

    Raises:
        InputError: a parameter is out of its range, or the picture cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    seeds = check_seeds(request.seed, check_integer(request.count, "count", 1, MAX_COUNT))
    amount = check_share(request.amount, "amount")
    pixels = read_pixels(request.image, "image")
    recipe = recipe_in(request.image, "image")
    known = recipe is not None and _is_own(recipe, traits)
    if recipe is not None and known:
        request = _completed(request, recipe)
    settled = settle(request, traits)
    conditions = settled.conditions([request.prompt] * len(seeds), allow_empty=True)
    if recipe is not None and known:
        size = check_size(given_or(request.size, (recipe.width, recipe.height)), traits)
        shape = latent_shape(size, traits)
        own = picture_noise(recipe.seed, shape)
        more: dict[str, Any] = {
            "noise": np.stack([slerp(own, picture_noise(seed, shape), amount) for seed in seeds])
        }
    else:
        wanted = None if request.size is None else check_size(request.size, traits)
        size = wanted or fitting(pixels.shape[1], pixels.shape[0], traits)
        origin = Origin(pictures=(covering(pixels, size),), between=((0, 0, 0.0),) * len(seeds))
        more = {"origin": origin, "strength": ("amount", amount)}
    painted = stage(request, settled, traits, size=size, conditions=conditions, **more)
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds,
        stages=(painted,),
        inputs={"image": digest(pixels), **common_inputs(painted, request)},
    )


def _is_own(recipe: Recipe, traits: Traits) -> bool:
    """Whether the picture began with the noise of its seed, in this model."""
    plain = recipe.task == "text2image" and recipe.layout == "picture" and not recipe.inputs
    return plain and recipe.model_name == traits.name


def _completed(request: Vary, recipe: Recipe) -> Vary:
    """What the user does not say is as it was."""
    return replace(
        request,
        prompt=request.prompt or recipe.prompt,
        negative_prompt=request.negative_prompt or recipe.negative_prompt,
        num_steps=given_or(request.num_steps, recipe.num_steps),
        guidance_scale=given_or(request.guidance_scale, recipe.guidance_scale),
        solver=given_or(request.solver, recipe.solver),
        spacing=given_or(request.spacing, recipe.spacing),
        tile=request.tile or str(recipe.parameters.get("tile", "")),
    )


TASK = Task(
    name="vary", verb="vary", request=Vary, plan=plan_vary, needs=frozenset({"text", "whole", "encode"})
)
