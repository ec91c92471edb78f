"""The CLIP text encoders of models that read the layer before the last, and a vector for the whole."""

from __future__ import annotations

from typing import Any

from pictor.backends.base import Part, Tensors


def call_clip(network: Any, inputs: Tensors) -> Tensors:
    """The layer before the last, and the pooled vector: projected, where the class projects."""
    out = network(input_ids=inputs["input_ids"], output_hidden_states=True)
    pooled = getattr(out, "text_embeds", None)
    return {"hidden": out.hidden_states[-2], "pooled": out.pooler_output if pooled is None else pooled}


def clip_part(name: str) -> Part:
    """The part in the subfolder of this name."""
    return Part(
        name=name,
        subfolder=name,
        library="transformers",
        classes=("CLIPTextModel", "CLIPTextModelWithProjection"),
        inputs={"input_ids": "BT"},
        outputs=("hidden", "pooled"),
        call=call_clip,
        graph="model.onnx",
        images=False,
    )


def call_language_model(network: Any, inputs: Tensors) -> Tensors:
    return {"hidden": network(**inputs)[0]}


def language_part(name: str, classes: tuple[str, ...], *, masked: bool = False) -> Part:
    """A language model in the subfolder of this name.

    Args:
        name: of the part and of its subfolder.
        classes: of transformers; it is loaded with the first.
        masked: whether it is told which tokens are padding.
    """
    inputs = {"input_ids": "BT"} | ({"attention_mask": "BT"} if masked else {})
    return Part(
        name=name,
        subfolder=name,
        library="transformers",
        classes=classes,
        inputs=inputs,
        outputs=("hidden",),
        call=call_language_model,
        loaded_as=classes[0],
        images=False,
    )
