"""What families with a UNet share: its sizes, and the further channels of those made for inpainting.

Legend of array shapes: B rows, C latent channels, h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pictor.core.errors import ModelError
from pictor.core.plan import Traits
from pictor.families.parts.autoencoder import latent_stride
from pictor.families.parts.opening import abilities
from pictor.families.parts.schedulers import Schedule
from pictor.families.parts.wishes import Wishes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.families.bundle import Embeds, Opening


class UnetSizes(NamedTuple):
    """What a UNet's configuration says of pictures."""

    channels: int
    """Of the latents."""
    sees_mask: bool
    stride: int
    """Pixels that sides must be multiples of."""
    size: tuple[int, int]
    """Width and height in pixels that it was made for."""


def unet_sizes(folder: Path, config: Mapping[str, Any], channels: int, latent_stride: int) -> UnetSizes:
    """Read them.

    Args:
        folder: of the model, for messages.
        config: of the UNet.
        channels: of the autoencoder's latents.
        latent_stride: pixels a latent.

    Raises:
        ModelError: the UNet takes neither these latents nor them with a mask and a hidden picture.
        KeyError, TypeError, ValueError: the configuration is damaged.
    """
    taken = int(config.get("in_channels", 4))
    if taken not in (channels, 2 * channels + 1):
        raise ModelError(
            f"{folder / 'unet' / 'config.json'} takes {taken} channels",
            expected=f"the autoencoder's {channels}, or {2 * channels + 1} for inpainting",
            param="model",
        )
    side = config.get("sample_size") or 64
    height, width = side if isinstance(side, list | tuple) else (side, side)
    return UnetSizes(
        channels=channels,
        sees_mask=taken > channels,
        stride=latent_stride * int(2 ** (len(config["block_out_channels"]) - 1)),
        size=(int(width) * latent_stride, int(height) * latent_stride),
    )


def unet_traits(
    folder: Path,
    unet: Mapping[str, Any],
    vae: Mapping[str, Any],
    schedule: Schedule,
    how: Opening,
    *,
    max_tokens: int,
    growth: int,
    usual: Mapping[str, Any],
) -> Traits:
    """Traits of a UNet on an autoencoder's latents.

    Args:
        folder: of the model.
        unet, vae: their configurations.
        schedule: of its scheduler.
        how: the user's wishes.
        max_tokens: of a prompt's chunk.
        growth: how many times the default's greater side a picture's side may be.
        usual: defaults of this kind of model.

    Raises:
        ModelError: a configuration is damaged, or the two do not fit each other.
    """
    try:
        stride = latent_stride(vae)
        sizes = unet_sizes(folder, unet, int(vae.get("latent_channels", 4)), stride)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"a config.json in {folder} is damaged ({error!r})",
            expected="diffusers' configurations",
            param="model",
        ) from None
    wishes = Wishes(folder)
    defaults = wishes.defaults(schedule, sizes.size, **usual)
    low, high = wishes.sides(sizes.stride, growth * max(defaults.size))
    return Traits(
        name=wishes.name,
        abilities=abilities(how, sees_mask=sizes.sees_mask),
        path=schedule.path,
        prediction=schedule.prediction,
        sigma_data=schedule.sigma_data,
        latent_channels=sizes.channels,
        latent_stride=stride,
        stride=sizes.stride,
        min_side=low,
        max_side=high,
        max_tokens=max_tokens,
        sees_mask=sizes.sees_mask,
        defaults=defaults,
    )


def seen_channels(x_BChw: NDArray[np.float32], conditions: Embeds) -> NDArray[np.float32]:
    """Noise, mask, hidden picture, in the order that networks for inpainting were trained with."""
    if "beside" not in conditions:
        return x_BChw
    return np.concatenate([x_BChw, conditions["beside"]], axis=1)
