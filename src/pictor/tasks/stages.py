"""What the planning of every painting task shares: defaults, levels, noise, and the checks of each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from pictor.core.errors import InputError
from pictor.core.notices import PictorWarning
from pictor.core.plan import ABILITIES, Conditions, Control, Guiding, Likeness, Stage, Traits
from pictor.core.predictions import x0_weights
from pictor.core.spacings import spacing as spacing_named
from pictor.sampling import solver as solver_named
from pictor.tasks.checks import MAX_STEPS, check_guidance, check_integer, check_text
from pictor.tasks.inputs import covering, digest, read_pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.core.levels import Level
    from pictor.tasks.wish import Wish

T = TypeVar("T")

MAX_CONTROL = 10.0
_ROUNDING = 1e-9
"""So that 0.29 of 100 steps is 29, whose product is below that."""


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A wish with the model's defaults filled in, checked."""

    num_steps: int
    guidance_scale: float
    guidance_interval: tuple[float, float]
    guidance_rescale: float
    negative_prompt: str
    solver: str
    spacing: str
    wrap: tuple[bool, bool]

    def conditions(
        self, prompts: Sequence[Any], *, allow_empty: bool = False, param: str = "prompt"
    ) -> tuple[Conditions, ...]:
        """The conditions of one picture a prompt."""
        return tuple(
            Conditions(
                prompt=check_text(prompt, param, allow_empty=allow_empty),
                negative_prompt=self.negative_prompt,
                guidance_scale=self.guidance_scale,
            )
            for prompt in prompts
        )


def settle(wish: Wish, traits: Traits) -> Settled:
    """Fill in and check what all tasks are asked for.

    Raises:
        InputError: a parameter is out of its range.
    """
    defaults = traits.defaults
    negative = check_text(wish.negative_prompt, "negative_prompt", allow_empty=True)
    guidance = check_guidance(given_or(wish.guidance_scale, defaults.guidance_scale))
    steps = check_integer(given_or(wish.num_steps, defaults.num_steps), "num_steps", 1, MAX_STEPS)
    solver = given_or(wish.solver, defaults.solver)
    spacing = given_or(wish.spacing, defaults.spacing)
    solver_named(solver)
    spacing_named(spacing)
    if negative.strip() and traits.embeds_guidance:
        warnings.warn(f"{traits.name} takes no negative prompt", PictorWarning, stacklevel=2)
    elif negative.strip() and guidance == 1.0:
        warnings.warn("the negative prompt has no effect at guidance 1", PictorWarning, stacklevel=2)
    if wish.guidance_rescale and guidance == 1.0:
        warnings.warn("there is nothing to rescale at guidance 1", PictorWarning, stacklevel=2)
    if guidance == 0.0 and not traits.embeds_guidance:
        warnings.warn("the prompt has no effect at guidance 0", PictorWarning, stacklevel=2)
    low, high = defaults.guidance_interval
    if guidance == 1.0 and (wish.guidance_from, wish.guidance_until) not in ((None, None), (0.0, 1.0)):
        warnings.warn("the interval of guidance has no effect at guidance 1", PictorWarning, stacklevel=2)
    interval = (
        check_number(given_or(wish.guidance_from, low), "guidance_from", 0.0, 1.0),
        check_number(given_or(wish.guidance_until, high), "guidance_until", 0.0, 1.0),
    )
    if interval[0] >= interval[1]:
        raise InputError(
            f"guidance from {interval[0]:g} until {interval[1]:g} of the way",
            expected="a beginning before the end",
            remedy="Pass --guidance 1 for none at all.",
            param="guidance_until",
        )
    rescale = check_number(wish.guidance_rescale, "guidance_rescale", 0.0, 1.0)
    if traits.embeds_guidance and (interval != (0.0, 1.0) or rescale):
        raise InputError(
            f"{traits.name} follows its guidance by itself, at every step",
            expected="no interval and no rescaling",
            param="guidance_rescale" if rescale else "guidance_from",
        )
    return Settled(
        num_steps=steps,
        guidance_scale=guidance,
        guidance_interval=interval,
        guidance_rescale=rescale,
        negative_prompt=negative,
        solver=solver,
        spacing=spacing,
        wrap=_sides(wish.tile),
    )


def stage(
    wish: Wish,
    settled: Settled,
    traits: Traits,
    *,
    size: tuple[int, int],
    conditions: tuple[Conditions, ...],
    strength: tuple[str, Any] = ("strength", 1.0),
    **more: Any,
) -> Stage:
    """A stage of this size, with the wish's noise if it names any.

    Args:
        wish: the task's request.
        settled: what `settle` made of it.
        traits: the model's.
        size: width and height in pixels, checked.
        conditions: one a picture.
        strength: what the user calls it, and the share of the steps to take, from the clean end.
        more: further fields of `Stage`.

    Raises:
        InputError: the latents are of another shape, or the strength is out of range or less than a step.
        PlanError: the levels do not fit the model's prediction.
    """
    shape = latent_shape(size, traits)
    if wish.latents is not None:
        more["noise"] = _checked_latents(wish.latents, (len(conditions), *shape))
    if wish.control is not None:
        more["control"] = _control(wish, traits, size)
    if wish.like is not None:
        more["likeness"] = _likeness(wish, traits)
    taken = _steps_taken(strength[1], settled.num_steps, strength[0])
    levels = spacing_named(settled.spacing)(traits.path_for(size), settled.num_steps)
    for step in solver_named(settled.solver)(levels):
        x0_weights(traits.prediction, step.level, traits.sigma_data)
    return Stage(
        size=size,
        latent_shape=shape,
        conditions=conditions,
        solver=settled.solver,
        levels=tuple(levels[settled.num_steps - taken :]),
        guiding=_guiding(wish, settled, levels, taken),
        wrap=settled.wrap,
        **more,
    )


def _guiding(wish: Wish, settled: Settled, levels: Sequence[Level], taken: int) -> Guiding:
    """The interval in the noise of the whole way's levels, whichever part of it is taken."""
    first, last = (math.ceil(share * settled.num_steps - _ROUNDING) for share in settled.guidance_interval)
    if max(first, settled.num_steps - taken) >= last and settled.guidance_scale != 1.0:
        if wish.guidance_from is None and wish.guidance_until is None:
            # So few steps have no place for the model's own interval.
            return Guiding(rescale=settled.guidance_rescale)
        raise InputError(
            f"none of the steps taken, the last {taken} of {settled.num_steps}, lies from"
            f" {settled.guidance_interval[0]:g} until {settled.guidance_interval[1]:g} of the way",
            expected="an interval with a step to guide",
            param="guidance_until",
        )
    return Guiding(
        interval=settled.guidance_interval,
        k_low=levels[last].k if last < settled.num_steps else 0.0,
        k_high=levels[first].k if first > 0 else math.inf,
        rescale=settled.guidance_rescale,
    )


def _steps_taken(strength: Any, num_steps: int, param: str) -> int:
    """The share of the steps, rounded down as the field does.

    Raises:
        InputError: it is out of range, or less than one step.
    """
    number = check_share(strength, param)
    taken = math.floor(number * num_steps + _ROUNDING)
    if taken == 0:
        raise InputError(
            f"{param} {number:g} of {num_steps} steps is less than one step",
            expected=f"at least {1 / num_steps:.3g}",
            remedy=f"Take {math.ceil(1 / number - _ROUNDING)} steps or more.",
            param=param,
        )
    return taken


def common_inputs(stage: Stage, wish: Wish) -> dict[str, str]:
    """The entries of `Plan.inputs` for what every wish may give besides words."""
    inputs: dict[str, str] = {}
    if wish.latents is not None and stage.noise is not None:
        inputs["latents"] = digest(stage.noise)
    if wish.control is not None:
        inputs["control"] = digest(read_pixels(wish.control, "control"))
    if wish.like is not None:
        inputs["like"] = digest(read_pixels(wish.like, "like"))
    return inputs


def _check_ability(traits: Traits, ability: str, param: str, what: str, flag: str) -> None:
    if ability not in traits.abilities:
        raise InputError(
            f"{traits.name} does not {ABILITIES[ability]}",
            expected=f"a model that was opened with a {what}",
            remedy=f"Pass one with {flag}.",
            param=param,
        )


def _likeness(wish: Wish, traits: Traits) -> Likeness:
    _check_ability(traits, "like", "like", "picture adapter", "--ip-adapter")
    weight = check_number(wish.like_weight, "like_weight", 0.0, MAX_CONTROL)
    return Likeness(picture=read_pixels(wish.like, "like"), weight=weight)


def _control(wish: Wish, traits: Traits, size: tuple[int, int]) -> Control:
    _check_ability(traits, "control", "control", "control network", "--controlnet")
    return Control(
        picture=covering(read_pixels(wish.control, "control"), size),
        weight=check_number(wish.control_weight, "control_weight", 0.0, MAX_CONTROL),
        until=check_number(wish.control_until, "control_until", 0.0, 1.0),
    )


def latent_shape(size: tuple[int, int], traits: Traits) -> tuple[int, int, int]:
    """C, h, w of a picture of this size."""
    return traits.latent_channels, size[1] // traits.latent_stride, size[0] // traits.latent_stride


def given_or(value: T | None, default: T) -> T:
    """The value, or the default where it is None."""
    return default if value is None else value


def check_share(value: Any, param: str) -> float:
    """A number above 0 and up to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise InputError(f"{param} is {value!r}", expected="a number above 0 and up to 1", param=param)
    return float(value)


def check_number(value: Any, param: str, low: float, high: float) -> float:
    """A number from low to high, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f"{param} is {value!r}", expected=f"a number from {low:g} to {high:g}", param=param)
    return float(value)


def _sides(tile: Any) -> tuple[bool, bool]:
    if tile not in ("", "x", "y", "xy"):
        raise InputError(
            f"tile is {tile!r}", expected="x (sideways), y (up and down), xy, or nothing", param="tile"
        )
    return "x" in tile, "y" in tile


def _checked_latents(latents: Any, shape: tuple[int, int, int, int]) -> NDArray[np.float32]:
    try:
        noise = np.asarray(latents, np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"latents are no array of numbers ({error})", expected=f"the shape {list(shape)}", param="latents"
        ) from None
    if noise.shape == shape[1:]:
        noise = np.broadcast_to(noise, shape)
    if noise.shape != shape:
        raise InputError(
            f"latents have the shape {list(noise.shape)}",
            expected=f"the shape {list(shape)}, or {list(shape[1:])} for all pictures",
            param="latents",
        )
    if not np.isfinite(noise).all():
        raise InputError("latents hold a number that is not finite", param="latents")
    return np.ascontiguousarray(noise)
