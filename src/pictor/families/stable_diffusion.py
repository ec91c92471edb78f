"""Folders of the shape of Stable Diffusion: a UNet steered by one CLIP text encoder, and an autoencoder.

Stable Diffusion 1 and 2 and their descendants have it, and so has Pictor's own embedded model. Beyond what
diffusers writes, a folder may hold ONNX graphs beside its weights, and a `pictor.json` with our defaults:

    {"name": "picturebook",
     "defaults": {"num_steps": 20, "guidance_scale": 4.0, "solver": "euler", "spacing": "uniform",
                  "size": [64, 64]},
     "sizes": {"min": 32, "max": 128}}

Legend of array shapes: B rows, T tokens, D width of an embedding, C latent channels, h, w latent rows and
columns, H, W pixels.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import InputError, ModelError
from pictor.core.plan import Defaults, Traits
from pictor.core.spacings import spacing as spacing_named
from pictor.families.bundle import Bundle, Family, Network
from pictor.families.parts.files import read_json, require
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.prompts import PromptEncoder
from pictor.families.parts.schedulers import Schedule, read_schedule
from pictor.families.parts.tokens import PromptTokenizer
from pictor.sampling import solver as solver_named

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.families.bundle import Embeds

_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderTiny", "AutoencoderKL"),
    "text_encoder": ("CLIPTextModel",),
}


def open_stable_diffusion(folder: Path, index: Mapping[str, Any], backend: str) -> Bundle:
    """Open the folder. Weights are checked to be whole at once, and read when they are first needed.

    Raises:
        ModelError: a file is missing or damaged, or asks for what this family does not do; names it.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    _check_classes(folder / "model_index.json", index)
    unet, vae, text = (read_json(folder / part / "config.json") for part in _CLASSES)
    schedule = read_schedule(folder / "scheduler" / "scheduler_config.json")
    weights = [find_weights(folder / part) for part in _CLASSES]
    for file in weights:
        read_header(file)
    traits = _traits(folder, unet, vae, text, schedule)
    scale, shift = _scaling(folder / "vae" / "config.json", vae)
    chosen, dtype, parts = _open_parts(folder, backend)
    words = PromptEncoder(PromptTokenizer(folder / "tokenizer", traits.max_tokens), parts["text_encoder"])
    return Bundle(
        traits=traits,
        network=_network(parts["unet"], traits.latent_channels),
        autoencoder=_ScaledAutoencoder(parts["decoder"], parts["encoder"], scale, shift),
        encode_prompt=words,
        count_chunks=words.count_chunks,
        prepare=_Background([parts[name].load for name in ("text_encoder", "unet", "decoder")]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=chosen,
        dtype=dtype,
    )


def _check_classes(file: Path, index: Mapping[str, Any]) -> None:
    for part, known in _CLASSES.items():
        entry = index.get(part)
        kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
        if kind not in known:
            raise ModelError(f"{file} names the {part} {kind!r}", expected=" or ".join(known), param="model")


def _open_parts(folder: Path, backend: str) -> tuple[str, str, dict[str, Module]]:
    """Name of the backend, type that it computes in, and the parts, not yet loaded."""
    graphs = {name: folder / part.subfolder / part.graph for name, part in PARTS.items()}
    if backend == "onnx" or (backend == "auto" and all(graph.is_file() for graph in graphs.values())):
        from pictor.backends.onnx import OnnxModule

        return "onnx", "float32", {name: OnnxModule(require(graph)) for name, graph in graphs.items()}
    from pictor.backends.torch import TorchModule, find_device

    dtype = "float32" if find_device("auto").type == "cpu" else "float16"
    return "torch", dtype, {name: TorchModule(folder, name) for name in PARTS}


def _network(unet: Module, channels: int) -> Network:
    def network(
        x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        words = dict(conditions)
        # Noise, mask, hidden picture: the order that networks for inpainting were trained with.
        beside = [words.pop("beside")] if "beside" in words else []
        sample = np.concatenate([x_BChw, *beside], axis=1) if beside else x_BChw
        out = unet.run(sample=sample, timestep=time_B, **words)["out_sample"]
        return out[:, :channels]  # a learnt variance comes in further channels

    return network


class _ScaledAutoencoder:
    """Latents of unit variance: (autoencoder's latents - shift) * scale."""

    def __init__(self, decoder: Module, encoder: Module, scale: float, shift: float) -> None:
        self._decoder = decoder
        self._encoder = encoder
        self._scale = scale
        self._shift = shift

    def decode(self, x0_BChw: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._decoder.run(latent=x0_BChw / self._scale + self._shift)["image"]

    def encode(self, image_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        latent: NDArray[np.float32] = self._encoder.run(image=image_B3HW)["latent"]
        return (latent - self._shift) * self._scale


def _scaling(file: Path, config: Mapping[str, Any]) -> tuple[float, float]:
    """Scale and shift of the latents. Both may stand as null; the scale has another default in each class."""
    usual = 0.18215 if config.get("_class_name") == "AutoencoderKL" else 1.0
    scale, shift = config.get("scaling_factor"), config.get("shift_factor")
    try:
        numbers = usual if scale is None else float(scale), 0.0 if shift is None else float(shift)
        if numbers[0] == 0.0 or not all(math.isfinite(number) for number in numbers):
            raise ValueError(f"scaling_factor {numbers[0]}, shift_factor {numbers[1]}")
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{file} is damaged ({error})", expected="finite factors of the latents", param="model"
        ) from None
    return numbers


class _Background:
    """Loads parts in threads of their own: the first picture needs them one after the other."""

    def __init__(self, loads: Sequence[Callable[[], None]]) -> None:
        self._loads = loads
        self._started = False

    def __call__(self) -> None:
        if not self._started:
            self._started = True
            for load in self._loads:
                threading.Thread(target=_quietly, args=(load,)).start()


def _quietly(load: Callable[[], None]) -> None:
    # Whoever runs the part meets the same error where it can be reported.
    with suppress(Exception):
        load()


def _traits(
    folder: Path,
    unet: Mapping[str, Any],
    vae: Mapping[str, Any],
    text: Mapping[str, Any],
    schedule: Schedule,
) -> Traits:
    own = read_json(folder / "pictor.json") if (folder / "pictor.json").is_file() else {}
    try:
        channels = int(vae.get("latent_channels", 4))
        taken = int(unet.get("in_channels", 4))
        if taken not in (channels, 2 * channels + 1):
            raise ModelError(
                f"{folder / 'unet' / 'config.json'} takes {taken} channels",
                expected=f"the autoencoder's {channels}, or {2 * channels + 1} for inpainting",
                param="model",
            )
        blocks = vae.get("decoder_block_out_channels") or vae["block_out_channels"]
        latent_stride = 2 ** (len(blocks) - 1)
        stride = latent_stride * 2 ** (len(unet["block_out_channels"]) - 1)
        tokens = int(text.get("max_position_embeddings", 77))
        side = unet.get("sample_size") or 64
        height, width = side if isinstance(side, list | tuple) else (side, side)
        size = (int(width) * latent_stride, int(height) * latent_stride)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"a config.json in {folder} is damaged ({error!r})",
            expected="diffusers' configurations",
            param="model",
        ) from None
    defaults = _defaults(folder / "pictor.json", own, schedule, size)
    low, high = _sides(folder / "pictor.json", own, stride, 4 * max(defaults.size))
    return Traits(
        name=str(own.get("name") or folder.resolve().name),
        abilities=frozenset({"text", "encode"} if taken > channels else {"text", "whole", "encode"}),
        path=schedule.path,
        prediction=schedule.prediction,
        sigma_data=schedule.sigma_data,
        latent_channels=channels,
        latent_stride=latent_stride,
        stride=stride,
        min_side=low,
        max_side=high,
        max_tokens=tokens,
        sees_mask=taken > channels,
        defaults=defaults,
    )


def _defaults(file: Path, own: Mapping[str, Any], schedule: Schedule, size: tuple[int, int]) -> Defaults:
    few = schedule.solver == "lcm"
    usual = {
        "num_steps": 4 if few else 30,
        "guidance_scale": 1.0 if few else 7.5,
        "solver": schedule.solver,
        "spacing": schedule.spacing,
        "size": size,
    }
    wish = own.get("defaults", {})
    try:
        if unknown := sorted(set(wish) - set(usual)):
            raise ValueError(f"unknown defaults: {', '.join(unknown)}")
        values = {**usual, **wish}
        width, height = values["size"]
        return Defaults(
            num_steps=int(values["num_steps"]),
            guidance_scale=float(values["guidance_scale"]),
            solver=solver_named(values["solver"]).name,
            spacing=_known_spacing(values["spacing"]),
            size=(int(width), int(height)),
        )
    except (InputError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{file} is damaged ({error})", expected="defaults of a picture", param="model"
        ) from None


def _known_spacing(name: str) -> str:
    spacing_named(name)
    return name


def _sides(file: Path, own: Mapping[str, Any], stride: int, usual_max: int) -> tuple[int, int]:
    limits = own.get("sizes", {})
    try:
        low, high = int(limits.get("min", stride)), int(limits.get("max", usual_max))
        if not 1 <= low <= high:
            raise ValueError(f"sides from {low} to {high}")
        return low, high
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{file} is damaged ({error})", expected='"sizes": {"min": 32, "max": 128}', param="model"
        ) from None


FAMILY = Family(
    name="stable_diffusion",
    pipelines=(
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
    ),
    open=open_stable_diffusion,
)
