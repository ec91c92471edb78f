"""The names that Stable Diffusion's original code gives a UNet's layers, beside those of diffusers.

Checkpoints in one file and many adapters use them. Both follow from the network's shape: the original code
counts its blocks straight through, diffusers counts levels and layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_SINGLE = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "mid_block.attentions.0": "middle_block.1",
}


def unet_prefixes(config: Mapping[str, Any]) -> dict[str, str]:
    """Prefixes of diffusers' names -> those of the original code; within an attention the names agree.

    Args:
        config: of a UNet2DConditionModel.
    """
    names = dict(_SINGLE)
    for index, place in ((0, "middle_block.0"), (1, "middle_block.2")):
        names |= _resnet(f"mid_block.resnets.{index}", place)
    down, up = config["down_block_types"], config["up_block_types"]
    layers = _per_level(config.get("layers_per_block", 2), len(down))
    at = 1
    for level, kind in enumerate(down):
        for layer in range(layers[level]):
            names |= _resnet(f"down_blocks.{level}.resnets.{layer}", f"input_blocks.{at}.0")
            if "Attn" in kind:
                names[f"down_blocks.{level}.attentions.{layer}"] = f"input_blocks.{at}.1"
            at += 1
        if level < len(down) - 1:
            names[f"down_blocks.{level}.downsamplers.0.conv"] = f"input_blocks.{at}.0.op"
            at += 1
    at = 0
    for level, kind in enumerate(up):
        attends = "Attn" in kind
        for layer in range(layers[len(up) - 1 - level] + 1):
            names |= _resnet(f"up_blocks.{level}.resnets.{layer}", f"output_blocks.{at}.0")
            if attends:
                names[f"up_blocks.{level}.attentions.{layer}"] = f"output_blocks.{at}.1"
            at += 1
        if level < len(up) - 1:
            names[f"up_blocks.{level}.upsamplers.0.conv"] = f"output_blocks.{at - 1}.{1 + attends}.conv"
    return names


def original_name(name: str, prefixes: Mapping[str, str]) -> str | None:
    """The original name of a layer of diffusers, None where it has none."""
    for prefix in _starts(name):
        if prefix in prefixes:
            return prefixes[prefix] + name[len(prefix) :]
    return None


def _starts(name: str) -> Iterator[str]:
    """The name and its beginnings up to each point, longest first."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _resnet(name: str, place: str) -> dict[str, str]:
    return {f"{name}.{ours}": f"{place}.{theirs}" for ours, theirs in _RESNET.items()}


def _per_level(layers: Any, levels: int) -> list[int]:
    return [int(n) for n in layers] if isinstance(layers, list | tuple) else [int(layers)] * levels
