"""Pictures from words; of models that read none, from noise alone."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pictor.core.errors import InputError
from pictor.core.notices import PictorWarning
from pictor.core.plan import ABILITIES, Conditions, Drawing, Plan, Traits
from pictor.tasks.checks import MAX_COUNT, check_guidance, check_integer, check_seeds, check_size, check_text
from pictor.tasks.registry import Task
from pictor.tasks.stages import check_number, common_inputs, given_or, settle, stage
from pictor.tasks.wish import Several, argument, given, option

_MAX_TEMPERATURE = 10.0
_DRAWING_HEEDS = {"seed", "size", "count", "candidates", "temperature"}
_WORDS = {"prompt", "negative_prompt", "guidance_scale"}


@dataclass(frozen=True, kw_only=True)
class Text2Image(Several):
    """Make pictures from words."""

    prompt: str | Sequence[str] = argument("What to show; nothing for models that read no words.", "")
    """Of several, each is painted `count` times, from the same seeds."""
    candidates: int | None = option("Make so many pictures of each prompt, and keep those that fit it best.")
    temperature: float = option(
        "How varied, for models that do not denoise; 1 is as they have learnt it.", 1.0
    )


def plan_text2image(request: Text2Image, traits: Traits) -> Plan:
    """Check the wish against what the model can do, and lay out its one stage, or what is to be drawn.

    Raises:
        InputError: a parameter is out of its range or would be ignored.
        PlanError: the levels do not fit the model's prediction.
    """
    count = check_integer(request.count, "count", 1, MAX_COUNT)
    keep = _keep(request, traits, count)
    among = count if keep is None else keep[0]
    several = isinstance(request.prompt, list | tuple)
    prompts = _listed(request.prompt, among) if several else [request.prompt]
    seeds = check_seeds(request.seed, among)
    size = check_size(given_or(request.size, traits.defaults.size), traits)
    _check_words(request, traits)
    wanted: list[Any] = [prompt for prompt in prompts for _ in seeds]
    if "draw" in traits.abilities:
        drawing = _drawing(request, traits, size, wanted)
        return Plan(
            task=TASK.name, spacing="", num_steps=0, seeds=seeds * len(prompts), drawing=drawing, keep=keep
        )
    if request.temperature != 1.0:
        raise InputError(
            f"temperature is {request.temperature!r}, and {traits.name} denoises",
            expected="1, or a model that draws without denoising",
            param="temperature",
        )
    settled = settle(request, traits)
    painted = stage(
        request,
        settled,
        traits,
        size=size,
        conditions=settled.conditions(wanted, allow_empty="text" not in traits.abilities),
    )
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds * len(prompts),
        stages=(painted,),
        keep=keep,
        inputs=common_inputs(painted, request),
    )


def _keep(request: Text2Image, traits: Traits, count: int) -> tuple[int, int] | None:
    """Of how many pictures of a prompt how many are kept; None for all."""
    if request.candidates is None:
        return None
    candidates = check_integer(request.candidates, "candidates", count, MAX_COUNT)
    if lacking := sorted({"text", "describe"} - traits.abilities):
        raise InputError(
            f"{traits.name} cannot choose among candidates: it does not {ABILITIES[lacking[0]]}",
            expected="a model with an image_encoder/ and its vocabulary",
            remedy="Leave candidates out.",
            param="candidates",
        )
    return candidates, count


def _check_words(request: Text2Image, traits: Traits) -> None:
    """Words are for models that read them."""
    if "text" in traits.abilities:
        return
    for name in given(request, {field for field in request.__dataclass_fields__ if field not in _WORDS}):
        raise InputError(
            f"{traits.name} reads no words",
            expected=f"no {name.replace('_', ' ')}",
            remedy="Choose its pictures by --seed alone.",
            param=name,
        )


def _drawing(request: Text2Image, traits: Traits, size: tuple[int, int], prompts: Sequence[Any]) -> Drawing:
    """What a model that does not denoise is to draw, checked."""
    for name in given(request, _DRAWING_HEEDS | _WORDS):
        raise InputError(
            f"{name} is given, and {traits.name} does not denoise",
            expected="nothing that says how to",
            param=name,
        )
    reads = "text" in traits.abilities
    guidance = check_guidance(given_or(request.guidance_scale, traits.defaults.guidance_scale))
    negative = check_text(request.negative_prompt, "negative_prompt", allow_empty=True)
    if negative.strip() and guidance == 1.0:
        warnings.warn("the negative prompt has no effect at guidance 1", PictorWarning, stacklevel=2)
    return Drawing(
        size=size,
        conditions=tuple(
            Conditions(
                prompt=check_text(prompt, "prompt", allow_empty=not reads),
                negative_prompt=negative,
                guidance_scale=guidance,
            )
            for prompt in prompts
        ),
        temperature=check_number(request.temperature, "temperature", 0.0, _MAX_TEMPERATURE),
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
    needs=frozenset({"whole"}),
)
