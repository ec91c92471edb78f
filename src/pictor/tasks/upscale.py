"""A picture enlarged: by a network that was trained for that, or with details painted in piece by piece."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pictor.core.errors import InputError
from pictor.core.plan import ABILITIES, Enlarge, Origin, Paste, Plan, Tiles, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds
from pictor.tasks.inputs import MAX_PIXELS, digest, read_pixels, resized
from pictor.tasks.registry import Task
from pictor.tasks.stages import common_inputs, given_or, settle, stage
from pictor.tasks.wish import Given, Several, argument, given, option

if TYPE_CHECKING:
    from pictor.core.plan import Pixels

SCALES = (2, 4)
"""How many times wider and higher a picture can become."""
METHODS = ("network", "diffusion")
_STRENGTH = 0.3


@dataclass(frozen=True, kw_only=True)
class Upscale(Several):
    """Enlarge a picture, by a network trained for that or by painting in details."""

    image: Given = argument("The picture.", metavar="IMAGE", picture=True)
    scale: int = option("How many times wider and higher: 2 or 4.", 2)
    method: str | None = option(
        "How; else by network where the model has one and nothing is said of painting.",
        metavar="|".join(METHODS),
    )
    prompt: str = option("What the picture shows.", "", metavar="TEXT")
    strength: float | None = option(
        f"How much to paint anew: the share of the steps, up to 1; else {_STRENGTH}."
    )


_NETWORK_HEEDS = {"image", "scale", "method", "size"}


def plan_upscale(request: Upscale, traits: Traits) -> Plan:
    """Enlarge by the network or by diffusion, whichever is asked for or fits what is asked for.

    Raises:
        InputError: a parameter is out of its range or would be ignored, the model has no such network, or the
            picture cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    if request.scale not in SCALES or not isinstance(request.scale, int) or isinstance(request.scale, bool):
        raise InputError(f"scale is {request.scale!r}", expected="2 or 4", param="scale")
    by_network = _method(request, traits) == "network"
    pixels = read_pixels(request.image, "image")
    height, width = (request.scale * side for side in pixels.shape[:2])
    if width * height > MAX_PIXELS:
        raise InputError(
            f"the enlarged picture would be {width}x{height}",
            expected=f"at most {MAX_PIXELS // 1_000_000} million pixels",
            param="scale",
        )
    if not by_network:
        return _painted(request, traits, pixels)
    _check_size(request, (width, height))
    return Plan(
        task=TASK.name,
        spacing="",
        num_steps=0,
        seeds=(0,),
        enlarge=Enlarge(picture=pixels, scale=request.scale),
        inputs={"image": digest(pixels)},
    )


def _method(request: Upscale, traits: Traits) -> str:
    """Which of METHODS, checked."""
    painting = given(request, _NETWORK_HEEDS)
    able = "enlarge" in traits.abilities
    method = given_or(request.method, "network" if able and not painting else "diffusion")
    if method not in METHODS:
        raise InputError(f"method is {method!r}", expected=" or ".join(METHODS), param="method")
    if method == "network" and not able:
        raise InputError(
            f"{traits.name} does not {ABILITIES['enlarge']}",
            expected="diffusion, or a model whose folder has an enlarger",
            param="method",
        )
    if method == "network" and painting:
        raise InputError(
            f"{painting[0]} is given, which the network has no use for",
            expected="nothing but the picture and the scale",
            remedy=f"Leave {painting[0]} out, or paint with the method diffusion.",
            param=painting[0],
        )
    return method


def _check_size(request: Upscale, size: tuple[int, int]) -> None:
    if request.size not in (None, size):
        raise InputError(
            f"size is {request.size!r}",
            expected="nothing: an enlarged picture has the size that its scale gives",
            param="size",
        )


def _painted(request: Upscale, traits: Traits, pixels: Pixels) -> Plan:
    """Enlarge by Lanczos, noise, and denoise in overlapping pieces of the model's own size.

    The pieces' estimates are blended at each step, so that no seam can form (MultiDiffusion, Bar-Tal et al.
    2023, arXiv:2302.08113).
    """
    seeds = check_seeds(request.seed, check_integer(request.count, "count", 1, MAX_COUNT))
    settled = settle(request, traits)
    height, width = (request.scale * side for side in pixels.shape[:2])
    large = resized(pixels, (width, height))
    piece = traits.defaults.size
    size = _rounded(width, piece[0], traits.stride), _rounded(height, piece[1], traits.stride)
    _check_size(request, size)
    spare = ((0, size[1] - height), (0, size[0] - width), (0, 0))
    painted = stage(
        request,
        settled,
        traits,
        size=size,
        conditions=settled.conditions([request.prompt] * len(seeds), allow_empty=True),
        strength=("strength", given_or(request.strength, _STRENGTH)),
        origin=Origin(pictures=(np.pad(large, spare, mode="edge"),), between=((0, 0, 0.0),) * len(seeds)),
        tiles=Tiles(size=piece, overlap=_rounded(min(piece) // 4, 0, traits.latent_stride)),
    )
    return Plan(
        task=TASK.name,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds,
        stages=(painted,),
        paste=Paste(canvas=large, box=(0, 0, *size), opacity=np.ones((height, width), np.float32)),
        inputs={"image": digest(pixels), **common_inputs(painted, request)},
    )


def _rounded(side: int, least: int, multiple: int) -> int:
    """The side as a multiple, rounded up, and no less than this."""
    return max(least, -(-side // multiple) * multiple)


TASK = Task(
    name="upscale",
    verb="upscale",
    request=Upscale,
    plan=plan_upscale,
    needs=frozenset({"text", "whole", "encode"}),
)
