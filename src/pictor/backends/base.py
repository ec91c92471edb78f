"""What a runnable part of a model is, whichever runtime runs it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]


class Module(Protocol):
    """A network with named arrays in and named arrays out.

    Every backend takes and returns numpy arrays on the CPU, so that a caller never asks which one it holds.
    """

    def load(self) -> None:
        """Read the weights, where that has not been done; `run` does it otherwise.

        Raises:
            ModelError: a file is missing, damaged, or of a kind that is not supported.
        """

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run the network once.

        Args:
            arrays: the inputs by name, as `Part.inputs` has them. Floating inputs become float32 or the
                network's own type, except for `timestep`, which is never rounded to half precision.

        Returns:
            The outputs by name, float32.

        Raises:
            ModelError: the network cannot be loaded.
            PictorError: these inputs do not fit the network.
        """


Tensors = dict[str, Any]
"""torch tensors by name."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where a part lies in a diffusers folder, which classes it is of, and how they are called."""

    name: str
    subfolder: str
    library: str
    """"diffusers", "transformers", or the module of a network of our own that loads as theirs do."""
    classes: tuple[str, ...]
    """Its classes in that library that are known to be called as `call` does."""
    elsewhere: Mapping[str, str] = field(default_factory=dict)
    """Modules of those of its classes that the library does not have."""
    inputs: dict[str, str]
    """Input name -> shape, one letter or number an axis; a letter may be any size."""
    optional: frozenset[str] = frozenset()
    """Inputs that may be left away."""
    outputs: tuple[str, ...]
    """Names of the outputs that every network of this part has."""
    call: Callable[[Any, Tensors], Tensors]
    """From the network and its inputs on its device to its outputs; imports nothing."""
    loaded_as: str = ""
    """The class to load it with where its configuration names another of `classes`, for training it, say."""
    graph: str = ""
    """File name of its ONNX graph, where it can have one."""
    unused: tuple[str, ...] = ()
    """Children of the network that `call` has no use for, where they are there."""
    images: bool = True
    """Whether it computes on planes, which processors read channels last."""


def call_unet(network: Any, inputs: Tensors) -> Tensors:
    words = {"encoder_hidden_states": inputs["encoder_hidden_states"]}
    return {"out_sample": network(inputs["sample"], inputs["timestep"], **words).sample}


def call_decoder(network: Any, inputs: Tensors) -> Tensors:
    return {"image": network.decode(inputs["latent"]).sample}


def call_encoder(network: Any, inputs: Tensors) -> Tensors:
    """The mode of the latent's distribution, where it has one."""
    out = network.encode(inputs["image"])
    if hasattr(out, "latent_dist"):
        return {"latent": out.latent_dist.mode()}
    return {"latent": out.latent if hasattr(out, "latent") else out.latents}


def call_text_encoder(network: Any, inputs: Tensors) -> Tensors:
    out = network(input_ids=inputs["input_ids"])
    optional = {key: getattr(out, key, None) for key in ("pooler_output", "text_embeds")}
    return {"last_hidden_state": out.last_hidden_state} | {
        key: tensor for key, tensor in optional.items() if tensor is not None
    }


def call_picture_encoder(network: Any, inputs: Tensors) -> Tensors:
    return {"embeds": network(inputs["image"]).image_embeds}


def call_enlarger(network: Any, inputs: Tensors) -> Tensors:
    return {"large": network(inputs["image"])}


_AUTOENCODERS = ("AutoencoderTiny", "AutoencoderKL", "AutoencoderDC")

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        Part(
            name="unet",
            subfolder="unet",
            library="diffusers",
            classes=("UNet2DConditionModel",),
            inputs={"sample": "BCHW", "timestep": "B", "encoder_hidden_states": "BTD"},
            outputs=("out_sample",),
            call=call_unet,
            graph="model.onnx",
        ),
        Part(
            name="decoder",
            subfolder="vae",
            library="diffusers",
            classes=_AUTOENCODERS,
            inputs={"latent": "BChw"},
            outputs=("image",),
            call=call_decoder,
            graph="decoder.onnx",
            unused=("encoder", "quant_conv"),
        ),
        Part(
            name="encoder",
            subfolder="vae",
            library="diffusers",
            classes=_AUTOENCODERS,
            inputs={"image": "B3HW"},
            outputs=("latent",),
            call=call_encoder,
            graph="encoder.onnx",
            unused=("decoder", "post_quant_conv"),
        ),
        Part(
            name="text_encoder",
            subfolder="text_encoder",
            library="transformers",
            classes=("CLIPTextModel", "CLIPTextModelWithProjection"),
            inputs={"input_ids": "BT"},
            outputs=("last_hidden_state",),
            call=call_text_encoder,
            graph="model.onnx",
            images=False,
        ),
    )
}
"""The parts of a text-to-image model of the shape of Stable Diffusion.

Latents are what the autoencoder itself makes and takes: the caller applies its scaling factor. A text encoder
also returns `pooler_output` or `text_embeds` where it has them.
"""

ENLARGER = Part(
    name="enlarger",
    subfolder="enlarger",
    library="pictor.backends.enlarger",
    classes=("EnlargerNetwork",),
    inputs={"image": "B3HW"},
    outputs=("large",),
    call=call_enlarger,
    graph="model.onnx",
)
"""What any model's folder may have besides: a network that doubles pictures in [-1, 1]."""

PICTURE_ENCODER = Part(
    name="image_encoder",
    subfolder="image_encoder",
    library="transformers",
    classes=("CLIPVisionModelWithProjection", "PictureEncoderNetwork"),
    elsewhere={"PictureEncoderNetwork": "pictor.backends.picture_encoder"},
    inputs={"image": "B3HW"},
    outputs=("embeds",),
    call=call_picture_encoder,
    graph="model.onnx",
    images=False,
)
"""From a picture, prepared as CLIP's, to where it lies in the space of CLIP's texts."""

BESIDE = ((ENLARGER, "config.json"), (PICTURE_ENCODER, "vocabulary.json"))
"""What lies beside a model, unnamed by its index, and the file by which it is known to be for it."""


def first_line(error: BaseException) -> str:
    """The first line of a library's message, for errors that take one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
