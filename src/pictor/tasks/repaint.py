"""Painting a part of a picture anew: what inpainting and outpainting share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.errors import InputError
from pictor.core.plan import Origin, Paste, Plan, Traits
from pictor.tasks.checks import MAX_COUNT, check_integer, check_seeds, check_size
from pictor.tasks.inputs import fitting, resized
from pictor.tasks.stages import common_inputs, settle, stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pictor.core.plan import Pixels

    Plane = NDArray[np.float32]

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

MAX_FEATHER = 512


def plan_repaint(
    request: Any,
    traits: Traits,
    *,
    task: str,
    canvas: Pixels,
    mask: Plane,
    inputs: Mapping[str, str],
    box: Box | None = None,
) -> Plan:
    """Paint the canvas anew where the mask says so, and leave every other byte of it as it is.

    Args:
        request: with prompt, strength, feather, count, and what every wish has.
        traits: the model's.
        task: name of the task.
        canvas: [H, W, 3].
        mask: [H, W] from 0 to 1, where 1 is painted anew.
        inputs: digests for the recipe.
        box: the part that the model sees; None for the whole canvas.

    Raises:
        InputError: a parameter is out of its range.
        PlanError: the levels do not fit the model's prediction.
    """
    seeds = check_seeds(request.seed, check_integer(request.count, "count", 1, MAX_COUNT))
    feather = check_integer(request.feather, "feather", 0, MAX_FEATHER)
    settled = settle(request, traits)
    height, width = mask.shape
    left, top, right, bottom = box or (0, 0, width, height)
    if request.size is not None:
        size = check_size(request.size, traits)
    elif box is None:
        size = fitting(width, height, traits)
    else:
        size = _full_size(right - left, bottom - top, traits)
    seen = mask[top:bottom, left:right]
    painted = stage(
        request,
        settled,
        traits,
        size=size,
        conditions=settled.conditions([request.prompt] * len(seeds), allow_empty=True),
        strength=("strength", request.strength),
        origin=Origin(
            pictures=(resized(canvas[top:bottom, left:right], size),),
            between=((0, 0, 0.0),) * len(seeds),
            # From pure noise what is under the mask is forgotten.
            begins=request.strength != 1.0,
        ),
        mask=_resized_mask(seen, size),
    )
    return Plan(
        task=task,
        spacing=settled.spacing,
        num_steps=settled.num_steps,
        seeds=seeds,
        stages=(painted,),
        paste=Paste(canvas=canvas, box=(left, top, right, bottom), opacity=feathered(mask, feather)),
        inputs={**inputs, **common_inputs(painted, request)},
    )


def box_around(mask: Plane, padding: int, proportions: tuple[int, int]) -> Box:
    """The box of what the mask paints, with padding, widened to the proportions as far as the canvas goes."""
    rows, columns = np.flatnonzero(mask.max(1)), np.flatnonzero(mask.max(0))
    height, width = mask.shape
    top, bottom = max(0, rows[0] - padding), min(height, rows[-1] + 1 + padding)
    left, right = max(0, columns[0] - padding), min(width, columns[-1] + 1 + padding)
    wanted_width = max(right - left, round((bottom - top) * proportions[0] / proportions[1]))
    wanted_height = max(bottom - top, round((right - left) * proportions[1] / proportions[0]))
    left, right = _widened(int(left), int(right), wanted_width, width)
    top, bottom = _widened(int(top), int(bottom), wanted_height, height)
    return left, top, right, bottom


def _widened(low: int, high: int, wanted: int, limit: int) -> tuple[int, int]:
    """An interval of the wanted length about another, pushed to lie from 0 to the limit."""
    length = min(wanted, limit)
    start = min(max(0, low - (length - (high - low)) // 2), limit - length)
    return start, start + length


def _full_size(width: int, height: int, traits: Traits) -> tuple[int, int]:
    """The proportions of a box at the area that the model paints best."""
    usual = traits.defaults.size
    scale = (usual[0] * usual[1] / (width * height)) ** 0.5
    return fitting(round(width * scale), round(height * scale), traits)


def feathered(mask: Plane, feather: int) -> Plane:
    """The mask with soft edges: it falls to 0 over so many pixels, all of them inside of it.

    Where the mask is too narrow for such an edge, a narrower one is taken.
    """
    from PIL import Image, ImageFilter

    covered = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))
    while feather > 0:
        # Edges of the picture are no edges of the mask: what lies beyond continues it.
        spread = Image.fromarray(np.pad(np.asarray(covered), feather, mode="edge"))
        blurred = np.asarray(spread.filter(ImageFilter.BoxBlur(feather)), np.float32) / 255.0
        inside = np.clip(2.0 * blurred[feather:-feather, feather:-feather] - 1.0, 0.0, 1.0)
        if inside.max() > 0.95:
            return np.asarray(mask * inside, np.float32)
        feather //= 2
    return mask


def _resized_mask(mask: Plane, size: tuple[int, int]) -> Plane:
    from PIL import Image

    if mask.shape[::-1] == size:
        return mask
    image = Image.fromarray(np.rint(mask * 255).astype(np.uint8)).resize(size, Image.Resampling.BOX)
    scaled = np.asarray(image, np.float32) / 255.0
    if scaled.max() == 0.0:
        raise InputError(
            "the mask is too small to be seen at the model's resolution",
            expected="a larger white part",
            remedy="Crop to it (--crop).",
            param="mask",
        )
    return scaled
