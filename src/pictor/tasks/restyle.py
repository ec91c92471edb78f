"""A picture in another style, with its shapes where they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pictor.core.plan import Layout, Origin, Plan, Style, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds, check_size, check_text
from pictor.tasks.inputs import covering, digest, fitting, is_picture, read_pixels
from pictor.tasks.registry import Task
from pictor.tasks.stages import check_number, common_inputs, latent_shape, settle, stage
from pictor.tasks.wish import REQUIRED, Given, Several, argument, option

_GRID = 8
"""The layout that is held: means over a grid of so many places a side."""


@dataclass(frozen=True, kw_only=True)
class Restyle(Several):
    """Paint a picture in another style, and keep its shapes where they are."""

    image: Given = argument("The picture.", metavar="IMAGE", picture=True)
    style: Any = option(
        "The style: words, or the file of a picture whose colours are taken.",
        REQUIRED,
        metavar="TEXT|IMAGE",
    )
    prompt: str = option("What the picture shows.", "", metavar="TEXT")
    strength: float = option("How far to go from the picture: the share of the steps, up to 1.", 0.75)
    structure: float = option("For how much of the way the layout is held, from 0 to 1.", 0.5)
    amount: float = option("How much of a style picture's colours is taken, from 0 to 1.", 0.8)


def plan_restyle(request: Restyle, traits: Traits) -> Plan:
    """Paint over the picture with the style's words, or with its colours.

    Raises:
        InputError: a parameter is out of its range, or a picture cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    seeds = check_seeds(request.seed, check_integer(request.count, "count", 1, MAX_COUNT))
    structure = check_number(request.structure, "structure", 0.0, 1.0)
    amount = check_number(request.amount, "amount", 0.0, 1.0)
    settled = settle(request, traits)
    size = None if request.size is None else check_size(request.size, traits)
    pixels = read_pixels(request.image, "image")
    size = size or fitting(pixels.shape[1], pixels.shape[0], traits)
    inputs = {"image": digest(pixels)}
    words = check_text(request.prompt, "prompt", allow_empty=True)
    more: dict[str, Any] = {}
    if is_picture(request.style):
        reference = read_pixels(request.style, "style")
        more["style"] = Style(picture=covering(reference, size), amount=amount)
        inputs["style"] = digest(reference)
    else:
        style = check_text(request.style, "style")
        words = f"{words}, {style}" if words.strip() else style
    if structure > 0.0:
        _, height, width = latent_shape(size, traits)
        more["layout"] = Layout(cells=max(2, min(height, width) // _GRID), until=structure)
    painted = stage(
        request,
        settled,
        traits,
        size=size,
        conditions=settled.conditions([words] * len(seeds), allow_empty=True),
        strength=("strength", request.strength),
        origin=Origin(pictures=(covering(pixels, size),), between=((0, 0, 0.0),) * len(seeds)),
        **more,
    )
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds,
        stages=(painted,),
        inputs={**inputs, **common_inputs(painted, request)},
    )


TASK = Task(
    name="restyle",
    verb="restyle",
    request=Restyle,
    plan=plan_restyle,
    needs=frozenset({"text", "whole", "encode"}),
)
