"""Variational autoencoders whose code is one vector, as the objective "vae" writes them.

A folder holds model_index.json, vae/ and pictor.json. A picture is drawn by decoding a code from the prior,
which is standard normal; the temperature multiplies its deviation: below 1 pictures come from where codes of
real ones lie densest, typical and alike, and at 0 there is one picture.

Legend of array shapes: B pictures, D numbers of a code, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError, PictorError
from pictor.core.noise import picture_noise
from pictor.core.plan import Defaults, Traits
from pictor.families.bundle import Bundle, Family, Opening
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, open_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Drawing, Pixels

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


class Coder:
    """Between pictures and codes.

    Args:
        decoder: runs `DECODER`.
        encoder: runs `ENCODER`.
        numbers: of a code.
        size: side of the pictures in pixels.
    """

    def __init__(self, decoder: Module, encoder: Module, numbers: int, size: int) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self.numbers = numbers
        self.size = size

    def decode(self, code_D: NDArray[np.float32]) -> Pixels:
        """The picture [H, W, 3] of a code.

        One at a time: in batches of other sizes processors sum in other orders.

        Raises:
            PictorError: the network's numbers are no picture.
        """
        image = self._decoder.run(code=code_D[None])["image"]
        if image.shape != (wanted := (1, 3, self.size, self.size)) or not np.isfinite(image).all():
            raise PictorError(
                f"the decoder's numbers of shape {list(image.shape)} are no picture",
                expected=f"a trained network's, {list(wanted)}",
            )
        unit = np.clip(image[0] * 127.5 + 127.5, 0.0, 255.0)
        pixels: Pixels = np.rint(unit).astype(np.uint8).transpose(1, 2, 0)
        return pixels

    def encode(self, pixels_HW3: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and logarithm of the variance, [D] each, of the codes of a picture of the model's size."""
        image = pixels_HW3.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1
        told = self._encoder.run(image=image)
        return told["mean"][0], told["log_variance"][0]

    def draw(self, drawing: Drawing, seeds: Sequence[int], watch: Callable[[int, int], None]) -> list[Pixels]:
        """Pictures of codes from the prior; see `Bundle.draw`."""
        pictures: list[Pixels] = []
        watch(0, len(seeds))
        for seed in seeds:
            code = picture_noise(seed, (self.numbers,)) * np.float32(drawing.temperature)
            pictures.append(self.decode(code))
            watch(len(pictures), len(seeds))
        return pictures


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
    coder = Coder(opened.parts[DECODER.name], opened.parts[ENCODER.name], numbers, size)
    bundle = Bundle(
        traits=_traits(folder, size),
        draw=coder.draw,
        prepare=Background([opened.parts[DECODER.name].load]),
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


def _traits(folder: Path, size: int) -> Traits:
    sheet = folder / "pictor.json"
    own = read_json(sheet) if sheet.is_file() else {}
    return Traits(
        name=str(own.get("name") or folder.resolve().name),
        abilities=frozenset({"whole", "draw"}),
        stride=size,
        min_side=size,
        max_side=size,
        max_tokens=0,
        defaults=Defaults(num_steps=0, guidance_scale=1.0, solver="", spacing="", size=(size, size)),
    )


FAMILY = Family(
    name="variational",
    pipelines=(PIPELINE,),
    open=open_variational,
    graphed=lambda _index: [DECODER, ENCODER],
)
