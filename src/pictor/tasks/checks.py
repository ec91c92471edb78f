"""Checks of a wish that several tasks share; each raises an InputError that names the parameter."""

import math
import operator
from typing import Any

from pictor.core.errors import InputError
from pictor.core.plan import Traits

MAX_STEPS = 1000
MAX_COUNT = 1000
MAX_GUIDANCE = 1000.0
"""Far beyond use; without a limit numbers would overflow on their way."""
SEED_LIMIT = 2**64


def check_text(text: Any, param: str, *, allow_empty: bool = False) -> str:
    """A text that can be tokenised and written into a file."""
    if not isinstance(text, str):
        raise InputError(f"{param} is a {type(text).__name__}", expected="a text", param=param)
    if not allow_empty and not text.strip():
        raise InputError(
            f"the {param.replace('_', ' ')} is empty",
            expected='words, for instance "a red apple"',
            param=param,
        )
    if "\0" in text:
        raise InputError(f"the {param.replace('_', ' ')} holds a NUL character", expected="text", param=param)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the {param.replace('_', ' ')} is no valid Unicode", expected="text", param=param
        ) from None
    return text


def check_integer(value: Any, param: str, low: int, high: int) -> int:
    """An integer from low to high, both included."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        raise InputError(f"{param} is {value!r}", expected=f"an integer from {low} to {high}", param=param)
    return number


def check_seeds(seed: Any, count: int) -> tuple[int, ...]:
    """The seeds of `count` pictures, all of which must be below 2^64."""
    first = check_integer(seed, "seed", 0, SEED_LIMIT - 1)
    if first + count > SEED_LIMIT:
        raise InputError(
            f"seed {first} leaves no room for {count} pictures",
            expected=f"at most {SEED_LIMIT - count}",
            param="seed",
        )
    return tuple(range(first, first + count))


def check_guidance(value: Any) -> float:
    """A guidance scale; below zero the picture would run away from its prompt without a limit."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_GUIDANCE:
        raise InputError(
            f"guidance_scale is {value!r}",
            expected=f"a number from 0 (no prompt) over 1 (no guidance) to {MAX_GUIDANCE:g}, for instance 4",
            param="guidance_scale",
        )
    return float(value)


def check_size(value: Any, traits: Traits) -> tuple[int, int]:
    """Width and height in pixels that the model can draw."""
    try:
        width, height = (operator.index(side) for side in value)
    except (TypeError, ValueError):
        raise InputError(f"size is {value!r}", expected="width and height in pixels", param="size") from None
    for name, side in (("width", width), ("height", height)):
        if not traits.min_side <= side <= traits.max_side or side % traits.stride:
            raise InputError(
                f"{name} {side} is not possible with {traits.name}",
                expected=f"a multiple of {traits.stride} from {traits.min_side} to {traits.max_side}",
                remedy=f"The nearest is {_nearest(side, traits)}.",
                param="size",
            )
    return width, height


def _nearest(side: int, traits: Traits) -> int:
    low = math.ceil(traits.min_side / traits.stride)
    high = traits.max_side // traits.stride
    return min(max((side + traits.stride // 2) // traits.stride, low), high) * traits.stride
