"""Flux.1: a transformer on a flow whose shift grows with the picture, steered by T5 and CLIP's vector.

The models that were distilled with guidance take the scale as an input, and need no second evaluation.

Legend of array shapes: B rows, N tokens of the picture (2 x 2 latents each), T tokens of the prompt, C latent
channels, h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.families.bundle import Bundle, Family, Network, Opening
from pictor.families.parts.autoencoder import ScaledAutoencoder, scaling
from pictor.families.parts.clip import language_part
from pictor.families.parts.files import read_json
from pictor.families.parts.flows import flow_traits
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.long_texts import LongEncoder, LongTokenizer
from pictor.families.parts.opening import Background, check_classes, open_parts
from pictor.families.parts.prompts import PromptEncoder
from pictor.families.parts.schedulers import read_schedule
from pictor.families.parts.tokens import PromptTokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.families.bundle import Embeds

_CLASSES = {
    "transformer": ("FluxTransformer2DModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("T5EncoderModel",),
}
_CLIP_TOKENS, _T5_TOKENS = 77, 512
_PATCH = 2
_SIDE = 128
"""Latents a side of the pictures that the models were made for; it stands in no configuration."""
_GUIDED = {"num_steps": 28, "guidance_scale": 3.5}
_QUICK = {"num_steps": 4, "guidance_scale": 1.0}


def _call_transformer(network: Any, inputs: Tensors) -> Tensors:
    guidance = inputs.get("guidance")
    out = network(
        hidden_states=inputs["sample"],
        timestep=inputs["timestep"],
        guidance=guidance,
        encoder_hidden_states=inputs["encoder_hidden_states"],
        pooled_projections=inputs["pooled_projections"],
        img_ids=inputs["img_ids"],
        txt_ids=inputs["txt_ids"],
    )
    return {"out_sample": out.sample}


def transformer_part(guided: bool) -> Part:
    """The transformer, with or without the guidance scale among its inputs."""
    inputs = {
        "sample": "BNC",
        "timestep": "B",
        "encoder_hidden_states": "BTD",
        "pooled_projections": "BE",
        "img_ids": "N3",
        "txt_ids": "T3",
    }
    return Part(
        name="transformer",
        subfolder="transformer",
        library="diffusers",
        classes=("FluxTransformer2DModel",),
        inputs=inputs | ({"guidance": "B"} if guided else {}),
        outputs=("out_sample",),
        call=_call_transformer,
        images=False,
    )


def open_flux(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder; see `open_stable_diffusion`.

    Raises:
        ModelError: a file is missing or damaged, or asks for what this family does not do; names it.
        MissingExtraError: torch is not installed.
    """
    check_classes(folder / "model_index.json", index, _CLASSES)
    transformer, vae = (read_json(folder / part / "config.json") for part in ("transformer", "vae"))
    schedule = read_schedule(folder / "scheduler" / "scheduler_config.json")
    weights = [file for part in _CLASSES for file in find_weights(folder / part)]
    for file in weights:
        read_header(file)
    guided = bool(transformer.get("guidance_embeds", False))
    traits = flow_traits(
        folder,
        schedule,
        transformer,
        vae,
        channels=int(transformer.get("in_channels", 64)) // _PATCH**2,
        max_tokens=_T5_TOKENS,
        usual=_GUIDED if guided else _QUICK,
        side=_SIDE,
        patch=_PATCH,
        embeds_guidance=guided,
    )
    scale, shift = scaling(folder / "vae" / "config.json", vae)
    wanted = [
        transformer_part(guided),
        PARTS["decoder"],
        PARTS["encoder"],
        PARTS["text_encoder"],
        language_part("text_encoder_2", ("T5EncoderModel",)),
    ]
    chosen, dtype, parts, adapters, *_ = open_parts(folder, wanted, how)
    clip = PromptEncoder(
        PromptTokenizer(folder / "tokenizer", _CLIP_TOKENS), parts["text_encoder"], pooled="pooler_output"
    )
    t5 = LongEncoder(LongTokenizer(folder / "tokenizer_2", _T5_TOKENS), parts["text_encoder_2"])

    def encode_prompt(
        text: str, *, chunks: int = 1, size: tuple[int, int] | None = None, negative: bool = False
    ) -> Embeds:
        pooled = clip.encode(text, at_most=1).pooled
        assert pooled is not None  # noqa: S101 - the encoder was opened with its pooled output
        return {"encoder_hidden_states": t5(text)[0], "pooled_projections": pooled}

    return Bundle(
        traits=traits,
        network=_network(parts["transformer"]),
        autoencoder=ScaledAutoencoder(parts["decoder"], parts["encoder"], scale, shift),
        encode_prompt=encode_prompt,
        count_chunks=lambda _text: 1,
        prepare=Background(
            [parts[name].load for name in ("text_encoder", "text_encoder_2", "transformer", "decoder")]
        ),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=chosen,
        dtype=dtype,
        adapters=adapters,
    )


def _network(transformer: Module) -> Network:
    def network(
        x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        _, _, height, width = x_BChw.shape
        rows, columns = np.mgrid[: height // _PATCH, : width // _PATCH]
        places_N3 = np.stack([0 * rows, rows, columns], axis=-1).reshape(-1, 3).astype(np.float32)
        words_N3 = np.zeros((conditions["encoder_hidden_states"].shape[1], 3), np.float32)
        out_BND = transformer.run(
            sample=packed(x_BChw),
            timestep=time_B / 1000.0,
            img_ids=places_N3,
            txt_ids=words_N3,
            **conditions,
        )["out_sample"]
        return unpacked(out_BND, height, width)

    return network


def packed(x_BChw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Latents as tokens of 2 x 2 each, [B, N, 4 C], row by row."""
    batch, channels, height, width = x_BChw.shape
    parts = x_BChw.reshape(batch, channels, height // _PATCH, _PATCH, width // _PATCH, _PATCH)
    return np.ascontiguousarray(parts.transpose(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * _PATCH**2))


def unpacked(x_BND: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """What `packed` made, as latents [B, C, height, width]."""
    parts = x_BND.reshape(len(x_BND), height // _PATCH, width // _PATCH, -1, _PATCH, _PATCH)
    return np.ascontiguousarray(parts.transpose(0, 3, 1, 4, 2, 5).reshape(len(x_BND), -1, height, width))


FAMILY = Family(
    name="flux",
    pipelines=("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
    open=open_flux,
)
