"""Generators that draw a picture from noise at once, as the objective "gan" writes them.

A folder holds model_index.json, generator/ and pictor.json.

Legend of array shapes: B pictures, N numbers of noise, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pictor.backends.base import Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError
from pictor.families.bundle import Bundle, Family, Opening
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, open_parts
from pictor.families.parts.vectors import VectorDecoder, vector_traits

PIPELINE = "PictorGenerator"
"""The `_class_name` in model_index.json."""
_MAX_LEVELS, _MOST = 8, 8192
_FINEST = {"r3gan": 1, "dcgan": 2}
"""Of each style, pixels along each side of a place of the generator's last level."""


def _call(network: Any, inputs: Tensors) -> Tensors:
    return {"image": network(inputs["noise"])}


GENERATOR = Part(
    name="generator",
    subfolder="generator",
    library="pictor.backends.gan",
    classes=("GeneratorNetwork",),
    inputs={"noise": "BN"},
    outputs=("image",),
    call=_call,
    graph="model.onnx",
)


def open_generator(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder. Weights are checked to be whole at once, and read when they are first needed.

    Raises:
        ModelError: a file is missing or damaged.
        InputError: an adapter is given, which it cannot have.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    check_classes(folder / "model_index.json", index, {GENERATOR.name: GENERATOR.classes})
    noise, size = _shape(folder / GENERATOR.subfolder / "config.json")
    weights = find_weights(folder / GENERATOR.subfolder)
    for file in weights:
        read_header(file)
    opened = open_parts(folder, [GENERATOR], how)
    generator = opened.parts[GENERATOR.name]
    return Bundle(
        traits=vector_traits(folder, size),
        draw=VectorDecoder(module=generator, takes="noise", numbers=noise, size=size).draw,
        prepare=Background([generator.load]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=opened.backend,
        dtype=opened.dtype,
        adapters=opened.adapters,
    )


def _shape(file: Path) -> tuple[int, int]:
    """Numbers of noise and the side of the pictures, by the network's configuration.

    Raises:
        ModelError: it is damaged.
    """
    config = read_json(file)
    noise: Any = config.get("noise")
    channels: Any = config.get("channels")
    style: Any = config.get("style")
    counts = [noise, *channels] if isinstance(channels, list) else []
    known = isinstance(style, str) and style in _FINEST and 1 < len(counts) <= 1 + _MAX_LEVELS
    if not known or not all(type(count) is int and 0 < count <= _MOST for count in counts):
        raise ModelError(
            f"{file} is of no generator that Pictor knows",
            expected=f"the style {' or '.join(_FINEST)}, noise, and channels of 1 to {_MAX_LEVELS} levels, "
            f"numbers from 1 to {_MOST}",
            param="model",
        )
    return noise, 4 * 2 ** (len(channels) - 1) * _FINEST[style]


FAMILY = Family(
    name="gan",
    pipelines=(PIPELINE,),
    open=open_generator,
    graphed=lambda _index: [GENERATOR],
)
