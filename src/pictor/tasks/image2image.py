"""A picture made into another by words."""

from __future__ import annotations

from dataclasses import dataclass

from pictor.core.plan import Origin, Plan, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds, check_size
from pictor.tasks.inputs import covering, digest, fitting, read_pixels
from pictor.tasks.registry import Task
from pictor.tasks.stages import common_inputs, settle, stage
from pictor.tasks.wish import Given, Several, argument, option


@dataclass(frozen=True, kw_only=True)
class Image2Image(Several):
    """Make a picture into another by words."""

    image: Given = argument("The picture to begin with.", metavar="IMAGE", picture=True)
    prompt: str = argument("What to show.")
    strength: float = option("How far to go from the picture: the share of the steps, up to 1.", 0.6)


def plan_image2image(request: Image2Image, traits: Traits) -> Plan:
    """Noise the picture to the level where the share of the steps begins, and denoise it from there.

    SDEdit (Meng et al. 2021, arXiv:2108.01073). A picture of another size is scaled and, where its
    proportions differ, cut to the middle.

    Raises:
        InputError: a parameter is out of its range, or the picture cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    seeds = check_seeds(request.seed, check_integer(request.count, "count", 1, MAX_COUNT))
    settled = settle(request, traits)
    conditions = settled.conditions([request.prompt] * len(seeds))
    size = None if request.size is None else check_size(request.size, traits)
    pixels = read_pixels(request.image, "image")
    size = size or fitting(pixels.shape[1], pixels.shape[0], traits)
    painted = stage(
        request,
        settled,
        traits,
        size=size,
        conditions=conditions,
        strength=("strength", request.strength),
        origin=Origin(pictures=(covering(pixels, size),), between=((0, 0, 0.0),) * len(seeds)),
    )
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds,
        stages=(painted,),
        inputs={"image": digest(pixels), **common_inputs(painted, request)},
    )


TASK = Task(
    name="image2image",
    verb="transform",
    request=Image2Image,
    plan=plan_image2image,
    needs=frozenset({"text", "whole", "encode"}),
)
