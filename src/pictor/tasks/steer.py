"""A picture moved along the direction between two texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pictor.core.errors import InputError
from pictor.core.plan import Origin, Plan, Traits
from pictor.tasks.checks import SEED_LIMIT, check_integer, check_seeds, check_size, check_text
from pictor.tasks.inputs import covering, digest, fitting, is_picture, read_pixels
from pictor.tasks.registry import Task
from pictor.tasks.stages import check_number, common_inputs, given_or, settle, stage
from pictor.tasks.wish import REQUIRED, Wish, argument, option

_MAX_AMOUNT = 10.0


@dataclass(frozen=True, kw_only=True)
class Steer(Wish):
    """Move a picture along the direction from one text to another: A - B + C among embeddings."""

    start: Any = argument("A seed, or the file of a picture.", metavar="IMAGE|SEED")
    away: str = option("The text to move away from (B).", REQUIRED, cli="from", metavar="TEXT")
    toward: str = option("The text to move towards (C).", REQUIRED, cli="to", metavar="TEXT")
    amount: float = option("How far: 1 is from the one to the other, below 0 the other way.", 1.0)
    prompt: str = option("What the picture shows (A); else the text to move away from.", "", metavar="TEXT")
    strength: float = option("Of a given picture: the share of the steps to paint it again with.", 0.6)


def plan_steer(request: Steer, traits: Traits) -> Plan:
    """Add the weighted direction to the prompt's embeddings, and paint from the seed or over the picture.

    Raises:
        InputError: a parameter is out of its range, or the picture cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    amount = check_number(request.amount, "amount", -_MAX_AMOUNT, _MAX_AMOUNT)
    away, toward = check_text(request.away, "from"), check_text(request.toward, "to")
    settled = settle(request, traits)
    [plain] = settled.conditions([request.prompt or away])
    conditions = (replace(plain, directions=((-amount, away), (amount, toward))),)
    size = None if request.size is None else check_size(request.size, traits)
    if is_picture(request.start):
        seeds = check_seeds(request.seed, 1)
        pixels = read_pixels(request.start, "start")
        size = size or fitting(pixels.shape[1], pixels.shape[0], traits)
        origin = Origin(pictures=(covering(pixels, size),), between=((0, 0, 0.0),))
        more: dict[str, Any] = {"origin": origin, "strength": ("strength", request.strength)}
        inputs = {"start": digest(pixels)}
    else:
        seeds = check_seeds(_seed(request), 1)
        more, inputs = {}, {}
    painted = stage(
        request,
        settled,
        traits,
        size=given_or(size, traits.defaults.size),
        conditions=conditions,
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


def _seed(request: Steer) -> int:
    start = request.start
    if isinstance(start, str) and start.strip().isdecimal():
        start = int(start)
    if isinstance(start, str):
        raise InputError(f"there is no file {start!r}", expected="a picture, or a seed", param="start")
    number = check_integer(start, "start", 0, SEED_LIMIT - 1)
    if request.seed not in (0, number):
        raise InputError(
            f"the seed is {number} by its place and {request.seed} by its name",
            expected="one of them",
            param="seed",
        )
    return number


TASK = Task(
    name="steer",
    verb="steer",
    request=Steer,
    plan=plan_steer,
    needs=frozenset({"text", "whole", "encode"}),
)
