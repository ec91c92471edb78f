"""What families with a transformer and a flow share: their traits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pictor.core.errors import ModelError
from pictor.core.levels import Path as NoisePath
from pictor.core.plan import Traits
from pictor.families.parts.autoencoder import latent_stride
from pictor.families.parts.schedulers import Schedule
from pictor.families.parts.wishes import Wishes


def flow_traits(
    folder: Path,
    schedule: Schedule,
    transformer: Mapping[str, Any],
    vae: Mapping[str, Any],
    *,
    channels: int,
    max_tokens: int,
    usual: Mapping[str, Any],
    side: int | None = None,
    patch: int | None = None,
    embeds_guidance: bool = False,
) -> Traits:
    """Traits of a transformer on an autoencoder's latents.

    Args:
        folder: of the model.
        schedule: of its scheduler.
        transformer: its configuration.
        vae: the autoencoder's.
        channels: of latents, as the transformer takes them.
        max_tokens: of a prompt.
        usual: defaults of this kind of model.
        side: latents a side that it was made for; None for what its configuration says.
        patch: latents a side of a token; None for what its configuration says.
        embeds_guidance: see `Traits`.

    Raises:
        ModelError: a configuration is damaged, or the two do not fit each other.
    """
    try:
        stride = latent_stride(vae)
        latents = int(vae.get("latent_channels", 4))
        patch = int(transformer.get("patch_size") or 1) if patch is None else patch
        side = int(transformer.get("sample_size") or 128) if side is None else side
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"a config.json in {folder} is damaged ({error!r})",
            expected="diffusers' configurations",
            param="model",
        ) from None
    if channels != latents:
        raise ModelError(
            f"{folder / 'transformer' / 'config.json'} takes latents of {channels} channels",
            expected=f"the autoencoder's {latents}",
            param="model",
        )
    wishes = Wishes(folder)
    defaults = wishes.defaults(schedule, (side * stride, side * stride), **usual)
    step = stride * patch
    low, high = wishes.sides(step, 2 * max(defaults.size))
    of_tokens = schedule.path_of_tokens

    def path(size: tuple[int, int]) -> NoisePath:
        assert of_tokens is not None  # noqa: S101 - asked for where it is there
        return of_tokens((size[0] // step) * (size[1] // step))

    return Traits(
        name=wishes.name,
        abilities=frozenset({"text", "whole", "encode"}),
        path=schedule.path if of_tokens is None else path(defaults.size),
        path_of_size=None if of_tokens is None else path,
        prediction=schedule.prediction,
        latent_channels=channels,
        latent_stride=stride,
        stride=step,
        min_side=low,
        max_side=high,
        max_tokens=max_tokens,
        embeds_guidance=embeds_guidance,
        defaults=defaults,
    )
