"""Stable Diffusion 3: a transformer on a flow, steered by two CLIPs and, where it is there, T5.

Legend of array shapes: B rows, T tokens, D width of an embedding, C latent channels, h, w latent rows and
columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.families.bundle import Bundle, Family, Network, Opening
from pictor.families.parts.autoencoder import ScaledAutoencoder, scaling
from pictor.families.parts.clip import clip_part, language_part
from pictor.families.parts.files import read_json
from pictor.families.parts.flows import flow_traits
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.long_texts import LongEncoder, LongTokenizer
from pictor.families.parts.opening import Background, check_classes, class_of, open_parts
from pictor.families.parts.prompts import PromptEncoder
from pictor.families.parts.schedulers import read_schedule
from pictor.families.parts.tokens import PromptTokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.families.bundle import Embeds

_CLASSES = {
    "transformer": ("SD3Transformer2DModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModelWithProjection",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
}
_CLIP_TOKENS, _T5_TOKENS = 77, 256
_USUAL = {"num_steps": 28, "guidance_scale": 7.0}


def _call_transformer(network: Any, inputs: Tensors) -> Tensors:
    out = network(
        hidden_states=inputs["sample"],
        timestep=inputs["timestep"],
        encoder_hidden_states=inputs["encoder_hidden_states"],
        pooled_projections=inputs["pooled_projections"],
    )
    return {"out_sample": out.sample}


TRANSFORMER = Part(
    name="transformer",
    subfolder="transformer",
    library="diffusers",
    classes=("SD3Transformer2DModel",),
    inputs={
        "sample": "BCHW",
        "timestep": "B",
        "encoder_hidden_states": "BTD",
        "pooled_projections": "BE",
    },
    outputs=("out_sample",),
    call=_call_transformer,
    images=False,
)


def open_stable_diffusion_3(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder; see `open_stable_diffusion`.

    Raises:
        ModelError: a file is missing or damaged, or asks for what this family does not do; names it.
        MissingExtraError: torch is not installed.
    """
    check_classes(folder / "model_index.json", index, _CLASSES)
    t5 = ["text_encoder_3"] * (class_of(index, "text_encoder_3") is not None)
    transformer, vae = (read_json(folder / part / "config.json") for part in ("transformer", "vae"))
    schedule = read_schedule(folder / "scheduler" / "scheduler_config.json")
    weights = [file for part in (*_CLASSES, *t5) for file in find_weights(folder / part)]
    for file in weights:
        read_header(file)
    traits = flow_traits(
        folder,
        schedule,
        transformer,
        vae,
        channels=int(transformer.get("in_channels", 16)),
        max_tokens=_T5_TOKENS if t5 else _CLIP_TOKENS,
        usual=_USUAL,
    )
    scale, shift = scaling(folder / "vae" / "config.json", vae)
    clips = ("text_encoder", "text_encoder_2")
    wanted = [TRANSFORMER, PARTS["decoder"], PARTS["encoder"], *(clip_part(name) for name in clips)]
    wanted += [language_part(name, ("T5EncoderModel",)) for name in t5]
    chosen, dtype, parts, adapters, *_ = open_parts(folder, wanted, how)
    encoders = [
        PromptEncoder(
            PromptTokenizer(folder / name.replace("text_encoder", "tokenizer"), _CLIP_TOKENS),
            parts[name],
            hidden="hidden",
            pooled="pooled",
        )
        for name in clips
    ]
    long = [LongEncoder(LongTokenizer(folder / "tokenizer_3", _T5_TOKENS), parts[name]) for name in t5]
    return Bundle(
        traits=traits,
        network=_network(parts["transformer"]),
        autoencoder=ScaledAutoencoder(parts["decoder"], parts["encoder"], scale, shift),
        encode_prompt=_Words(encoders, long, width=int(transformer.get("joint_attention_dim", 4096))),
        count_chunks=lambda _text: 1,
        prepare=Background([parts[name].load for name in (*clips, *t5, "transformer", "decoder")]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=chosen,
        dtype=dtype,
        adapters=adapters,
    )


class _Words:
    """Prompt -> both CLIPs' tokens side by side, T5's after them, and the CLIPs' vectors.

    Args:
        clips: the two CLIP encoders.
        long: T5, or none: zeros stand in its place.
        width: of an embedding for the transformer.
    """

    def __init__(self, clips: Sequence[PromptEncoder], long: Sequence[LongEncoder], *, width: int) -> None:
        self._clips = clips
        self._long = long
        self._width = width

    def __call__(
        self, text: str, *, chunks: int = 1, size: tuple[int, int] | None = None, negative: bool = False
    ) -> Embeds:
        # What the CLIPs have no room for T5 still reads.
        limit = {"at_most": 1} if self._long else {}
        embeds = [clip.encode(text, **limit) for clip in self._clips]
        clip_TD = np.concatenate([one.hidden[:_CLIP_TOKENS] for one in embeds], axis=1)
        clip_TD = np.pad(clip_TD, ((0, 0), (0, self._width - clip_TD.shape[1])))
        absent_TD = np.zeros((_T5_TOKENS, self._width), np.float32)
        t5_TD = self._long[0](text)[0] if self._long else absent_TD
        pooled = [one.pooled for one in embeds if one.pooled is not None]
        return {
            "encoder_hidden_states": np.concatenate([clip_TD, t5_TD]),
            "pooled_projections": np.concatenate(pooled),
        }


def _network(transformer: Module) -> Network:
    def network(
        x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        return transformer.run(sample=x_BChw, timestep=time_B, **conditions)["out_sample"]

    return network


FAMILY = Family(
    name="stable_diffusion_3",
    pipelines=(
        "StableDiffusion3Pipeline",
        "StableDiffusion3Img2ImgPipeline",
        "StableDiffusion3InpaintPipeline",
    ),
    open=open_stable_diffusion_3,
)
