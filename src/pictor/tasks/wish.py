"""What every picture can be asked for, and the fields that requests are made of.

A request is a frozen dataclass; each field is a parameter of the Python method and an option of the command
line, whose help is written here once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pictor.core.errors import InputError
from pictor.core.plan import Plan

Given = Any
"""A picture: a file's name, a PIL image, or uint8 pixels [H, W, 3]."""


REQUIRED = dataclasses.MISSING


def option(
    help: str,  # noqa: A002 - what the command line calls it
    default: Any = None,
    *,
    cli: str | None = None,
    metavar: str | None = None,
    picture: bool = False,
) -> Any:
    """A field with a default.

    Args:
        help: one line.
        default: where the user does not say; None stands for the model's own, REQUIRED for none.
        cli: the option's name on the command line where it is not the field's.
        metavar: what its value is called there.
        picture: the value is a picture.
    """
    notes = {"help": help, "cli": cli, "metavar": metavar, "picture": picture}
    return dataclasses.field(default=default, metadata=notes)


def argument(
    help: str,  # noqa: A002
    default: Any = dataclasses.MISSING,
    *,
    metavar: str | None = None,
    picture: bool = False,
) -> Any:
    """A field without a name on the command line, in the order of the fields; without a default, required."""
    notes = {"help": help, "cli": None, "metavar": metavar, "picture": picture, "argument": True}
    return dataclasses.field(default=default, metadata=notes)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What every task that paints can be asked for."""

    negative_prompt: str = option("What to keep away from.", "", cli="negative", metavar="TEXT")
    seed: int = option("Picture i of several has seed + i.", 0)
    num_steps: int | None = option("Steps from noise to picture.", cli="steps")
    guidance_scale: float | None = option(
        "How closely to follow the prompt; 1 is no guidance.", cli="guidance"
    )
    guidance_from: float | None = option("Guide from this share of the way on; 0 is noise.")
    guidance_until: float | None = option("Guide until this share of the way, up to 1.")
    guidance_rescale: float = option("Give back the contrast that guidance adds, from 0 to 1.", 0.0)
    solver: str | None = option("How to step; see `pictor solvers`.", metavar="NAME")
    spacing: str | None = option("Where to step; see `pictor solvers`.", metavar="NAME")
    size: tuple[int, int] | None = option("In pixels.", metavar="WxH")
    tile: str = option("Continue the picture across its sides: x, y or xy.", "", metavar="x|y|xy")
    control: Given = option(
        "A picture of shapes to follow, for the model's control network.", metavar="IMAGE", picture=True
    )
    control_weight: float = option("How closely to follow it; 1 is as it was trained.", 1.0)
    control_until: float = option("For how much of the way, from 0 to 1.", 1.0)
    like: Given = option(
        "A picture to be like, for the model's picture adapter.", metavar="IMAGE", picture=True
    )
    like_weight: float = option("How much to be like it, from 0 to 1 and beyond.", 0.6)
    latents: Any = None
    """[count, C, h, w], or [C, h, w] for all: the noise to begin with, in the place of the seed's."""


@dataclass(frozen=True, kw_only=True)
class Several(Wish):
    """A wish for one or more pictures that differ in their seeds."""

    count: int = option("How many pictures.", 1)


COMMON = frozenset(
    {"prompt", "negative_prompt", "seed", "num_steps", "guidance_scale", "solver", "spacing", "size", "count"}
)
"""Fields of requests that a recipe tells of by fields of its own."""

_CHOOSING = frozenset({"candidates"})
"""Fields that decide which pictures are kept: each of these is what its seed makes alone."""


def own_parameters(request: Any, plan: Plan) -> dict[str, Any]:
    """What a request asks beyond COMMON and its inputs, where it is not the default.

    Its prompt is among them where the plan made other words of it.
    """
    asked = {
        field.name: getattr(request, field.name)
        for field in dataclasses.fields(request)
        if field.name not in COMMON | _CHOOSING and field.name not in plan.inputs
    }
    told = {field.name: field.default for field in dataclasses.fields(request) if field.name in asked}
    parameters = {
        name: value for name, value in asked.items() if value is not told[name] and value != told[name]
    }
    if plan.stages and {"guidance_from", "guidance_until"} <= asked.keys():
        # The model's own interval may be another one day.
        ends = zip(
            ("guidance_from", "guidance_until"), plan.stages[-1].guiding.interval, (0.0, 1.0), strict=True
        )
        parameters |= {name: end for name, end, usual in ends if end != usual}
    prompt = getattr(request, "prompt", None)
    if isinstance(prompt, str) and plan.enlarge is None and prompt != plan.conditions[0].prompt:
        parameters["prompt"] = prompt
    return parameters


def given(request: Any, but: Collection[str]) -> list[str]:
    """The fields of a request that are not as they are by default, besides these."""
    return [
        field.name
        for field in dataclasses.fields(request)
        if field.name not in but and not _same(getattr(request, field.name), field.default)
    ]


def _same(value: Any, default: Any) -> bool:
    # Of another type is another: an array gives no plain answer to whether it equals a default.
    numbers = isinstance(value, int | float) and isinstance(default, int | float)
    return (numbers or type(value) is type(default)) and bool(value == default)


def remade(request: type[Any], recipe: Any, inputs: Mapping[str, Any]) -> Any:
    """The request that a recipe tells of.

    Args:
        request: a task's.
        recipe: a `pictor.core.recipe.Recipe`.
        inputs: the given pictures and latents, by the names of the request's fields.

    Raises:
        InputError: an input is missing, or a parameter is none of this task's.
    """
    fields = {field.name for field in dataclasses.fields(request)}
    parameters = {name: _tupled(value) for name, value in recipe.parameters.items()}
    unknown = sorted({*parameters, *recipe.inputs} - fields)
    if unknown:
        raise InputError(
            f"the recipe tells of {', '.join(unknown)}, which {recipe.task} does not have",
            expected="the recipe of a picture",
            remedy="Use the version of Pictor that wrote it.",
        )
    missing = sorted(set(recipe.inputs) - set(inputs))
    if missing:
        raise InputError(
            f"the picture was made from {', '.join(missing)}, which its file does not hold",
            expected="the files that it was made from",
            remedy="Pass each with --input.",
            param="input",
        )
    common = {
        "prompt": recipe.prompt,
        "negative_prompt": recipe.negative_prompt,
        "seed": recipe.seed,
        "num_steps": recipe.num_steps,
        "guidance_scale": recipe.guidance_scale,
        "solver": recipe.solver,
        "spacing": recipe.spacing,
        "size": (recipe.width, recipe.height),
        "count": recipe.count,
        # Recipes tell of an interval only where it is not the whole way.
        "guidance_from": 0.0,
        "guidance_until": 1.0,
    }
    if recipe.num_steps == 0:  # nothing was denoised, and so nobody said how
        words = ("prompt", "negative_prompt", "guidance_scale") if recipe.prompt else ()
        common = {name: common[name] for name in ("seed", "size", "count", *words)}
    given = {name: inputs[name] for name in recipe.inputs}
    return request(**{name: value for name, value in common.items() if name in fields} | parameters | given)


def _tupled(value: Any) -> Any:
    """JSON has lists where requests have tuples."""
    return tuple(_tupled(item) for item in value) if isinstance(value, list) else value
