"""Sana: a linear transformer on a flow, on latents 32 pixels wide, steered by the Gemma language model.

Legend of array shapes: B rows, T tokens, D width of an embedding, C latent channels, h, w latent rows and
columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, Module, Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.families.bundle import Bundle, Family, Network, Opening
from pictor.families.parts.autoencoder import ScaledAutoencoder, scaling
from pictor.families.parts.clip import language_part
from pictor.families.parts.files import read_json
from pictor.families.parts.flows import flow_traits
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.long_texts import LongEncoder, LongTokenizer
from pictor.families.parts.opening import Background, check_classes, open_parts
from pictor.families.parts.schedulers import read_schedule

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.families.bundle import Embeds

_CLASSES = {
    "transformer": ("SanaTransformer2DModel",),
    "vae": ("AutoencoderDC",),
    "text_encoder": ("Gemma2Model", "Gemma2ForCausalLM"),
}
_TOKENS = 300
_USUAL = {"num_steps": 20, "guidance_scale": 4.5}


def _call_transformer(network: Any, inputs: Tensors) -> Tensors:
    out = network(
        inputs["sample"],
        encoder_hidden_states=inputs["encoder_hidden_states"],
        encoder_attention_mask=inputs["encoder_attention_mask"],
        timestep=inputs["timestep"],
    )
    return {"out_sample": out.sample}


TRANSFORMER = Part(
    name="transformer",
    subfolder="transformer",
    library="diffusers",
    classes=("SanaTransformer2DModel",),
    inputs={
        "sample": "BCHW",
        "timestep": "B",
        "encoder_hidden_states": "BTD",
        "encoder_attention_mask": "BT",
    },
    outputs=("out_sample",),
    call=_call_transformer,
    images=False,
)


def open_sana(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
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
    traits = flow_traits(
        folder,
        schedule,
        transformer,
        vae,
        channels=int(transformer.get("in_channels", 32)),
        max_tokens=_TOKENS,
        usual=_USUAL,
    )
    scale, shift = scaling(folder / "vae" / "config.json", vae)
    language = language_part("text_encoder", ("Gemma2Model", "Gemma2ForCausalLM"), masked=True)
    wanted = [TRANSFORMER, PARTS["decoder"], PARTS["encoder"], language]
    chosen, dtype, parts, adapters, *_ = open_parts(folder, wanted, how)
    return Bundle(
        traits=traits,
        network=_network(
            parts["transformer"], traits.latent_channels, float(transformer.get("timestep_scale") or 1.0)
        ),
        autoencoder=ScaledAutoencoder(parts["decoder"], parts["encoder"], scale, shift),
        encode_prompt=_Words(folder / "tokenizer", parts["text_encoder"]),
        count_chunks=lambda _text: 1,
        prepare=Background([parts[name].load for name in ("text_encoder", "transformer", "decoder")]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=chosen,
        dtype=dtype,
        adapters=adapters,
    )


class _Words:
    """Prompt -> Gemma's tokens and their mask; a prompt comes after the instruction that Sana learnt with.

    Args:
        folder: of the tokenizer.
        encoder: the language model.
    """

    def __init__(self, folder: Path, encoder: Module) -> None:
        self._folder = folder
        self._encoder = encoder
        self._plain = LongEncoder(LongTokenizer(folder, _TOKENS), encoder, masked=True)

    @cached_property
    def _instructed(self) -> tuple[str, LongEncoder]:
        from pictor.backends.torch import pipeline_default

        instruction = "\n".join(pipeline_default("SanaPipeline", "complex_human_instruction"))
        length = LongTokenizer(self._folder, _TOKENS).count(instruction) + _TOKENS - 2
        return instruction, LongEncoder(LongTokenizer(self._folder, length), self._encoder, masked=True)

    def __call__(
        self, text: str, *, chunks: int = 1, size: tuple[int, int] | None = None, negative: bool = False
    ) -> Embeds:
        said = text.lower().strip()  # as it was trained
        if negative:
            hidden_TD, mask_T = self._plain(said)
        else:
            instruction, encoder = self._instructed
            hidden_TD, mask_T = encoder(said, prefix=instruction)
        # The first token, and those after the instruction.
        kept = [0, *range(len(mask_T) - _TOKENS + 1, len(mask_T))]
        return {"encoder_hidden_states": hidden_TD[kept], "encoder_attention_mask": mask_T[kept]}


def _network(transformer: Module, channels: int, time_scale: float) -> Network:
    def network(
        x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        out = transformer.run(sample=x_BChw, timestep=time_B * time_scale, **conditions)["out_sample"]
        return out[:, :channels]  # a learnt variance comes in further channels

    return network


FAMILY = Family(name="sana", pipelines=("SanaPipeline",), open=open_sana)
