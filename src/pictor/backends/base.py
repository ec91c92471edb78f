"""What a runnable part of a model is, whichever runtime runs it."""

from dataclasses import dataclass
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


@dataclass(frozen=True, kw_only=True)
class Part:
    """Where a part lies in a diffusers folder, and what it is called with."""

    subfolder: str
    graph: str
    """File name of its ONNX graph."""
    inputs: dict[str, str]
    """Input name -> shape, one letter or number an axis; a letter may be any size."""
    outputs: tuple[str, ...]
    """Names of the outputs that every network of this part has."""


PARTS: dict[str, Part] = {
    "unet": Part(
        subfolder="unet",
        graph="model.onnx",
        inputs={"sample": "BCHW", "timestep": "B", "encoder_hidden_states": "BTD"},
        outputs=("out_sample",),
    ),
    "decoder": Part(
        subfolder="vae",
        graph="decoder.onnx",
        inputs={"latent": "BChw"},
        outputs=("image",),
    ),
    "encoder": Part(
        subfolder="vae",
        graph="encoder.onnx",
        inputs={"image": "B3HW"},
        outputs=("latent",),
    ),
    "text_encoder": Part(
        subfolder="text_encoder",
        graph="model.onnx",
        inputs={"input_ids": "BT"},
        outputs=("last_hidden_state",),
    ),
}
"""The parts of a text-to-image model. Latents are what the autoencoder itself makes and takes: the caller
applies its scaling factor. A text encoder also returns `pooler_output` or `text_embeds` where it has them."""


def first_line(error: BaseException) -> str:
    """The first line of a library's message, for errors that take one line."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
