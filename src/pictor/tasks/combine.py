"""Sums of pictures: A - B + C among latents."""

from __future__ import annotations

from dataclasses import dataclass

from pictor.core.errors import InputError
from pictor.core.plan import Origin, Plan, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds, check_size
from pictor.tasks.inputs import covering, digest, fitting, read_pixels
from pictor.tasks.registry import Task
from pictor.tasks.stages import check_number, common_inputs, settle, stage
from pictor.tasks.wish import Given, Several, argument, option

_MAX_AMOUNT = 10.0


@dataclass(frozen=True, kw_only=True)
class Combine(Several):
    """Take what one picture shows away from another, and add what a third one shows: A - B + C."""

    image: Given = argument("The picture to begin with (A).", metavar="IMAGE", picture=True)
    minus: Given = option("The picture to take away (B).", metavar="IMAGE", picture=True)
    plus: Given = option("The picture to add (C).", metavar="IMAGE", picture=True)
    amount: float = option("How much of both to take: the weight of B and C, where A's is 1.", 1.0)
    prompt: str = option("What the sum shows.", "", metavar="TEXT")
    strength: float = option("How much to paint anew: the share of the steps, up to 1.", 0.5)


def plan_combine(request: Combine, traits: Traits) -> Plan:
    """Add the pictures' latents, noise the sum, and denoise it: a bare sum shows the ghosts of all of them.

    Pictures of other sizes are brought to the first one's.

    Raises:
        InputError: there is nothing to add or take away, a parameter is out of its range, or a picture cannot
            be used.
        PlanError: the levels do not fit the model's prediction.
    """
    seeds = check_seeds(request.seed, check_integer(request.count, "count", 1, MAX_COUNT))
    amount = check_number(request.amount, "amount", -_MAX_AMOUNT, _MAX_AMOUNT)
    if amount == 0:
        raise InputError(
            "amount is 0: there is nothing to add to the picture or to take away from it",
            expected=f"another number from {-_MAX_AMOUNT:g} to {_MAX_AMOUNT:g}",
            param="amount",
        )
    settled = settle(request, traits)
    conditions = settled.conditions([request.prompt] * len(seeds), allow_empty=True)
    wanted = None if request.size is None else check_size(request.size, traits)
    terms = {"image": (1.0, request.image), "minus": (-amount, request.minus), "plus": (amount, request.plus)}
    given = {
        name: (weight, read_pixels(picture, name))
        for name, (weight, picture) in terms.items()
        if name == "image" or picture is not None
    }
    if len(given) == 1:
        raise InputError(
            "there is nothing to add to the picture or to take away from it",
            expected="a picture to take away, a picture to add, or both",
            remedy="Pass --minus IMAGE or --plus IMAGE.",
            param="plus",
        )
    height, width = given["image"][1].shape[:2]
    size = wanted or fitting(width, height, traits)
    painted = stage(
        request,
        settled,
        traits,
        size=size,
        conditions=conditions,
        strength=("strength", request.strength),
        origin=Origin(
            pictures=tuple(covering(pixels, size) for _, pixels in given.values()),
            sums=(tuple(weight for weight, _ in given.values()),) * len(seeds),
        ),
    )
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds,
        stages=(painted,),
        inputs={
            **{name: digest(pixels) for name, (_, pixels) in given.items()},
            **common_inputs(painted, request),
        },
    )


TASK = Task(
    name="combine",
    verb="combine",
    request=Combine,
    plan=plan_combine,
    needs=frozenset({"text", "whole", "encode"}),
)
