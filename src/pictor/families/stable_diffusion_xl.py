"""Stable Diffusion XL, its refiner and its inpainting models: a UNet that is told of two CLIPs and of sizes.

Legend of array shapes: B rows, T tokens, D width of an embedding, C latent channels, h, w latent rows and
columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.families.bundle import Bundle, Family, Network, Opening
from pictor.families.parts.autoencoder import ScaledAutoencoder, scaling
from pictor.families.parts.clip import clip_part
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, class_of, open_parts
from pictor.families.parts.prompts import PromptEncoder
from pictor.families.parts.schedulers import read_schedule
from pictor.families.parts.tokens import PromptTokenizer
from pictor.families.parts.unets import seen_channels, unet_traits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.families.bundle import Embeds

_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderTiny", "AutoencoderKL"),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
}
_MAX_TOKENS = 77
AESTHETIC, NEGATIVE_AESTHETIC = 6.0, 2.5
"""The scores that the refiner is told a picture has and shall not have: those that it is usually told."""


def _call_unet(network: Any, inputs: Tensors) -> Tensors:
    told = {"text_embeds": inputs["text_embeds"], "time_ids": inputs["time_ids"]}
    words = {"encoder_hidden_states": inputs["encoder_hidden_states"], "added_cond_kwargs": told}
    return {"out_sample": network(inputs["sample"], inputs["timestep"], **words).sample}


def parts_of(index: Mapping[str, Any]) -> list[Part]:
    """The UNet, both halves of the autoencoder, and the one or two text encoders of a model_index.json."""
    told = {"text_embeds": "BE", "time_ids": "B5" if _is_scored(index) else "B6"}
    unet = replace(PARTS["unet"], inputs=PARTS["unet"].inputs | told, call=_call_unet)
    # The refiner reads the second encoder alone.
    encoders = ["text_encoder"] * (class_of(index, "text_encoder") is not None) + ["text_encoder_2"]
    return [unet, PARTS["decoder"], PARTS["encoder"], *(clip_part(name) for name in encoders)]


def _is_scored(index: Mapping[str, Any]) -> bool:
    """Whether the network is told an aesthetic score in the place of the picture's size."""
    return bool(index.get("requires_aesthetics_score", False))


def open_stable_diffusion_xl(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder; see `open_stable_diffusion`.

    Raises:
        ModelError: a file is missing or damaged, or asks for what this family does not do; names it.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    check_classes(folder / "model_index.json", index, _CLASSES)
    wanted = parts_of(index)
    encoders = [part.name for part in wanted if part.name.startswith("text_encoder")]
    unet, vae = (read_json(folder / part / "config.json") for part in ("unet", "vae"))
    schedule = read_schedule(folder / "scheduler" / "scheduler_config.json")
    weights = [file for part in ("unet", "vae", *encoders) for file in find_weights(folder / part)]
    for file in weights:
        read_header(file)
    traits = unet_traits(
        folder,
        unet,
        vae,
        schedule,
        how,
        max_tokens=_MAX_TOKENS,
        growth=2,
        usual={"guidance_scale": 5.0},
    )
    scale, shift = scaling(folder / "vae" / "config.json", vae)
    chosen, dtype, parts, adapters, learnt, look = open_parts(folder, wanted, how)
    words = _Words(
        [
            PromptEncoder(
                PromptTokenizer(
                    folder / name.replace("text_encoder", "tokenizer"), _MAX_TOKENS, learnt.get(name)
                ),
                parts[name],
                hidden="hidden",
                pooled="pooled",
            )
            for name in encoders
        ],
        default_size=traits.defaults.size,
        scored=_is_scored(index),
        zeros=bool(index.get("force_zeros_for_empty_prompt", True)),
    )
    return Bundle(
        traits=traits,
        network=_network(parts["unet"], traits.latent_channels),
        autoencoder=ScaledAutoencoder(parts["decoder"], parts["encoder"], scale, shift),
        encode_prompt=words,
        count_chunks=words.count_chunks,
        prepare=Background([parts[name].load for name in (*encoders, "unet", "decoder")]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=chosen,
        dtype=dtype,
        adapters=adapters,
        encode_likeness=look,
    )


class _Words:
    """Prompt -> both encoders' tokens side by side, the second one's vector, and the sizes.

    Args:
        encoders: one or two.
        default_size: width and height in pixels where none is asked for.
        scored: whether the network is told an aesthetic score.
        zeros: whether an empty negative prompt is all zeros.
    """

    def __init__(
        self, encoders: Sequence[PromptEncoder], *, default_size: tuple[int, int], scored: bool, zeros: bool
    ) -> None:
        self._encoders = encoders
        self._default_size = default_size
        self._scored = scored
        self._zeros = zeros

    def count_chunks(self, text: str) -> int:
        return max(encoder.count_chunks(text) for encoder in self._encoders)

    def __call__(
        self, text: str, *, chunks: int = 1, size: tuple[int, int] | None = None, negative: bool = False
    ) -> Embeds:
        embeds = [encoder.encode(text, chunks) for encoder in self._encoders]
        hidden_TD = np.concatenate([one.hidden for one in embeds], axis=1)
        pooled_D = embeds[-1].pooled
        assert pooled_D is not None  # noqa: S101 - the encoders were opened with their pooled output
        if negative and self._zeros and not text.strip():
            hidden_TD, pooled_D = np.zeros_like(hidden_TD), np.zeros_like(pooled_D)
        width, height = size or self._default_size
        # The picture's size before it was cropped, where the crop begins, and its size.
        told: list[float] = [height, width, 0, 0]
        told += [NEGATIVE_AESTHETIC if negative else AESTHETIC] if self._scored else [height, width]
        return {
            "encoder_hidden_states": hidden_TD,
            "text_embeds": pooled_D,
            "time_ids": np.array(told, np.float32),
        }


def _network(unet: Module, channels: int) -> Network:
    def network(
        x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        words = {name: array for name, array in conditions.items() if name != "beside"}
        seen = seen_channels(x_BChw, conditions)
        return unet.run(sample=seen, timestep=time_B, **words)["out_sample"][:, :channels]

    return network


FAMILY = Family(
    name="stable_diffusion_xl",
    pipelines=(
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
    ),
    open=open_stable_diffusion_xl,
    graphed=parts_of,
)
