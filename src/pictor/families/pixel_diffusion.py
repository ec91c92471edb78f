"""Diffusion of pixels: diffusers' `DDPMPipeline` and `DDIMPipeline`, and the same steered by words.

There is no autoencoder: latents are the pixels. As such models are sampled with every estimate of the picture
kept in [-1, 1], the network here answers with that estimate, whatever its weights predict; without it steps
from nearly pure noise would explode (Ho et al. 2020, arXiv:2006.11239; Saharia et al. 2022,
arXiv:2205.11487, section 2.3).

Legend of array shapes: B rows, H, W pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import InputError, ModelError, PlanError
from pictor.core.levels import VPPath
from pictor.core.predictions import x0_from_output, x0_weights
from pictor.families.bundle import Bundle, Family, Network, Opening
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, open_parts
from pictor.families.parts.prompts import PromptEncoder
from pictor.families.parts.schedulers import Schedule, read_schedule
from pictor.families.parts.tokens import PromptTokenizer
from pictor.families.parts.unets import unet_traits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.families.bundle import Embeds

_WORDLESS = ("DDPMPipeline", "DDIMPipeline")
_STEERED = "PictorTextToPixelsPipeline"
_NO_AUTOENCODER = {"latent_channels": 3, "block_out_channels": [3]}
"""What the configuration of one that leaves pixels as they are would say."""


def _call(network: Any, inputs: Tensors) -> Tensors:
    return {"out_sample": network(inputs["sample"], inputs["timestep"]).sample}


WORDLESS_UNET = dataclasses.replace(
    PARTS["unet"],
    classes=("UNet2DModel",),
    inputs={"sample": "BCHW", "timestep": "B"},
    call=_call,
)
"""A UNet that takes a picture and a time, and nothing else."""


class Pixels:
    """Takes pixels for latents."""

    def decode(self, x0_BChw: NDArray[np.float32]) -> NDArray[np.float32]:
        return x0_BChw

    def encode(self, image_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        return image_B3HW


def open_pixel_diffusion(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder. Weights are checked to be whole at once, and read when they are first needed.

    Raises:
        ModelError: a file is missing or damaged, or asks for what this family does not do; names it.
        InputError: an adapter is given to a model that no words steer.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    parts = graphed(index)
    check_classes(folder / "model_index.json", index, {part.name: part.classes for part in parts})
    configs = {part.name: read_json(folder / part.subfolder / "config.json") for part in parts}
    file = folder / "scheduler" / "scheduler_config.json"
    schedule, limit = read_schedule(file), _limit(file)
    weights = [found for part in parts for found in find_weights(folder / part.subfolder)]
    for found in weights:
        read_header(found)
    steered = "text_encoder" in configs
    if not steered and (how.controlnet or how.likeness or how.embeddings or how.loras):
        raise InputError("no words steer this model", expected="no adapters", param="model")
    traits = unet_traits(
        folder,
        configs["unet"],
        _NO_AUTOENCODER,
        dataclasses.replace(schedule, prediction="x0"),
        how,
        max_tokens=int(configs["text_encoder"].get("max_position_embeddings", 77)) if steered else 0,
        growth=2,
        usual={"num_steps": 100, "guidance_scale": 3.0 if steered else 1.0},
    )
    if traits.sees_mask:
        raise ModelError(f"{folder / 'unet'} was made for inpainting", expected="3 channels", param="model")
    chosen, dtype, modules, adapters, learnt, look = open_parts(folder, parts, how)
    encode_prompt, count_chunks = _no_words, lambda _text: 1
    if steered:
        tokenizer = PromptTokenizer(folder / "tokenizer", traits.max_tokens, learnt.get("text_encoder"))
        encode_prompt = PromptEncoder(tokenizer, modules["text_encoder"])
        count_chunks = encode_prompt.count_chunks
    else:
        traits = dataclasses.replace(traits, abilities=traits.abilities - {"text"})
    return Bundle(
        traits=traits,
        network=_network(modules["unet"], schedule, limit, file),
        autoencoder=Pixels(),
        encode_prompt=encode_prompt,
        count_chunks=count_chunks,
        prepare=Background([module.load for module in modules.values()]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=chosen,
        dtype=dtype,
        adapters=adapters,
        encode_likeness=look,
    )


def graphed(index: Mapping[str, Any]) -> list[Part]:
    """The networks of such a folder."""
    if index.get("_class_name") == _STEERED:
        return [PARTS["text_encoder"], PARTS["unet"]]
    return [WORDLESS_UNET]


def _no_words(
    text: str, *, chunks: int = 1, size: tuple[int, int] | None = None, negative: bool = False
) -> Embeds:
    return {}


def _limit(file: Path) -> float:
    """How far from 0 an estimate of the picture may go."""
    config = read_json(file)
    if config.get("thresholding"):
        raise ModelError(f"{file} asks for dynamic thresholding", expected="clip_sample", param="model")
    try:
        return float(config.get("clip_sample_range", 1.0)) if config.get("clip_sample", True) else np.inf
    except (TypeError, ValueError) as error:
        raise ModelError(f"{file} is damaged ({error})", expected="a number", param="model") from None


def _network(unet: Module, schedule: Schedule, limit: float, file: Path) -> Network:
    path, prediction = schedule.path, schedule.prediction
    if not isinstance(path, VPPath):
        raise ModelError(
            f"{file} is of no path with timesteps", expected="a DDPM or DDIM scheduler", param="model"
        )
    try:
        x0_weights(prediction, path.at(path.t_max))
    except PlanError as error:
        raise ModelError(f"{file} cannot be sampled: {error}", param="model") from None

    def network(
        x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        out = unet.run(sample=x_BChw, timestep=time_B, **conditions)["out_sample"]
        levels = [path.at(float(time)) for time in time_B]  # a VP path's clock is what the network is told
        x0: NDArray[np.float32] = x0_from_output(prediction, x_BChw, out[:, :3], levels)
        return x0.clip(-limit, limit)

    return network


FAMILY = Family(
    name="pixel_diffusion",
    pipelines=(*_WORDLESS, _STEERED),
    open=open_pixel_diffusion,
    graphed=graphed,
)
