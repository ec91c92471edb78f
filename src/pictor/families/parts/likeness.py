"""A picture as a prompt: an image encoder, and attention of the UNet's own to what it sees.

IP-Adapter (Ye et al. 2023, arXiv:2308.06721), whose file holds `image_proj.*` and `ip_adapter.*`. Each
layer's further attention is diffusers' class.

Legend of array shapes: T tokens of a picture, D width of an embedding, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PICTURE_ENCODER, Part, Tensors
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError
from pictor.families.parts.files import read_json
from pictor.families.parts.lora import read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Pixels

_PROJECTION, _ATTENTION = "image_proj.", "ip_adapter."
# What CLIP's pictures are made of (Radford et al. 2021, arXiv:2103.00020): means and spreads of its channels.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_SPREAD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def _call_tokens(network: Any, inputs: Tensors) -> Tensors:
    return {"embeds": network(inputs["image"], output_hidden_states=True).hidden_states[-2]}


@dataclass(frozen=True, kw_only=True)
class LikenessFiles:
    """A wish: an adapter's file and its image encoder."""

    adapter: Path
    encoder: Path | None = None
    """Folder of a CLIPVisionModelWithProjection; None for `image_encoder/` beside the adapter."""

    @property
    def encoder_folder(self) -> Path:
        return self.encoder or self.adapter.parent / "image_encoder"


class PictureEncoder:
    """Picture -> what the adapter attends to.

    Args:
        module: the image encoder.
        side: pixels a side that it takes.
        empty_of_black: whether no picture is what it makes of zeros (tokens), and not zeros (a vector).
    """

    def __init__(self, module: Module, side: int, *, empty_of_black: bool) -> None:
        self._module = module
        self._side = side
        self._empty_of_black = empty_of_black

    def __call__(self, picture: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings [D] or [T, D] of the picture [H, W, 3], and those of none."""
        seen = self._module.run(image=prepared(picture, self._side))["embeds"][0]
        if not self._empty_of_black:
            return seen, np.zeros_like(seen)
        black = np.zeros((1, 3, self._side, self._side), np.float32)
        return seen, self._module.run(image=black)["embeds"][0]


def prepared(picture: Pixels, side: int) -> NDArray[np.float32]:
    """[1, 3, side, side] as CLIP's own preparation: the shorter side scaled, the middle cut out, channels
    standardised.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    scale = side / min(height, width)
    size = (max(side, int(width * scale)), max(side, int(height * scale)))
    pixels = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC), np.float32)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    cut = pixels[top : top + side, left : left + side]
    standard = (cut / np.float32(255) - _MEAN) / _SPREAD
    return np.ascontiguousarray(standard.transpose(2, 0, 1)[None], np.float32)


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """An adapter that fits a UNet."""

    unet: Part
    """The UNet, with two more inputs that may be left away."""
    put: Callable[[Any], None]
    """Puts the adapter into the loaded UNet."""
    encoder: Part
    folder: Path
    """Where the encoder's part lies."""
    side: int
    empty_of_black: bool
    facts: dict[str, str]


def open_likeness(unet: Part, width: int, files: LikenessFiles) -> Likeness:
    """Read an adapter.

    Args:
        unet: the part that it extends.
        width: of the embeddings that the UNet attends to.
        files: the user's.

    Raises:
        ModelError: a file is missing or damaged, or the adapter is of a kind or for a UNet that does not fit.
    """
    tensors = read_tensors(files.adapter, "ip_adapter")
    projection = {n.removeprefix(_PROJECTION): t for n, t in tensors.items() if n.startswith(_PROJECTION)}
    attention = {n.removeprefix(_ATTENTION): t for n, t in tensors.items() if n.startswith(_ATTENTION)}
    pooled, tokens = "proj.weight" in projection, "latents" in projection
    if not attention or not (pooled or tokens):
        raise ModelError(
            f"{files.adapter} holds no picture adapter that is known",
            expected="an IP-Adapter, plain or plus",
            param="ip_adapter",
        )
    if {tensor.shape[1] for name, tensor in attention.items() if name.endswith("to_k_ip.weight")} != {width}:
        raise ModelError(
            f"{files.adapter} is for another kind of model",
            expected=f"an adapter for embeddings of {width} numbers",
            param="ip_adapter",
        )
    folder = files.encoder_folder
    config = read_json(folder / "config.json")
    for file in find_weights(folder):
        read_header(file)

    def put(network: Any) -> None:
        weight = next(network.parameters())
        state = {
            "image_proj": {name: weight.new_tensor(tensor) for name, tensor in projection.items()},
            "ip_adapter": {name: weight.new_tensor(tensor) for name, tensor in attention.items()},
        }
        network._load_ip_adapter_weights([state], low_cpu_mem_usage=False)
        network.requires_grad_(False)

    call = PICTURE_ENCODER.call if pooled else _call_tokens
    encoder = replace(
        PICTURE_ENCODER, subfolder="", graph="", call=call, classes=("CLIPVisionModelWithProjection",)
    )
    return Likeness(
        unet=_looking(unet),
        put=put,
        encoder=encoder,
        folder=folder,
        side=int(config.get("image_size", 224)),
        empty_of_black=tokens,
        facts={f"ip_adapter {files.adapter.name}": sha256(files.adapter.read_bytes()).hexdigest()},
    )


def _looking(unet: Part) -> Part:
    """The UNet, told what to look like; without that it looks at nothing."""

    def call(network: Any, inputs: Tensors) -> Tensors:
        embeds = inputs["likeness"]
        # One picture, whose tokens each row has.
        embeds = embeds[:, None] if embeds.ndim < 4 else embeds
        weight = float(inputs["likeness_weight"][0])
        for processor in network.attn_processors.values():
            if hasattr(processor, "scale"):
                processor.scale = [weight]

        def looking(*arguments: Any, added_cond_kwargs: Any = None, **words: Any) -> Any:
            told = {**(added_cond_kwargs or {}), "image_embeds": [embeds]}
            return network(*arguments, added_cond_kwargs=told, **words)

        looking.control = getattr(network, "control", None)  # type: ignore[attr-defined]
        rest = {name: tensor for name, tensor in inputs.items() if not name.startswith("likeness")}
        return unet.call(looking, rest)

    return replace(
        unet,
        inputs={**unet.inputs, "likeness": "B...", "likeness_weight": "B"},
        optional=unet.optional,
        call=call,
        graph="",
    )
