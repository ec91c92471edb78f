"""Run a plan: starting states, guided denoising in batches, decoding.

Legend of array shapes: N pictures of the plan, B rows of a batch, C latent channels, h, w latent rows and
columns, H, W pixels.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import Cancelled, InputError
from pictor.core.plan import Plan, Stage
from pictor.engine.denoise import denoiser
from pictor.engine.finish import finished
from pictor.engine.states import States
from pictor.engine.words import Words
from pictor.families.bundle import Bundle
from pictor.sampling import sample, solver

_MAX_BYTES = 2**31
"""Of all pixels that one call makes."""

Pixels = NDArray[np.uint8]

_MAX_ROWS = 8
_MAX_PIXELS = 2**18
"""Pictures of a batch: enough to fill the processor, few enough to bound memory (one at 512 x 512)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is, counted in steps over all pictures, or in parts where there are no steps."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Made:
    """One finished picture."""

    pixels: Pixels
    """[H, W, 3]."""
    frames: list[Pixels] = field(default_factory=list)
    """[H, W, 3] each: the clean picture as estimated at each step, where frames were asked for."""


def execute(
    plan: Plan,
    bundle: Bundle,
    *,
    frames: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> list[Made]:
    """Make the pictures of a plan, in the order of its seeds.

    Args:
        plan: what a task laid out.
        bundle: the model.
        frames: whether to keep the estimates of each step.
        on_progress: called after each step of each batch.
        should_stop: asked between steps and before decoding.

    Raises:
        InputError: the pictures and frames would not fit into memory; nothing has been computed then.
        PictorError: the model's numbers are no picture.
        Cancelled: should_stop said so.
    """
    if not plan.stages:
        return _at_once(plan, bundle, frames, on_progress, should_stop)
    programs = [solver(stage.solver)(stage.levels) for stage in plan.stages]
    _check_memory(plan, sum(len(program) for program in programs) if frames else 0)
    size = min(_batch_size(stage) for stage in plan.stages)
    batches = [range(at, min(at + size, len(plan.seeds))) for at in range(0, len(plan.seeds), size)]
    total = len(batches) * sum(len(program) for program in programs)
    words = [Words(stage, bundle) for stage in plan.stages]
    states = [States(stage, bundle, plan.seeds) for stage in plan.stages]
    done = 0
    made: list[Made] = []
    for batch in batches:
        estimates: list[NDArray[np.float32]] = []

        def watch(_index: int, _total: int, _x: Any, x0: Any, kept: Any = estimates) -> None:
            nonlocal done
            done += 1
            if frames:
                kept.append(x0.copy())
            if on_progress is not None:
                on_progress(Progress(done, total))

        x_BChw: NDArray[np.float32] | None = None
        drawn = 0
        for stage, program, said, state in zip(plan.stages, programs, words, states, strict=True):
            x_BChw = sample(
                denoiser(bundle, stage, said, state, batch),
                state.start(batch, x_BChw, drawn),
                [program] * len(batch),
                state.fresh_noise(batch, drawn),
                on_step=watch,
                should_stop=should_stop,
                edits=state.edits(batch, drawn),
            )
            drawn += len(program) + 1
        if should_stop is not None and should_stop():
            raise Cancelled("cancelled before decoding")
        assert x_BChw is not None  # noqa: S101 - a plan has at least one stage
        pixels, *shown = finished([x_BChw, *estimates], bundle, plan)
        made += [Made(one, [frame[row] for frame in shown]) for row, one in enumerate(pixels)]
    return made


def _at_once(
    plan: Plan,
    bundle: Bundle,
    frames: bool,
    on_progress: Callable[[Progress], None] | None,
    should_stop: Callable[[], bool] | None,
) -> list[Made]:
    """Pictures that are not denoised: one made larger by the network for that, or what the model draws."""
    if frames:
        raise InputError("there are no steps, and so no frames", expected="no frames", param="frames")
    _check_memory(plan, 0)

    def watch(done: int, total: int) -> None:
        if done and on_progress is not None:
            on_progress(Progress(done, total))
        if should_stop is not None and should_stop():
            raise Cancelled(f"cancelled after {done} of {total} parts")

    if plan.enlarge is not None:
        assert bundle.enlarge is not None  # noqa: S101 - the task asked for the ability
        return [Made(bundle.enlarge(plan.enlarge.picture, plan.enlarge.scale, watch))]
    assert plan.drawing is not None  # noqa: S101 - a plan has one of the three
    assert bundle.draw is not None  # noqa: S101 - the task saw the ability
    return [Made(pixels) for pixels in bundle.draw(plan.drawing, plan.seeds, watch)]


def _check_memory(plan: Plan, frames: int) -> None:
    """All pictures, with so many frames each, are held until the last is done."""
    width, height = plan.size
    needed = 3 * width * height * len(plan.seeds) * (1 + frames)
    if needed > _MAX_BYTES:
        raise InputError(
            f"{len(plan.seeds)} pictures of {width}x{height} with {frames} frames each: {needed >> 20} MiB",
            expected=f"at most {_MAX_BYTES >> 20} MiB",
            remedy="Ask for fewer or smaller pictures, or do without frames.",
            param="frames" if frames else "count",
        )


def _batch_size(stage: Stage) -> int:
    return max(1, min(_MAX_ROWS, _MAX_PIXELS // (stage.size[0] * stage.size[1])))
