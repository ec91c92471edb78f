"""The public face of a loaded model: one method a task."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pictor
from pictor.core.errors import InputError
from pictor.core.plan import Plan, Traits
from pictor.core.recipe import Recipe
from pictor.engine.execute import Progress, execute
from pictor.engine.pictures import Picture
from pictor.families.bundle import Bundle
from pictor.families.registry import open_bundle
from pictor.tasks.registry import task_of
from pictor.tasks.text2image import Text2Image

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def model_folder(model: str | os.PathLike[str] | None) -> Path:
    """Where a model lies; None is the embedded one."""
    return Path(pictor.__file__).parent / "embedded" if model is None else Path(model)


def load(model: str | os.PathLike[str] | None = None, *, backend: str = "auto") -> Studio:
    """Open a model.

    Args:
        model: a diffusers folder; None for the embedded model.
        backend: "onnx", "torch", or "auto": onnx where the folder has graphs, else torch.

    Raises:
        ModelError: the folder is missing, damaged or not supported.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    return Studio(open_bundle(model_folder(model), backend))


class Studio:
    """A loaded model. Its methods are the tasks; they may be called again and again."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    @property
    def traits(self) -> Traits:
        """What the model can do: its sizes, limits and defaults."""
        return self.bundle.traits

    def generate(
        self,
        prompt: str,
        *,
        negative_prompt: str = "",
        seed: int = 0,
        num_steps: int | None = None,
        guidance_scale: float | None = None,
        solver: str | None = None,
        spacing: str | None = None,
        size: tuple[int, int] | None = None,
        count: int = 1,
        latents: ArrayLike | None = None,
        frames: bool = False,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Picture]:
        """Make pictures from words. What is None is the model's own default.

        Args:
            prompt: what to show.
            negative_prompt: what to keep away from; has no effect at guidance 1.
            seed: from 0 to 2^64 - 1. Picture i has seed + i, and is the picture that this seed gives alone.
            num_steps: stretches of the noise path, 1 to 1000.
            guidance_scale: how closely to follow the prompt; 1 is no guidance, 0 is no prompt.
            solver: a name from `pictor solvers`.
            spacing: a name from `pictor solvers`.
            size: width and height in pixels, multiples of the model's stride.
            count: how many pictures.
            latents: the state at the first noise level, [count, C, h, w], taken as it is.
            frames: keep the estimate of each step.
            on_progress: called after each step.
            should_stop: asked between steps.

        Raises:
            InputError: a parameter is out of its range; nothing has been computed then.
            Cancelled: should_stop said so.
        """
        request = Text2Image(
            prompt=prompt,
            negative_prompt=negative_prompt,
            seed=seed,
            num_steps=num_steps,
            guidance_scale=guidance_scale,
            solver=solver,
            spacing=spacing,
            size=size,
            count=count,
            latents=latents,
        )
        return self.run(self.plan(request), frames=frames, on_progress=on_progress, should_stop=should_stop)

    def plan(self, request: Any) -> Plan:
        """Check a task's request and lay it out; runs no model.

        Raises:
            InputError: a parameter is out of its range, or the model cannot do this task.
        """
        task = task_of(request)
        if task.name not in self.traits.tasks:
            raise InputError(
                f"{self.traits.name} cannot do {task.name}", expected=", ".join(sorted(self.traits.tasks))
            )
        return task.plan(request, self.traits)

    def run(
        self,
        plan: Plan,
        *,
        frames: bool = False,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Picture]:
        """Make the pictures of a plan.

        Raises:
            Cancelled: should_stop said so.
        """
        self.bundle.prepare()
        from PIL import Image, PngImagePlugin  # noqa: F401 - read while the parts of the model load

        made = execute(plan, self.bundle, frames=frames, on_progress=on_progress, should_stop=should_stop)
        facts = {
            **plan.describe(),
            "model_name": self.traits.name,
            "model_hash": self.bundle.model_hash,
            "version": pictor.__version__,
            "backend": self.bundle.backend,
            "dtype": self.bundle.dtype,
        }
        return [
            Picture(
                Image.fromarray(one.pixels),
                Recipe(**{**facts, "seed": seed}),
                tuple(Image.fromarray(frame) for frame in one.frames),
            )
            for seed, one in zip(plan.seeds, made, strict=True)
        ]
