"""The denoiser of a batch: the network, its words and guidance, and what a stage asks of the way it looks.

Legend of array shapes: B rows, C latent channels, h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.levels import Level
from pictor.core.plan import Stage
from pictor.core.predictions import input_scale, x0_from_output
from pictor.engine.states import States
from pictor.engine.windows import Window, continued, inner, merged, windows
from pictor.engine.words import Words
from pictor.families.bundle import Bundle
from pictor.sampling import guided
from pictor.sampling.guidance import Guidance, Predict, Which
from pictor.sampling.loop import Denoise

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

Cut = Callable[[Any, int], Any]
"""cut(plane [..., h factor, w factor], factor) -> the piece of it that the network sees."""

_SPREAD = 1e-6


def denoiser(bundle: Bundle, stage: Stage, words: Words, states: States, batch: range) -> Denoise:
    """D(x, levels) -> x0 of the plan's pictures `batch`, as the stage wants it.

    Args:
        bundle: the model.
        stage: of the plan.
        words: of that stage.
        states: of that stage.
        batch: which pictures the rows are.
    """
    rules = [_rule(stage, bundle, stage.conditions[picture].guidance_scale) for picture in batch]

    def looking(cut: Cut) -> Denoise:
        predict: Predict = _predict(bundle, stage, words, states, batch, cut)
        return guided(predict, rules)

    denoise = _pieced(stage, bundle, looking)
    return denoise if stage.style is None else _styled(denoise, stage.style.amount, states)


def _rule(stage: Stage, bundle: Bundle, scale: float) -> Guidance:
    guiding, traits = stage.guiding, bundle.traits
    return Guidance(
        scale=1.0 if traits.embeds_guidance else scale,
        k_low=guiding.k_low,
        k_high=guiding.k_high,
        phi=guiding.rescale,
        space=traits.prediction,
        sigma_data=traits.sigma_data,
    )


def _predict(bundle: Bundle, stage: Stage, words: Words, states: States, batch: range, cut: Cut) -> Predict:
    prediction, sigma_data = bundle.prediction, bundle.traits.sigma_data

    def predict(
        x: Array, levels: Sequence[Level], rows: Sequence[int], which: Sequence[Which]
    ) -> NDArray[np.float32]:
        scales = np.array([input_scale(prediction, level, sigma_data) for level in levels], np.float32)
        pictures = [batch[row] for row in rows]
        conditions = words.stacked(pictures, which, levels)
        if states.beside is not None:
            conditions["beside"] = cut(states.beside[pictures], 1)
        if stage.control is not None and states.control is not None:
            last = stage.control.until * (len(stage.levels) - 1)
            weights = [stage.control.weight * (words.step(level) < last) for level in levels]
            conditions["control_weight"] = np.array(weights, np.float32)
            shapes = cut(states.control, bundle.traits.latent_stride)
            conditions["control"] = np.repeat(shapes[None], len(rows), axis=0)
        if states.likeness is not None:
            seen, unseen, weight = states.likeness
            looks = [unseen if one == "unconditional" else seen for one in which]
            conditions["likeness"] = np.stack(looks)
            conditions["likeness_weight"] = np.full(len(rows), weight, np.float32)
        times = np.array([level.time for level in levels], np.float64)
        output = bundle.network(x * scales[:, None, None, None], times, conditions)
        x0: Array = x0_from_output(prediction, x, output, levels, sigma_data)
        return x0

    return predict


def _pieced(stage: Stage, bundle: Bundle, looking: Callable[[Cut], Denoise]) -> Denoise:
    """The denoiser on the plane continued across its sides, and piece by piece, where the stage says so."""
    stride = bundle.traits.latent_stride
    _, rows, columns = stage.latent_shape
    margins = seam_margins(stage, bundle.traits.stride // stride)
    if stage.tiles is None:
        if margins == (0, 0):
            return looking(lambda plane, _factor: plane)
        whole = looking(lambda plane, factor: continued(plane, _times(margins, factor)))
        return lambda x, levels, at: inner(whole(continued(x, margins), levels, at), margins)
    height, width = rows + 2 * margins[0], columns + 2 * margins[1]
    overlap = stage.tiles.overlap // stride
    piece = (stage.tiles.size[1] // stride, stage.tiles.size[0] // stride)
    pieces = [
        (window, looking(_cutter(window, margins))) for window in windows(height, width, piece, overlap)
    ]

    def denoise(x: Array, levels: Sequence[Level], at: Sequence[int]) -> Array:
        plane = continued(x, margins)
        parts = [(window, look(window.cut(plane), levels, at)) for window, look in pieces]
        return inner(merged(parts, height, width, overlap), margins)

    return denoise


def _cutter(window: Window, margins: tuple[int, int]) -> Cut:
    return lambda plane, factor: window.scaled(factor).cut(continued(plane, _times(margins, factor)))


def _times(margins: tuple[int, int], factor: int) -> tuple[int, int]:
    return margins[0] * factor, margins[1] * factor


def seam_margins(stage: Stage, multiple: int) -> tuple[int, int]:
    """How many rows and columns of latents a seamless picture is continued by, on each side.

    A quarter of the picture, in the multiples that the network's own downsampling needs: wide enough for the
    network to see across the seam, and 2.25 times the work for both directions.
    """
    _, height, width = stage.latent_shape
    across, along = stage.wrap
    rows = -(-height // (4 * multiple)) * multiple if along else 0
    columns = -(-width // (4 * multiple)) * multiple if across else 0
    return rows, columns


def _styled(denoise: Denoise, amount: float, states: States) -> Denoise:
    """Each channel's mean and spread drawn to the style picture's: AdaIN (Huang and Belongie 2017,
    arXiv:1703.06868)."""
    mean, spread = states.style_moments()

    def restyled(x: Array, levels: Sequence[Level], rows: Sequence[int]) -> Array:
        x0: Array = denoise(x, levels, rows)
        own_mean = x0.mean((2, 3), keepdims=True)
        own_spread = x0.std((2, 3), keepdims=True)
        target = (x0 - own_mean) / (own_spread + _SPREAD) * spread + mean
        mixed: Array = x0 + np.float32(amount) * (target - x0)
        return mixed

    return restyled
