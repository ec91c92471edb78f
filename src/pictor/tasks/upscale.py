"""A picture enlarged, with details painted in piece by piece."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pictor.core.errors import InputError
from pictor.core.plan import Origin, Paste, Plan, Tiles, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds
from pictor.tasks.inputs import MAX_PIXELS, digest, read_pixels, resized
from pictor.tasks.registry import Task
from pictor.tasks.stages import common_inputs, settle, stage
from pictor.tasks.wish import Given, Several, argument, option

SCALES = (2, 4)
"""How many times wider and higher a picture can become."""


@dataclass(frozen=True, kw_only=True)
class Upscale(Several):
    """Enlarge a picture, and paint in details."""

    image: Given = argument("The picture.", metavar="IMAGE", picture=True)
    scale: int = option("How many times wider and higher: 2 or 4.", 2)
    prompt: str = option("What the picture shows.", "", metavar="TEXT")
    strength: float = option("How much to paint anew: the share of the steps, up to 1.", 0.3)


def plan_upscale(request: Upscale, traits: Traits) -> Plan:
    """Enlarge by Lanczos, noise, and denoise in overlapping pieces of the model's own size.

    The pieces' estimates are blended at each step, so that no seam can form (MultiDiffusion, Bar-Tal et al.
    2023, arXiv:2302.08113).

    Raises:
        InputError: a parameter is out of its range, or the picture cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    seeds = check_seeds(request.seed, check_integer(request.count, "count", 1, MAX_COUNT))
    if request.scale not in SCALES or isinstance(request.scale, bool):
        raise InputError(f"scale is {request.scale!r}", expected="2 or 4", param="scale")
    settled = settle(request, traits)
    pixels = read_pixels(request.image, "image")
    height, width = (request.scale * side for side in pixels.shape[:2])
    if width * height > MAX_PIXELS:
        raise InputError(
            f"the enlarged picture would be {width}x{height}",
            expected=f"at most {MAX_PIXELS // 1_000_000} million pixels",
            param="scale",
        )
    large = resized(pixels, (width, height))
    piece = traits.defaults.size
    size = _rounded(width, piece[0], traits.stride), _rounded(height, piece[1], traits.stride)
    if request.size not in (None, size):
        raise InputError(
            f"size is {request.size!r}",
            expected="nothing: an enlarged picture has the size that its scale gives",
            param="size",
        )
    spare = ((0, size[1] - height), (0, size[0] - width), (0, 0))
    painted = stage(
        request,
        settled,
        traits,
        size=size,
        conditions=settled.conditions([request.prompt] * len(seeds), allow_empty=True),
        strength=("strength", request.strength),
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
