"""Variational autoencoders whose code is one vector, as the objective "vae" writes them.

A folder holds model_index.json, vae/ and pictor.json. A picture is drawn by decoding a code from the prior,
which is standard normal.

Legend of array shapes: B pictures, D numbers of a code, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError
from pictor.core.pixels import from_pixels
from pictor.families.bundle import Bundle, Family, Opening
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, open_parts
from pictor.families.parts.vectors import VectorDecoder, vector_traits

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Pixels

PIPELINE = "PictorVariationalAutoencoder"
"""The `_class_name` in model_index.json."""


def _decode(network: Any, inputs: Tensors) -> Tensors:
    return {"image": network.decode(inputs["code"])}


def _encode(network: Any, inputs: Tensors) -> Tensors:
    mean, log_variance = network.encode(inputs["image"])
    return {"mean": mean, "log_variance": log_variance}


DECODER = Part(
    name="decoder",
    subfolder="vae",
    library="pictor.backends.vector_vae",
    classes=("VectorAutoencoder",),
    inputs={"code": "BD"},
    outputs=("image",),
    call=_decode,
    graph="decoder.onnx",
    unused=("encoder", "head"),
)
ENCODER = Part(
    name="encoder",
    subfolder="vae",
    library="pictor.backends.vector_vae",
    classes=("VectorAutoencoder",),
    inputs={"image": "B3HW"},
    outputs=("mean", "log_variance"),
    call=_encode,
    graph="encoder.onnx",
    unused=("decoder",),
)


@dataclass(frozen=True, kw_only=True)
class Coder(VectorDecoder):
    """Between pictures and codes."""

    encoder: Module
    """Runs `ENCODER`."""

    def encode(self, pixels_HW3: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and logarithm of the variance, [D] each, of the codes of a picture of the model's size."""
        told = self.encoder.run(image=from_pixels(pixels_HW3[None]))
        return told["mean"][0], told["log_variance"][0]


def open_variational(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder. Weights are checked to be whole at once, and read when they are first needed.

    Raises:
        ModelError: a file is missing or damaged.
        InputError: an adapter is given, which it cannot have.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    return open_with_coder(folder, index, how)[0]


def open_with_coder(folder: Path, index: Mapping[str, Any], how: Opening) -> tuple[Bundle, Coder]:
    """The same with what tells and takes codes, which no task has a use for; see `open_variational`."""
    check_classes(folder / "model_index.json", index, {DECODER.subfolder: DECODER.classes})
    numbers, size = _shape(folder / DECODER.subfolder / "config.json")
    weights = find_weights(folder / DECODER.subfolder)
    for file in weights:
        read_header(file)
    opened = open_parts(folder, [DECODER, ENCODER], how)
    decoder, encoder = opened.parts[DECODER.name], opened.parts[ENCODER.name]
    coder = Coder(module=decoder, takes="code", encoder=encoder, numbers=numbers, size=size)
    bundle = Bundle(
        traits=vector_traits(folder, size),
        draw=coder.draw,
        prepare=Background([decoder.load]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=opened.backend,
        dtype=opened.dtype,
        adapters=opened.adapters,
    )
    return bundle, coder


def _shape(file: Path) -> tuple[int, int]:
    """Numbers of a code and the side of the pictures, by the network's configuration."""
    config = read_json(file)
    numbers, size = config.get("numbers"), config.get("size")
    if type(numbers) is not int or type(size) is not int or min(numbers, size) < 1:
        raise ModelError(
            f"{file} is of no autoencoder that Pictor knows",
            expected="its numbers and size, each at least 1",
            param="model",
        )
    return numbers, size


FAMILY = Family(
    name="variational",
    pipelines=(PIPELINE,),
    open=open_variational,
    graphed=lambda _index: [DECODER, ENCODER],
)
