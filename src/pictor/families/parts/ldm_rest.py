"""Tensors of autoencoders and text encoders: from the names of original checkpoints to those of diffusers.

Each function takes a tensor's name without its prefix and returns diffusers' name, None for what has no place
there. What must be split or turned besides is said by `Change`.
"""

from __future__ import annotations

import re
from typing import Literal

Change = Literal["same", "squeeze", "transpose", "split"]
"""As it is; without the last two axes of size 1; turned; in three equal parts (queries, keys, values)."""

_SHORTCUT = {"nin_shortcut": "conv_shortcut"}
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_OPEN_CLIP = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OPEN_CLIP_SINGLE = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
}
QUERIES_KEYS_VALUES = ("q_proj", "k_proj", "v_proj")


def vae_name(name: str, levels: int) -> tuple[str, Change] | None:
    """Of an autoencoder with so many levels."""
    half, _, rest = name.partition(".")
    if half in ("quant_conv", "post_quant_conv"):
        return name, "same"
    if half not in ("encoder", "decoder"):
        return None
    if found := re.fullmatch(r"(?:down|up)\.(\d+)\.block\.(\d+)\.(\w+)\.(\w+)", rest):
        level, layer, part, kind = found.groups()
        return (
            f"{half}.{_level(half, int(level), levels)}.resnets.{layer}.{_SHORTCUT.get(part, part)}.{kind}",
            "same",
        )
    if found := re.fullmatch(r"(?:down|up)\.(\d+)\.(down|up)sample\.conv\.(\w+)", rest):
        level, way, kind = found.groups()
        return f"{half}.{_level(half, int(level), levels)}.{way}samplers.0.conv.{kind}", "same"
    if found := re.fullmatch(r"mid\.block_([12])\.(\w+)\.(\w+)", rest):
        layer, part, kind = found.groups()
        return f"{half}.mid_block.resnets.{int(layer) - 1}.{_SHORTCUT.get(part, part)}.{kind}", "same"
    if found := re.fullmatch(r"mid\.attn_1\.(\w+)\.(\w+)", rest):
        part, kind = found.groups()
        # Convolutions over one pixel, which diffusers has as linear layers.
        change: Change = "squeeze" if part != "norm" and kind == "weight" else "same"
        return f"{half}.mid_block.attentions.0.{_ATTENTION[part]}.{kind}", change
    if found := re.fullmatch(r"(conv_in|conv_out|norm_out)\.(\w+)", rest):
        part, kind = found.groups()
        return f"{half}.{'conv_norm_out' if part == 'norm_out' else part}.{kind}", "same"
    return None


def clip_name(name: str) -> tuple[str, Change] | None:
    """Of a text encoder as OpenAI's and transformers have it."""
    return None if name.endswith("position_ids") else (name, "same")


def open_clip_name(name: str) -> tuple[str, Change] | None:
    """Of a text encoder as OpenCLIP has it. A name that ends in {} stands for queries, keys and values."""
    if name in _OPEN_CLIP_SINGLE:
        return _OPEN_CLIP_SINGLE[name], "transpose" if name == "text_projection" else "same"
    found = re.fullmatch(r"transformer\.resblocks\.(\d+)\.([\w.]+)", name)
    if found is None:
        return None
    layer = f"text_model.encoder.layers.{found[1]}"
    if found[2] in ("attn.in_proj_weight", "attn.in_proj_bias"):
        return f"{layer}.self_attn.{{}}.{found[2].rpartition('_')[2]}", "split"
    part, _, kind = found[2].rpartition(".")
    return (f"{layer}.{_OPEN_CLIP[part]}.{kind}", "same") if part in _OPEN_CLIP else None


def _level(half: str, level: int, levels: int) -> str:
    """The original code counts the decoder's levels from the finest."""
    return f"down_blocks.{level}" if half == "encoder" else f"up_blocks.{levels - 1 - level}"
