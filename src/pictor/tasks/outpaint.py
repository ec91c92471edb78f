"""A picture continued beyond its sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pictor.core.errors import InputError
from pictor.core.plan import Plan, Traits
from pictor.tasks.checks import check_integer
from pictor.tasks.inputs import digest, read_pixels, resized
from pictor.tasks.registry import Task
from pictor.tasks.repaint import plan_repaint
from pictor.tasks.stages import check_number
from pictor.tasks.wish import Given, Several, argument, option

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.core.plan import Pixels

_MAX_MARGIN = 4096
_MAX_ZOOM = 8.0


@dataclass(frozen=True, kw_only=True)
class Outpaint(Several):
    """Continue a picture beyond its sides, or step back from it."""

    image: Given = argument("The picture.", metavar="IMAGE", picture=True)
    prompt: str = argument("What the larger picture shall show.")
    left: int = option("Pixels to add on the left.", 0)
    right: int = option("Pixels to add on the right.", 0)
    top: int = option("Pixels to add above.", 0)
    bottom: int = option("Pixels to add below.", 0)
    zoom: float = option("Step back: the picture becomes so many times smaller, in the middle.", 1.0)
    strength: float = option("How far to go from the colours of the sides: the share of the steps.", 1.0)
    feather: int = option("Width of the soft edge in pixels, beside the old picture.", 4)


def plan_outpaint(request: Outpaint, traits: Traits) -> Plan:
    """Extend the canvas, then repaint the border; the pixels of the old picture, maybe made smaller, stay.

    Raises:
        InputError: a parameter is out of its range, nothing is to be added, or the picture cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    margins = [
        check_integer(getattr(request, side), side, 0, _MAX_MARGIN)
        for side in ("left", "top", "right", "bottom")
    ]
    zoom = check_number(request.zoom, "zoom", 1.0, _MAX_ZOOM)
    if not any(margins) and zoom == 1.0:
        raise InputError(
            "nothing is to be added to the picture",
            expected="pixels for one of left, right, top and bottom, or a zoom above 1",
            param="zoom",
        )
    pixels = read_pixels(request.image, "image")
    canvas, mask = padded(pixels, margins, zoom)
    return plan_repaint(
        request, traits, task=TASK.name, canvas=canvas, mask=mask, inputs={"image": digest(pixels)}
    )


def padded(pixels: Pixels, margins: list[int], zoom: float) -> tuple[Pixels, NDArray[np.float32]]:
    """The larger canvas, whose border continues the colours of the sides, and the mask of the border.

    Args:
        pixels: [H, W, 3].
        margins: left, top, right, bottom in pixels.
        zoom: the picture is first made so many times smaller, within its old size.
    """
    height, width = pixels.shape[:2]
    small = resized(pixels, (max(1, round(width / zoom)), max(1, round(height / zoom))))
    spare_y, spare_x = height - small.shape[0], width - small.shape[1]
    left, top = margins[0] + spare_x // 2, margins[1] + spare_y // 2
    right, bottom = margins[2] + spare_x - spare_x // 2, margins[3] + spare_y - spare_y // 2
    widths = ((top, bottom), (left, right))
    canvas = np.pad(small, (*widths, (0, 0)), mode="edge")
    mask = np.pad(np.zeros(small.shape[:2], np.float32), widths, constant_values=1.0)
    return canvas, mask


TASK = Task(
    name="outpaint",
    verb="outpaint",
    request=Outpaint,
    plan=plan_outpaint,
    needs=frozenset({"text", "encode"}),
)
