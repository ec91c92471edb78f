"""Where a stage's pictures begin, and what holds them on their way.

Legend of array shapes: N pictures of the plan, B rows of a batch, C latent channels, h, w latent rows and
columns, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from math import hypot
from typing import TYPE_CHECKING

import numpy as np

from pictor.core.geometry import slerp
from pictor.core.levels import Level
from pictor.core.noise import picture_noise
from pictor.core.plan import Stage
from pictor.engine.windows import piecewise
from pictor.families.bundle import Bundle
from pictor.sampling.loop import Edit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.core.plan import Pixels

    Array = NDArray[np.float32]

PIECE = 1024
"""Pixels a side beyond which an autoencoder works piece by piece."""
OVERLAP = 128
"""Pixels that neighbouring pieces share: more than an autoencoder sees around a pixel, for the most part."""


class States:
    """The starting states of a stage, its noise, and the edits that hold it to its origin.

    Args:
        stage: of the plan.
        bundle: the model, whose encoder is asked for given pictures once.
        seeds: of all pictures of the plan.
    """

    def __init__(self, stage: Stage, bundle: Bundle, seeds: Sequence[int]) -> None:
        self._stage = stage
        self._bundle = bundle
        self._seeds = seeds

    def start(self, batch: range, before_BChw: Array | None, drawn: int) -> Array:
        """The state at the stage's first level: noise over the origin, or over the stage before, or alone.

        Args:
            batch: which pictures.
            before_BChw: what the stage before made, None for the first.
            drawn: how often each picture's seed was drawn from before.
        """
        level, noise = self._stage.levels[0], self._noise(batch, drawn)
        origin = self._stage.origin
        base = self._origin(batch) if origin is not None and origin.begins else before_BChw
        if base is not None:
            return np.float32(level.alpha) * base + np.float32(level.sigma) * noise
        # Data of unit variance under independent noise; exactly the noise where alpha is 0.
        return hypot(level.alpha, level.sigma) * noise

    def fresh_noise(self, batch: range, drawn: int) -> Callable[[int, int], Array]:
        """The noise of stochastic solvers: a function of row and step."""
        shape = self._stage.latent_shape
        return lambda row, step: picture_noise(self._seeds[batch[row]], shape, step=drawn + step)

    def edits(self, batch: range, drawn: int) -> list[Edit]:
        """What is done to a row after each step: what is held becomes the origin again.

        The origin is noised to the level with the noise that the picture began with, so that what is held
        moves along one straight way and ends where it began.
        """
        mask = None if self._bundle.traits.sees_mask else self._mask
        layout = self._stage.layout
        if mask is None and layout is None:
            return []
        noise, origin = self._noise(batch, drawn), self._origin(batch)
        last = 0.0 if layout is None else layout.until * (len(self._stage.levels) - 1)

        def hold(row: int, x: Array, then: Level, step: int) -> Array:
            known = np.float32(then.alpha) * origin[row] + np.float32(then.sigma) * noise[row]
            if layout is not None and step <= last:
                x = x + coarse(known - x, layout.cells)
            return x if mask is None else mask * x + (1 - mask) * known

        return [hold]

    @cached_property
    def beside(self) -> Array | None:
        """What networks made for inpainting see besides, [N, 1 + C, h, w]: the mask, then what it leaves."""
        stage = self._stage
        if stage.mask is None or stage.origin is None or not self._bundle.traits.sees_mask:
            return None
        hidden = stage.mask >= 0.5  # such networks were trained on masks of 0 and 1
        stride = self._bundle.traits.latent_stride
        mask = hidden[::stride, ::stride].astype(np.float32)
        latents = [
            # Grey, the middle of a network's range, where the picture is hidden.
            self._encode(np.where(hidden[..., None], np.float32(0), _signed(picture)))
            for picture in stage.origin.pictures
        ]
        return np.stack(
            [np.concatenate([mask[None], latents[first]]) for first, _, _ in stage.origin.between]
        )

    @cached_property
    def control(self) -> Array | None:
        """The control picture [3, H, W] from 0 to 1."""
        control = self._stage.control
        if control is None:
            return None
        return np.ascontiguousarray(control.picture.transpose(2, 0, 1), np.float32) / np.float32(255)

    @cached_property
    def likeness(self) -> tuple[Array, Array, float] | None:
        """What a picture adapter attends to, what it does without a prompt, and how much; None without one.

        A model with an adapter always attends to something: to nothing's likeness, at weight 0.
        """
        encode, wish = self._bundle.encode_likeness, self._stage.likeness
        if encode is None:
            return None
        if wish is None:
            empty = encode(np.zeros((8, 8, 3), np.uint8))[1]
            return empty, empty, 0.0
        return (*encode(wish.picture), wish.weight)

    def style_moments(self) -> tuple[Array, Array]:
        """Mean and spread of each latent channel of the style picture, [C, 1, 1]."""
        assert self._stage.style is not None  # noqa: S101 - asked for stages with a style
        latents = self._encode(_signed(self._stage.style.picture))
        return latents.mean((1, 2), keepdims=True), latents.std((1, 2), keepdims=True)

    def _noise(self, batch: range, drawn: int) -> Array:
        if self._stage.noise is not None:
            return self._stage.noise[batch.start : batch.stop]
        shape = self._stage.latent_shape
        return np.stack([picture_noise(self._seeds[picture], shape, step=drawn) for picture in batch])

    def _origin(self, batch: range) -> Array:
        origin = self._stage.origin
        assert origin is not None  # noqa: S101 - a stage with a mask has an origin
        known, rows = self._origin_latents, slice(batch.start, batch.stop)
        if origin.sums:
            return np.stack([_sum(known, weights) for weights in origin.sums[rows]])
        return np.stack([slerp(known[i], known[j], t) for i, j, t in origin.between[rows]])

    @cached_property
    def _origin_latents(self) -> list[Array]:
        assert self._stage.origin is not None  # noqa: S101 - asked for stages with an origin
        return [self._encode(_signed(picture)) for picture in self._stage.origin.pictures]

    @cached_property
    def _mask(self) -> Array | None:
        """[h, w]: the share of each latent's pixels that is repainted."""
        if self._stage.mask is None:
            return None
        stride = self._bundle.traits.latent_stride
        height, width = self._stage.mask.shape
        blocks = self._stage.mask.reshape(height // stride, stride, width // stride, stride)
        shares: Array = blocks.mean((1, 3), dtype=np.float32)
        return shares

    def _encode(self, image_HW3: Array) -> Array:
        """Latents [C, h, w] of pixels in [-1, 1]."""
        stride = self._bundle.traits.latent_stride
        cells = PIECE // stride
        image_13HW = np.ascontiguousarray(image_HW3.transpose(2, 0, 1)[None], np.float32)
        encode = self._bundle.autoencoder.encode
        latents = piecewise(image_13HW, encode, (cells, cells), OVERLAP // stride, stride, divide=True)
        return np.asarray(latents[0], np.float32)


def coarse(plane: Array, cells: int) -> Array:
    """An array [C, h, w] as means over squares of `cells` a side, those at the far ends maybe smaller."""
    height, width = plane.shape[-2:]
    rows, columns = np.arange(0, height, cells), np.arange(0, width, cells)
    sums = np.add.reduceat(np.add.reduceat(plane, rows, axis=-2), columns, axis=-1)
    tall, wide = np.diff([*rows, height]), np.diff([*columns, width])
    means = np.asarray(sums / (tall[:, None] * wide), np.float32)
    return means.repeat(tall, axis=-2).repeat(wide, axis=-1)


def _sum(arrays: Sequence[Array], weights: Sequence[float]) -> Array:
    total = np.zeros_like(arrays[0])
    for weight, array in zip(weights, arrays, strict=True):
        total += np.float32(weight) * array
    return total


def _signed(pixels: Pixels) -> Array:
    return pixels.astype(np.float32) / 127.5 - 1.0
