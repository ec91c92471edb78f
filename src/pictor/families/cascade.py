"""Cascades: a model of small pictures, and diffusion that makes large ones of them.

A folder holds a whole model of any family that denoises in `base/`, the network of the second stage in
`super_resolution/`, its noise in `scheduler/`, and in `pictor.json`

    "super_resolution": {"scale": 4, "spread": 0.1, "augmentation": 0.1, "num_steps": 16}

The second network sees squares of pixels (`pictor.backends.squares`). To the engine the second stage is the
end of the decoder: whatever the base can be asked for comes out large.

Legend of array shapes: B pictures, H, W pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import InputError, ModelError
from pictor.core.levels import VPPath
from pictor.families.bundle import Autoencoder, Bundle, Family, Opening
from pictor.families.parts.cascading import SuperResolution, shrunk
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.schedulers import read_schedule
from pictor.families.parts.wishes import Wishes
from pictor.families.registry import open_bundle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Traits

BASE, SUPER_RESOLUTION = "base", "super_resolution"
_MAX_SCALE, _MAX_STEPS, _MAX_SPREAD = 16, 1000, 10.0
_PATCHES, _MAX_LEVELS = (1, 2, 4), 6


def _call(network: Any, inputs: Tensors) -> Tensors:
    from pictor.backends.squares import by_squares

    return {"out_sample": by_squares(network, inputs["sample"], inputs["timestep"], inputs["class_labels"])}


SECOND_STAGE = Part(
    name="super_resolution",
    subfolder=SUPER_RESOLUTION,
    library="diffusers",
    classes=("UNet2DModel",),
    inputs={"sample": "B6HW", "timestep": "B", "class_labels": "B"},
    outputs=("out_sample",),
    call=_call,
)


class _LargeAutoencoder:
    """The base's, and what makes its pictures large."""

    def __init__(self, base: Autoencoder, second: SuperResolution) -> None:
        self._base, self._second = base, second
        self.scale = second.scale

    def decode(self, x0_BChw: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.enlarge(self._base.decode(x0_BChw))

    def enlarge(self, small_B3hw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Large pictures of small ones, both in [-1, 1]."""
        return self._second(small_B3hw.clip(-1, 1))

    def encode(self, image_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._base.encode(shrunk(image_B3HW, self._second.scale))


def open_cascade(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open both stages. The base runs by its graphs where it has any, the second stage with torch.

    Raises:
        ModelError: a file is missing or damaged, or the base does not denoise; names it.
        InputError: graphs are asked for.
        MissingExtraError: torch is not installed.
    """
    if how.backend == "onnx":
        raise InputError("a cascade's second stage has no ONNX graph", expected="torch", param="backend")
    from pictor.backends.torch import TorchModule

    base = open_bundle(folder / BASE, how)
    if base.draw is not None:
        raise ModelError(f"{folder / BASE} does not denoise", expected="a diffusion model", param="model")
    weights = find_weights(folder / SUPER_RESOLUTION)
    for file in weights:
        read_header(file)
    coarsest = _coarsest(folder / SUPER_RESOLUTION / "config.json")
    # It is small, and its class in diffusers makes float32 of its second time whatever it computes in.
    module = TorchModule(folder, SECOND_STAGE, device=how.device, dtype="float32")
    second = _second_stage(folder, module, coarsest)
    return dataclasses.replace(
        base,
        traits=_traits(folder, base.traits, second.scale),
        autoencoder=_LargeAutoencoder(base.autoencoder, second),
        hash_weights=lambda: hash_weights(folder, sorted(folder.rglob("*.safetensors"))),
        backend="torch",
    )


def _coarsest(file: Path) -> int:
    """Pixels along each side of a place of the network's coarsest level.

    Raises:
        ModelError: the configuration is damaged, or of another network.
    """
    config = read_json(file)
    channels, levels = config.get("in_channels"), config.get("block_out_channels")
    patch = next((patch for patch in _PATCHES if channels == 6 * patch**2), 0)
    count = len(levels) if isinstance(levels, list) else 0
    if not patch or not 0 < count <= _MAX_LEVELS:
        raise ModelError(
            f"{file} is of no second stage",
            expected=f"in_channels of 6 times the square of {', '.join(map(str, _PATCHES))}, and "
            f"block_out_channels of 1 to {_MAX_LEVELS} levels",
            param="model",
        )
    return patch << (count - 1)


def _second_stage(folder: Path, module: Module, coarsest: int) -> SuperResolution:
    file = folder / "pictor.json"
    schedule = read_schedule(folder / "scheduler" / "scheduler_config.json")
    try:
        told = read_json(file)["super_resolution"]
        scale, steps = int(told["scale"]), int(told["num_steps"])
        share, spread = float(told["augmentation"]), float(told["spread"])
        possible = 2 <= scale <= _MAX_SCALE and 1 <= steps <= _MAX_STEPS
        if not (possible and 0 <= share <= 1 and 0 < spread < _MAX_SPREAD):
            raise ValueError(f"scale {scale}, num_steps {steps}, augmentation {share}, spread {spread}")
        if not isinstance(schedule.path, VPPath):
            raise ValueError("a scheduler without timesteps")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{file} tells no second stage ({error!r})",
            expected='"super_resolution": {"scale": 4, "spread": 0.1, "augmentation": 0.1, "num_steps": 16}',
            param="model",
        ) from None

    def run(
        x_B6HW: NDArray[np.float32], time_B: NDArray[np.float64], told_B: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        return module.run(sample=x_B6HW, timestep=time_B, class_labels=told_B)["out_sample"]

    return SuperResolution(
        run=run,
        path=schedule.path,
        prediction=schedule.prediction,
        scale=scale,
        multiple=coarsest,
        spread=spread,
        augmentation=share,
        num_steps=steps,
    )


def _traits(folder: Path, base: Traits, scale: int) -> Traits:
    """The base's, of pictures so many times larger."""
    path_of_size = base.path_of_size
    width, height = base.defaults.size
    return dataclasses.replace(
        base,
        name=Wishes(folder).name,
        # A control network looks at small pictures, and the engine would show it large ones.
        abilities=base.abilities - {"control", "enlarge"},
        latent_stride=scale * base.latent_stride,
        stride=scale * base.stride,
        min_side=scale * base.min_side,
        max_side=scale * base.max_side,
        path_of_size=None
        if path_of_size is None
        else lambda size: path_of_size((size[0] // scale, size[1] // scale)),
        defaults=dataclasses.replace(base.defaults, size=(scale * width, scale * height)),
    )


FAMILY = Family(name="cascade", pipelines=("PictorCascadePipeline",), open=open_cascade)
