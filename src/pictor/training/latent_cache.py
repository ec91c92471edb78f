"""Latents of a prepared folder's pictures, kept so that a frozen autoencoder encodes each of them once.

They lie in the folder, under the autoencoder's own hash, each by its content: hash of the picture's file,
size, and whether it is mirrored. What is there thus serves pictures that stay where others come or go. Mean
and deviation are kept where the autoencoder tells both, so that each step draws latents of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.training.captioned_latents import PictureEncoder
from pictor.training.devices import networks
from pictor.training.kept_arrays import KeptArrays, Maker, Watch, growing, identity_of, opened
from pictor.training.objectives import Objective
from pictor.training.parts import encode
from pictor.training.pictures import StillPictures, View
from pictor.training.planes import planes

FOLDER = "latents"
_AT_ONCE = 16


@dataclass(frozen=True)
class LatentCache:
    """Kept latents to draw from; can be pickled to other processes."""

    arrays: KeptArrays
    """Of one autoencoder."""
    pictures: StillPictures

    def __call__(self, number: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Latents [C, h, w] of a sample, drawn anew where it is known how they vary."""
        kept = self.arrays[self.pictures.view(number).name]
        if len(kept) == 1:
            return np.array(kept[0])
        mean, deviation = kept
        drawn: NDArray[np.float32] = mean + deviation * rng.standard_normal(mean.shape, np.float32)
        return drawn


def use_kept_latents(objective: Objective, watch: Watch | None = None) -> None:
    """Let an objective on its device draw kept latents in the place of pictures; what is missing is made.

    Args:
        objective: one of captioned pictures between a frozen autoencoder's latents.
        watch: told as latents are made.

    Raises:
        InputError: it does not learn such pictures, they are drawn or cut anew each time, or there is no
            autoencoder whose encoding takes any time.
    """
    source: Any = getattr(objective, "source", None)
    encoders = [m for net in networks(objective) for m in net.modules() if isinstance(m, PictureEncoder)]
    if not hasattr(source, "each") or not encoders:
        raise _refused("this objective has no frozen autoencoder", "one that encodes captioned pictures")
    if encoders[0].linear:
        raise _refused(
            "this autoencoder encodes by one product of matrices, which costs next to nothing",
            "an autoencoder whose encoder is a network",
        )
    identity = identity_of({"vae": encoders[0].autoencoder})
    objective.source = source.each(  # type: ignore[attr-defined]
        lambda one: replace(one, kept=_kept(one.pictures.still, encoders[0], identity, watch))
    )


def _kept(
    pictures: StillPictures | None, encoder: PictureEncoder, identity: str, watch: Watch | None
) -> LatentCache:
    if pictures is None:
        raise _refused(
            "these pictures are drawn or cut anew each time that they are seen",
            "those of a prepared folder without a margin",
            "Prepare them with --margin 0, or leave cache_latents out.",
        )
    folder = pictures.folder / FOLDER / identity[:16]
    views = list({view.name: view for view in pictures.views()}.values())
    with growing(folder, Maker("autoencoder", identity, "cache_latents")) as there:
        done = sum(view.name in there.names for view in views)
        for part in _missing(views, there.names):
            pixels = np.stack([pictures.look(view) for view in part])
            there.add([view.name for view in part], _moments(encoder, pixels))
            done += len(part)
            if watch is not None:
                watch(done, len(views))
    return LatentCache(opened(folder), pictures)


def _refused(what: str, expected: str, remedy: str = "Leave cache_latents out.") -> InputError:
    return InputError(what, expected=expected, remedy=remedy, param="cache_latents")


def _missing(views: Iterable[View], there: Collection[str]) -> Iterator[list[View]]:
    """What is not there, a few at a time of one size each."""
    missing = sorted((view for view in views if view.name not in there), key=lambda view: view.size)
    for _, alike in groupby(missing, key=lambda view: view.size):
        while part := list(islice(alike, _AT_ONCE)):
            yield part


@torch.no_grad()
def _moments(encoder: PictureEncoder, image_BHW3: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Latents of about unit variance, [B, 1, C, h, w], or [B, 2, C, h, w] with their deviations."""
    autoencoder = encoder.autoencoder
    image = planes(torch.from_numpy(image_BHW3).to(encoder.bias.device))
    if isinstance(autoencoder, AutoencoderTiny):
        found = encode(autoencoder, image)[:, None]
    else:
        coded = autoencoder.encode(image).latent_dist
        shift, scale = autoencoder.config.shift_factor or 0.0, autoencoder.config.scaling_factor
        found = torch.stack([(coded.mean - shift) * scale, coded.std * scale], 1)
    kept: NDArray[np.float32] = found.float().cpu().numpy()
    return kept
