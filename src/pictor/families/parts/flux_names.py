"""The names that Flux's original code gives its layers, beside those of diffusers.

Adapters use them. Where the original code has one layer, diffusers may have several, whose outputs lie one
after the other in the original's.
"""

from __future__ import annotations

from collections.abc import Collection

_ONCE = {
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_text_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_text_embed.timestep_embedder.linear_2",),
    "vector_in.in_layer": ("time_text_embed.text_embedder.linear_1",),
    "vector_in.out_layer": ("time_text_embed.text_embedder.linear_2",),
    "guidance_in.in_layer": ("time_text_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_text_embed.guidance_embedder.linear_2",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
    "final_layer.linear": ("proj_out",),
}
_DOUBLE = {
    "img_mod.lin": ("norm1.linear",),
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
}
_SINGLE = {
    "modulation.lin": ("norm.linear",),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
}

HALVES_SWAPPED = frozenset({"final_layer.adaLN_modulation.1"})
"""The original code's layers whose outputs are shift and scale, where diffusers has scale and shift."""


def flux_names(layers: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Names of the original code -> the layers of diffusers that make it up, in their order.

    Args:
        layers: those of a FluxTransformer2DModel, by diffusers' names.
    """
    names: dict[str, tuple[str, ...]] = dict(_ONCE)
    for theirs, ours, inner in (
        ("double_blocks", "transformer_blocks", _DOUBLE),
        ("single_blocks", "single_transformer_blocks", _SINGLE),
    ):
        for number in {layer.split(".")[1] for layer in layers if layer.startswith(f"{ours}.")}:
            for name, parts in inner.items():
                names[f"{theirs}.{number}.{name}"] = tuple(f"{ours}.{number}.{part}" for part in parts)
    there = set(layers)
    return {name: parts for name, parts in names.items() if there.issuperset(parts)}
