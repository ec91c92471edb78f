"""A part of a picture painted anew."""

from __future__ import annotations

from dataclasses import dataclass

from pictor.core.plan import Plan, Traits
from pictor.tasks.checks import check_integer, check_size
from pictor.tasks.inputs import digest, read_mask, read_pixels
from pictor.tasks.registry import Task
from pictor.tasks.repaint import box_around, plan_repaint
from pictor.tasks.wish import REQUIRED, Given, Several, argument, option

_MAX_PADDING = 4096


@dataclass(frozen=True, kw_only=True)
class Inpaint(Several):
    """Paint a part of a picture anew, and leave every pixel outside of it as it is."""

    image: Given = argument("The picture.", metavar="IMAGE", picture=True)
    prompt: str = argument("What the whole picture shall show.")
    mask: Given = option(
        "A picture of the same size: white is painted anew, black stays.",
        REQUIRED,
        metavar="IMAGE",
        picture=True,
    )
    strength: float = option("How far to go from what is there: the share of the steps, up to 1.", 1.0)
    feather: int = option("Width of the soft edge inside of the mask in pixels; 0 is a hard edge.", 4)
    crop: bool = option("Show the model only the masked part, at its full resolution.", False)
    padding: int = option("With --crop: pixels around the masked part that the model sees.", 32)


def plan_inpaint(request: Inpaint, traits: Traits) -> Plan:
    """Repaint under the mask; see `plan_repaint`.

    Raises:
        InputError: a parameter is out of its range, or picture and mask cannot be used.
        PlanError: the levels do not fit the model's prediction.
    """
    padding = check_integer(request.padding, "padding", 0, _MAX_PADDING)
    proportions = traits.defaults.size if request.size is None else check_size(request.size, traits)
    pixels = read_pixels(request.image, "image")
    mask = read_mask(request.mask, (pixels.shape[1], pixels.shape[0]), "mask")
    return plan_repaint(
        request,
        traits,
        task=TASK.name,
        canvas=pixels,
        mask=mask,
        inputs={"image": digest(pixels), "mask": digest(mask)},
        box=box_around(mask, padding, proportions) if request.crop else None,
    )


TASK = Task(
    name="inpaint",
    verb="inpaint",
    request=Inpaint,
    plan=plan_inpaint,
    needs=frozenset({"text", "encode"}),
)
