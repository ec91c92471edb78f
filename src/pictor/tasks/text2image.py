"""Pictures from words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pictor.core.errors import InputError
from pictor.core.plan import Plan, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds, check_size
from pictor.tasks.registry import Task
from pictor.tasks.stages import common_inputs, given_or, settle, stage
from pictor.tasks.wish import Several, argument


@dataclass(frozen=True, kw_only=True)
class Text2Image(Several):
    """Make pictures from words."""

    prompt: str | Sequence[str] = argument("What to show.")
    """Of several, each is painted `count` times, from the same seeds."""


def plan_text2image(request: Text2Image, traits: Traits) -> Plan:
    """Check the wish against what the model can do, and lay out its one stage.

    Raises:
        InputError: a parameter is out of its range.
        PlanError: the levels do not fit the model's prediction.
    """
    count = check_integer(request.count, "count", 1, MAX_COUNT)
    several = isinstance(request.prompt, list | tuple)
    prompts = _listed(request.prompt, count) if several else [request.prompt]
    seeds = check_seeds(request.seed, count)
    settled = settle(request, traits)
    painted = stage(
        request,
        settled,
        traits,
        size=check_size(given_or(request.size, traits.defaults.size), traits),
        conditions=settled.conditions([prompt for prompt in prompts for _ in seeds]),
    )
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds * len(prompts),
        stages=(painted,),
        inputs=common_inputs(painted, request),
    )


def _listed(prompts: Sequence[str], count: int) -> Sequence[str]:
    if not prompts:
        raise InputError("the list of prompts is empty", expected="a text, or several", param="prompt")
    if len(prompts) * count > MAX_COUNT:
        raise InputError(
            f"{len(prompts)} prompts of {count} pictures",
            expected=f"at most {MAX_COUNT} pictures",
            param="count",
        )
    return prompts


TASK = Task(
    name="text2image",
    verb="generate",
    request=Text2Image,
    plan=plan_text2image,
    needs=frozenset({"text", "whole"}),
)
