"""Generators that draw a picture from noise at once, as the objective "gan" writes them.

A folder holds model_index.json, generator/ and pictor.json. The noise is standard normal, one stream a seed;
the temperature multiplies it: below 1 pictures come from the middle of what the generator has learnt, typical
and alike, as truncation does it (Brock et al. 2019, arXiv:1809.11096), and at 0 there is one picture.

Legend of array shapes: B pictures, N numbers of noise, H, W pixels.
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
from pictor.core.plan import Defaults, Drawing, Traits
from pictor.families.bundle import Bundle, Drawer, Family, Opening
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, open_parts

if TYPE_CHECKING:
    from pictor.backends.base import Module
    from pictor.core.plan import Pixels

PIPELINE = "PictorGenerator"
"""The `_class_name` in model_index.json."""
_MAX_LEVELS = 8


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
        traits=_traits(folder, size),
        draw=_drawer(generator, noise, size),
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
    noise, channels, patch = (config.get(key) for key in ("noise", "channels", "patch"))
    levels = len(channels) if isinstance(channels, list) else 0
    if type(noise) is not int or type(patch) is not int or not 0 < levels <= _MAX_LEVELS:
        raise ModelError(
            f"{file} is of no generator that Pictor knows",
            expected=f"noise and patch, whole numbers, and channels of 1 to {_MAX_LEVELS} levels",
            param="model",
        )
    return noise, 4 * 2 ** (levels - 1) * patch


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


def _drawer(generator: Module, noise: int, size: int) -> Drawer:
    def draw(drawing: Drawing, seeds: Sequence[int], watch: Callable[[int, int], None]) -> list[Pixels]:
        pictures: list[Pixels] = []
        watch(0, len(seeds))
        for seed in seeds:
            # One by one: in batches of other sizes processors sum in other orders.
            noise_1N = picture_noise(seed, (1, noise)) * np.float32(drawing.temperature)
            image_13HW = generator.run(noise=noise_1N)["image"]
            if image_13HW.shape != (1, 3, size, size) or not np.isfinite(image_13HW).all():
                raise PictorError(
                    f"the generator's numbers of shape {list(image_13HW.shape)} are no picture",
                    expected=f"a trained network's, [1, 3, {size}, {size}]",
                )
            unit = np.clip(image_13HW[0] * 127.5 + 127.5, 0.0, 255.0)
            pictures.append(np.rint(unit).astype(np.uint8).transpose(1, 2, 0))
            watch(len(pictures), len(seeds))
        return pictures

    return draw


FAMILY = Family(
    name="gan",
    pipelines=(PIPELINE,),
    open=open_generator,
    graphed=lambda _index: [GENERATOR],
)
