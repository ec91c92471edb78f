"""Folders of the shape of Stable Diffusion: a UNet steered by one CLIP text encoder, and an autoencoder.

Stable Diffusion 1 and 2 and their descendants have it, those for inpainting among them, and so has Pictor's
own embedded model. Beyond what diffusers writes, a folder may hold ONNX graphs beside its weights, and a
`pictor.json` with defaults of ours (`pictor.families.parts.wishes`).

Legend of array shapes: B rows, C latent channels, h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError
from pictor.families.beside import with_describer
from pictor.families.bundle import Bundle, Family, Network, Opening
from pictor.families.parts.autoencoder import ScaledAutoencoder, scaling
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, open_parts
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
    "text_encoder": ("CLIPTextModel",),
}


def open_stable_diffusion(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder. Weights are checked to be whole at once, and read when they are first needed.

    Raises:
        ModelError: a file is missing or damaged, or asks for what this family does not do; names it.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    check_classes(folder / "model_index.json", index, _CLASSES)
    unet, vae, text = (read_json(folder / part / "config.json") for part in _CLASSES)
    schedule = read_schedule(folder / "scheduler" / "scheduler_config.json")
    weights = [file for part in _CLASSES for file in find_weights(folder / part)]
    for file in weights:
        read_header(file)
    traits = unet_traits(
        folder, unet, vae, schedule, how, max_tokens=_tokens(folder, text), growth=4, usual={}
    )
    scale, shift = scaling(folder / "vae" / "config.json", vae)
    chosen, dtype, parts, adapters, learnt, look = open_parts(folder, PARTS.values(), how)
    tokenizer = PromptTokenizer(folder / "tokenizer", traits.max_tokens, learnt.get("text_encoder"))
    words = PromptEncoder(tokenizer, parts["text_encoder"])
    bundle = Bundle(
        traits=traits,
        network=_network(parts["unet"], traits.latent_channels),
        autoencoder=ScaledAutoencoder(parts["decoder"], parts["encoder"], scale, shift),
        encode_prompt=words,
        count_chunks=words.count_chunks,
        prepare=Background([parts[name].load for name in ("text_encoder", "unet", "decoder")]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=chosen,
        dtype=dtype,
        adapters=adapters,
        encode_likeness=look,
    )
    return with_describer(bundle, folder, how, tokenizer, parts["text_encoder"])


def _tokens(folder: Path, text: Mapping[str, Any]) -> int:
    """Tokens that the text encoder takes."""
    try:
        return int(text.get("max_position_embeddings", 77))
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{folder / 'text_encoder' / 'config.json'} is damaged ({error!r})",
            expected="transformers' configuration",
            param="model",
        ) from None


def _network(unet: Module, channels: int) -> Network:
    def network(
        x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        words = {name: array for name, array in conditions.items() if name != "beside"}
        seen = seen_channels(x_BChw, conditions)
        out = unet.run(sample=seen, timestep=time_B, **words)["out_sample"]
        return out[:, :channels]  # a learnt variance comes in further channels

    return network


FAMILY = Family(
    name="stable_diffusion",
    pipelines=(
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
    ),
    open=open_stable_diffusion,
    graphed=lambda _index: list(PARTS.values()),
)
