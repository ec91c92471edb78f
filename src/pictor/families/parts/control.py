"""A control network beside a UNet: it reads a picture of shapes, and adds to what the UNet computes.

ControlNet (Zhang et al. 2023, arXiv:2302.05543).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pictor.backends.base import Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights

CONTROLNET = Part(
    name="controlnet",
    subfolder="",
    library="diffusers",
    classes=("ControlNetModel",),
    inputs={},
    outputs=(),
    call=lambda _network, _inputs: {},
)


def controlled(unet: Part, folder: Path, width: int) -> tuple[Part, Callable[[Any], None], dict[str, str]]:
    """A UNet with a control network.

    Args:
        unet: the part that it extends.
        folder: of the control network, with config.json and its weights.
        width: of the embeddings that the UNet attends to.

    Returns:
        The extended part; what puts the control network into the loaded UNet; and its name and hash.

    Raises:
        ModelError: a file is missing or damaged, or the network is for another kind of UNet.
    """
    config = read_json(folder / "config.json")
    if config.get("_class_name") not in CONTROLNET.classes:
        raise ModelError(
            f"{folder / 'config.json'} is for the class {config.get('_class_name')!r}",
            expected=" or ".join(CONTROLNET.classes),
            param="controlnet",
        )
    if config.get("cross_attention_dim") != width:
        raise ModelError(
            f"{folder} attends to embeddings of {config.get('cross_attention_dim')} numbers",
            expected=f"a control network for this model, with {width}",
            param="controlnet",
        )
    files = find_weights(folder)
    for file in files:
        read_header(file)

    def call(network: Any, inputs: Tensors) -> Tensors:
        words_alone = {name: tensor for name, tensor in inputs.items() if not name.startswith("control")}
        if "control" not in inputs or not inputs["control_weight"].any():
            return unet.call(network, words_alone)
        picture, weight_B111 = inputs["control"], inputs["control_weight"][:, None, None, None]

        def steered(sample: Any, timestep: Any, **words: Any) -> Any:
            latents = sample[:, : network.control.config.in_channels]
            down, middle = network.control(
                latents, timestep, controlnet_cond=picture, return_dict=False, **words
            )
            return network(
                sample,
                timestep,
                down_block_additional_residuals=[weight_B111 * residual for residual in down],
                mid_block_additional_residual=weight_B111 * middle,
                **words,
            )

        return unet.call(steered, words_alone)

    def put(network: Any) -> None:
        from pictor.backends.torch import load_network

        network.add_module("control", load_network(folder, CONTROLNET))

    part = replace(
        unet,
        inputs={**unet.inputs, "control": "B3HW", "control_weight": "B"},
        optional=frozenset({"control", "control_weight"}),
        call=call,
        graph="",
    )
    return part, put, {f"controlnet {folder.resolve().name}": hash_weights(folder, files)}
