"""Pictures from words."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pictor.core.errors import InputError
from pictor.core.notices import PictorWarning
from pictor.core.plan import Conditions, Plan, Stage, Traits
from pictor.core.predictions import x0_weights
from pictor.core.recipe import Recipe
from pictor.core.spacings import spacing as spacing_named
from pictor.sampling import solver as solver_named
from pictor.tasks.checks import (
    MAX_COUNT,
    MAX_STEPS,
    check_guidance,
    check_integer,
    check_seeds,
    check_size,
    check_text,
)
from pictor.tasks.registry import Task

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Text2Image:
    """The wish; None stands for the model's own default."""

    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    """Of the first picture; picture i has seed + i."""
    num_steps: int | None = None
    guidance_scale: float | None = None
    solver: str | None = None
    spacing: str | None = None
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    count: int = 1
    latents: ArrayLike | None = None
    """The state at the first level, [count, C, h, w] or [C, h, w] of one, taken as it is."""


def plan_text2image(request: Text2Image, traits: Traits) -> Plan:
    """Check the wish against what the model can do, and lay out its one stage.

    Raises:
        InputError: a parameter is out of its range.
        PlanError: the levels do not fit the model's prediction.
    """
    defaults = traits.defaults
    prompt = check_text(request.prompt, "prompt")
    negative = check_text(request.negative_prompt, "negative_prompt", allow_empty=True)
    count = check_integer(request.count, "count", 1, MAX_COUNT)
    seeds = check_seeds(request.seed, count)
    guidance = check_guidance(_or(request.guidance_scale, defaults.guidance_scale))
    size = check_size(_or(request.size, defaults.size), traits)
    steps = check_integer(_or(request.num_steps, defaults.num_steps), "num_steps", 1, MAX_STEPS)
    solver = _or(request.solver, defaults.solver)
    spacing = _or(request.spacing, defaults.spacing)
    compile_solver = solver_named(solver)
    levels = tuple(spacing_named(spacing)(traits.path, steps))
    for step in compile_solver(levels):
        x0_weights(traits.prediction, step.level, traits.sigma_data)
    if negative.strip() and guidance == 1.0:
        warnings.warn("the negative prompt has no effect at guidance 1", PictorWarning, stacklevel=2)
    if guidance == 0.0:
        warnings.warn("the prompt has no effect at guidance 0", PictorWarning, stacklevel=2)
    shape = (traits.latent_channels, size[1] // traits.latent_stride, size[0] // traits.latent_stride)
    start = None if request.latents is None else _checked_latents(request.latents, (count, *shape))
    stage = Stage(
        size=size,
        latent_shape=shape,
        conditions=Conditions(prompt=prompt, negative_prompt=negative, guidance_scale=guidance),
        solver=solver,
        levels=levels,
        start=start,
    )
    inputs = {} if start is None else {"latents": hashlib.sha256(start.tobytes()).hexdigest()}
    return Plan(task=TASK.name, spacing=spacing, seeds=seeds, stages=(stage,), inputs=inputs)


def remake_text2image(recipe: Recipe) -> Text2Image:
    """The request that made a picture.

    Raises:
        InputError: the picture came from latents that its file does not hold.
    """
    if recipe.inputs:
        raise InputError(
            f"the picture was made from {', '.join(sorted(recipe.inputs))}, which its file does not hold",
            expected="a picture made from words and a seed alone",
        )
    return Text2Image(
        prompt=recipe.prompt,
        negative_prompt=recipe.negative_prompt,
        seed=recipe.seed,
        num_steps=recipe.num_steps,
        guidance_scale=recipe.guidance_scale,
        solver=recipe.solver,
        spacing=recipe.spacing,
        size=(recipe.width, recipe.height),
        count=recipe.count,
    )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _checked_latents(latents: ArrayLike, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
    try:
        start = np.asarray(latents, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"latents are no array of numbers ({error})", expected=f"the shape {list(shape)}", param="latents"
        ) from None
    if start.shape == shape[1:] and shape[0] == 1:
        start = start[None]
    if start.shape != shape:
        raise InputError(
            f"latents have the shape {list(start.shape)}",
            expected=f"the shape {list(shape)}",
            param="latents",
        )
    if not np.isfinite(start).all():
        raise InputError("latents hold a number that is not finite", param="latents")
    return np.ascontiguousarray(start)


TASK = Task(name="text2image", request=Text2Image, plan=plan_text2image, remake=remake_text2image)
