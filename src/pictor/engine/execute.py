"""Run a plan: noise, guided denoising in batches, decoding.

Legend of array shapes: B rows, C latent channels, h, w latent rows and columns, H, W pixels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import Cancelled, InputError, PictorError
from pictor.core.levels import Level
from pictor.core.noise import picture_noise
from pictor.core.plan import Conditions, Plan, Stage
from pictor.core.predictions import input_scale, x0_from_output
from pictor.families.bundle import Bundle
from pictor.sampling import classifier_free, guided, sample, solver
from pictor.sampling.guidance import Predict, Which
from pictor.sampling.loop import Denoise

_MAX_BYTES = 2**31
"""Of all pixels that one call makes."""

Pixels = NDArray[np.uint8]

_MAX_ROWS = 8
_MAX_PIXELS = 2**18
"""Pictures of a batch: enough to fill the processor, few enough to bound memory (one at 512 x 512)."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the work is, counted in steps over all pictures."""

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
    programs = [solver(stage.solver)(stage.levels) for stage in plan.stages]
    _check_memory(plan, sum(len(program) for program in programs) if frames else 0)
    size = min(_batch_size(stage) for stage in plan.stages)
    batches = [range(at, min(at + size, len(plan.seeds))) for at in range(0, len(plan.seeds), size)]
    total = len(batches) * sum(len(program) for program in programs)
    encoded = [encode(stage.conditions, bundle) for stage in plan.stages]
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

        seeds = [plan.seeds[index] for index in batch]
        x_BChw: NDArray[np.float32] | None = None
        drawn = 0
        for stage, program, embeds in zip(plan.stages, programs, encoded, strict=True):
            x_BChw = sample(
                denoiser(bundle, stage.conditions, embeds, len(batch)),
                _start(stage, batch, seeds, x_BChw, drawn),
                [program] * len(batch),
                _fresh_noise(stage, seeds, drawn),
                on_step=watch,
                should_stop=should_stop,
            )
            drawn += len(program) + 1
        if should_stop is not None and should_stop():
            raise Cancelled("cancelled before decoding")
        made += _decoded(bundle, x_BChw, estimates)
    return made


def encode(conditions: Conditions, bundle: Bundle) -> dict[Which, Mapping[str, NDArray[Any]]]:
    """The embeddings that a guidance scale calls for: one at 0 or 1, else two."""
    texts: dict[Which, str] = {}
    if conditions.guidance_scale != 0.0:
        texts["conditional"] = conditions.prompt
    if conditions.guidance_scale != 1.0:
        texts["unconditional"] = conditions.negative_prompt
    return {which: bundle.encode_prompt(text) for which, text in texts.items()}


def denoiser(
    bundle: Bundle, conditions: Conditions, embeds: Mapping[Which, Mapping[str, NDArray[Any]]], rows: int
) -> Denoise:
    """The guided denoiser D(x, levels) -> x0 of a batch whose rows share their words."""
    prediction, sigma_data = bundle.prediction, bundle.traits.sigma_data

    def predict(
        x: NDArray[np.float32], levels: Sequence[Level], _rows: Sequence[int], which: Sequence[Which]
    ) -> NDArray[np.float32]:
        scales = np.array([input_scale(prediction, level, sigma_data) for level in levels], np.float32)
        stacked = {
            name: np.stack([embeds[one][name] for one in which]) for name in next(iter(embeds.values()))
        }
        times = np.array([level.time for level in levels], np.float64)
        output = bundle.network(x * scales[:, None, None, None], times, stacked)
        x0: NDArray[np.float32] = x0_from_output(prediction, x, output, levels, sigma_data)
        return x0

    typed: Predict = predict
    return guided(typed, [classifier_free(conditions.guidance_scale)] * rows)


def to_pixels(image_B3HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Pixels [B, H, W, 3] of pictures in [-1, 1]; what lies beyond is clipped."""
    unit = np.clip(image_B3HW * 0.5 + 0.5, 0.0, 1.0)
    pixels: NDArray[np.uint8] = np.rint(unit * 255.0).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def _check_memory(plan: Plan, frames: int) -> None:
    """All pictures, with so many frames each, are held until the last is done."""
    width, height = plan.stages[-1].size
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


def _start(
    stage: Stage,
    batch: range,
    seeds: Sequence[int],
    before_BChw: NDArray[np.float32] | None,
    drawn: int,
) -> NDArray[np.float32]:
    """The state at the stage's first level: given; or noise; or the stage before, noised again."""
    if stage.start is not None:
        return stage.start[batch.start : batch.stop]
    noise = np.stack([picture_noise(seed, stage.latent_shape, step=drawn) for seed in seeds])
    level = stage.levels[0]
    if before_BChw is not None:
        return level.alpha * before_BChw + level.sigma * noise
    # Data of unit variance under independent noise; exactly the noise where alpha is 0.
    return hypot(level.alpha, level.sigma) * noise


def _fresh_noise(stage: Stage, seeds: Sequence[int], drawn: int) -> Callable[[int, int], NDArray[np.float32]]:
    return lambda row, step: picture_noise(seeds[row], stage.latent_shape, step=drawn + step)


def _decoded(
    bundle: Bundle, x_BChw: NDArray[np.float32] | None, estimates: Sequence[NDArray[np.float32]]
) -> list[Made]:
    """Finished pictures, each with its frames; decoded by the batch, which bounds memory."""
    assert x_BChw is not None  # noqa: S101 - a plan has at least one stage
    image_B3HW = bundle.autoencoder.decode(x_BChw)
    if not np.isfinite(image_B3HW).all():  # clipped, it would be a black picture without a word
        raise PictorError(
            "the model's numbers overflowed",
            remedy="Use a lower guidance scale, another solver or more steps.",
        )
    finished = to_pixels(image_B3HW)
    frames = [to_pixels(bundle.autoencoder.decode(x0_BChw)) for x0_BChw in estimates]
    return [Made(pixels, [frame[row] for frame in frames]) for row, pixels in enumerate(finished)]
