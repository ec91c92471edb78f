"""The way from one picture to another: between prompts, seeds or given pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pictor.core.errors import InputError
from pictor.core.geometry import slerp
from pictor.core.noise import picture_noise
from pictor.core.plan import Conditions, Origin, Plan, Traits
from pictor.tasks.checks import MAX_COUNT, SEED_LIMIT, check_integer, check_seeds, check_size
from pictor.tasks.inputs import covering, digest, fitting, is_picture, read_pixels
from pictor.tasks.registry import Task
from pictor.tasks.stages import Settled, common_inputs, given_or, latent_shape, settle, stage
from pictor.tasks.wish import Wish, argument, option


@dataclass(frozen=True, kw_only=True)
class Interpolate(Wish):
    """Show the way from one prompt, seed or picture to another, as a strip, a film and its pictures."""

    a: Any = argument("Where to begin: words, a seed, or the file of a picture.", metavar="A")
    b: Any = argument("Where to end: the same kind.", metavar="B")
    frames: int = option("How many pictures, both ends among them.", 9)
    prompt: str = option("What to show; between seeds it must be said.", "", metavar="TEXT")
    strength: float = option("Between pictures: the share of the steps that each is painted again with.", 0.3)
    only: int | None = None
    """The number of one picture, from 0, to make it alone."""


def plan_interpolate(request: Interpolate, traits: Traits) -> Plan:
    """Lay out all pictures of the way.

    Prompts are mixed as embeddings, seeds as noise and pictures as latents; noise and latents on an arc.

    Raises:
        InputError: the ends are of two kinds, or a parameter is out of its range.
        PlanError: the levels do not fit the model's prediction.
    """
    frames = check_integer(request.frames, "frames", 2, MAX_COUNT)
    chosen = range(frames)
    if request.only is not None:
        chosen = range(number := check_integer(request.only, "only", 0, frames - 1), number + 1)
    ways = [index / (frames - 1) for index in chosen]
    kind = _kind(request.a, "a")
    if kind != _kind(request.b, "b"):
        raise InputError(
            f"a is a {kind} and b a {_kind(request.b, 'b')}",
            expected="two prompts, two seeds, or the files of two pictures",
            param="b",
        )
    [seed] = check_seeds(request.seed, 1)
    settled = settle(request, traits)
    size = None if request.size is None else check_size(request.size, traits)
    more: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    if kind == "prompt":
        if request.prompt:
            raise InputError("a and b are prompts already", expected="no further prompt", param="prompt")
        conditions = _between(settled, request.a, request.b, ways)
    elif kind == "seed":
        conditions = settled.conditions([request.prompt] * len(ways))
        size = size or check_size(traits.defaults.size, traits)
        ends = [picture_noise(_seed(end, param), latent_shape(size, traits)) for end, param in _ends(request)]
        more["noise"] = np.stack([slerp(ends[0], ends[1], way) for way in ways])
        if request.latents is not None:
            raise InputError("seeds and latents both say the noise", expected="one of them", param="latents")
    else:
        conditions = settled.conditions([request.prompt] * len(ways), allow_empty=True)
        pictures = [read_pixels(end, param) for end, param in _ends(request)]
        size = size or fitting(pictures[0].shape[1], pictures[0].shape[0], traits)
        more["origin"] = Origin(
            pictures=tuple(covering(picture, size) for picture in pictures),
            between=tuple((0, 1, way) for way in ways),
        )
        more["strength"] = ("strength", request.strength)
        inputs = {"a": digest(pictures[0]), "b": digest(pictures[1])}
    size = size or check_size(given_or(request.size, traits.defaults.size), traits)
    painted = stage(request, settled, traits, size=size, conditions=conditions, **more)
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=(seed,) * len(ways),
        stages=(painted,),
        inputs={**inputs, **common_inputs(painted, request)},
        each=[{"only": index} for index in chosen],
    )


def _ends(request: Interpolate) -> Sequence[tuple[Any, str]]:
    return (request.a, "a"), (request.b, "b")


def _kind(end: Any, param: str) -> str:
    if is_picture(end):
        return "picture"
    if isinstance(end, str):
        return "seed" if end.strip().isdecimal() else "prompt"
    if isinstance(end, int) and not isinstance(end, bool):
        return "seed"
    raise InputError(
        f"{param} is a {type(end).__name__}", expected="words, a seed, or a picture", param=param
    )


def _seed(end: Any, param: str) -> int:
    return check_integer(int(end), param, 0, SEED_LIMIT - 1)


def _between(settled: Settled, a: str, b: str, ways: Sequence[float]) -> tuple[Conditions, ...]:
    """Embeddings on the straight line between two prompts'; the ends are the prompts themselves."""
    first, last = settled.conditions([a], param="a")[0], settled.conditions([b], param="b")[0]
    return tuple(
        last if way == 1.0 else replace(first, directions=((-way, a), (way, b)) if way else ())
        for way in ways
    )


TASK = Task(
    name="interpolate",
    verb="interpolate",
    request=Interpolate,
    plan=plan_interpolate,
    needs=frozenset({"text", "whole", "encode"}),
    sequence=True,
)
