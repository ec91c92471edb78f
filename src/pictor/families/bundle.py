"""A loaded model, as the engine sees it.

Legend of array shapes: B rows, C latent channels, h, w latent rows and columns, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pictor.core.plan import Drawing, Traits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pictor.backends.base import Part
    from pictor.core import levels
    from pictor.core.plan import Pixels
    from pictor.families.parts.describing import Describer
    from pictor.families.parts.enlarging import Enlarger
    from pictor.families.parts.likeness import LikenessFiles
    from pictor.families.parts.lora import Lora

    Embeds = Mapping[str, NDArray[Any]]


class Network(Protocol):
    """The denoising network: its raw output F, with learned variances left out."""

    def __call__(
        self, x_BChw: NDArray[np.float32], time_B: NDArray[np.float64], conditions: Embeds
    ) -> NDArray[np.float32]:
        """F of x's shape.

        Args:
            x_BChw: latents as the network wants them (scaled by its preconditioning).
            time_B: one time a row, in the network's units.
            conditions: what `encode_prompt` returned, with one row of each array a row of x; and, where
                the traits say that it sees a mask, `beside` [B, 1 + C, h, w].
        """
        ...


class Autoencoder(Protocol):
    """Between pixels in [-1, 1] and latents of unit variance."""

    def decode(self, x0_BChw: NDArray[np.float32]) -> NDArray[np.float32]:
        """Pictures [B, 3, H, W], about [-1, 1]."""
        ...

    def encode(self, image_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Latents [B, C, h, w]."""
        ...


class EncodePrompt(Protocol):
    """From a prompt to what steers the network."""

    def __call__(
        self, text: str, *, chunks: int = 1, size: tuple[int, int] | None = None, negative: bool = False
    ) -> Embeds:
        """Arrays without a batch axis, by the names that the network knows. Warns of text that it cuts.

        Args:
            text: a prompt, whose stress is heeded.
            chunks: texts of equally many chunks can share a batch; a shorter text is filled up.
            size: width and height of the picture in pixels, for models that are told; None for the default.
            negative: it is what to keep away from, which some models are told otherwise.
        """
        ...


class Drawer(Protocol):
    """Draws pictures without denoising."""

    def __call__(
        self, drawing: Drawing, seeds: Sequence[int], watch: Callable[[int, int], None]
    ) -> list[Pixels]:
        """One picture [H, W, 3] a seed, each a function of its seed and words alone, whatever is beside it.

        Args:
            drawing: what to draw.
            seeds: one a picture.
            watch: told before the first part of the work and after each how many are done, of how many; what
                it raises ends the work.
        """
        ...


def _lacking(*_: Any, **__: Any) -> Any:
    raise AssertionError("a model that does not denoise was asked to")


class _NoAutoencoder:
    decode = encode = staticmethod(_lacking)


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded model: network, path, prediction, autoencoder, encode_prompt, traits."""

    traits: Traits
    network: Network = _lacking
    autoencoder: Autoencoder = field(default_factory=_NoAutoencoder)
    encode_prompt: EncodePrompt = _lacking
    count_chunks: Callable[[str], int] = _lacking
    """How many chunks `encode_prompt` needs for a text."""
    prepare: Callable[[], None]
    """Loads in the background what the first picture needs."""
    hash_weights: Callable[[], str]
    """SHA-256 over the weights; asked once."""
    backend: str
    dtype: str
    encode_likeness: Callable[[Pixels], tuple[NDArray[np.float32], NDArray[np.float32]]] | None = None
    """From a picture to what the network attends to, and what it does where there is none."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Name and SHA-256 of each adapter."""
    draw: Drawer | None = None
    """For models that draw without denoising, in the place of the network and what belongs to it."""
    enlarge: Enlarger | None = None
    """From a picture and a power of 2 to the picture so many times larger, without denoising."""
    describer: Describer | None = None
    """How well texts fit a picture."""

    @property
    def path(self) -> levels.Path:
        return self.traits.path_for(self.traits.defaults.size)

    @property
    def prediction(self) -> str:
        return self.traits.prediction

    @cached_property
    def model_hash(self) -> str:
        """SHA-256 over the weights, as a recipe carries it."""
        return self.hash_weights()

    @cached_property
    def enlarger_hash(self) -> str:
        """SHA-256 over the weights of `enlarge`, as the recipes of its pictures carry it; "" without one."""
        return "" if self.enlarge is None else self.enlarge.hash_weights()


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How a model is to be opened."""

    backend: str = "auto"
    """"onnx", "torch", or "auto": onnx where the graphs are there and suffice, else torch."""
    device: str = "auto"
    """"cpu", "cuda", ...; "auto" is a GPU where there is one. For the torch backend."""
    dtype: str = "auto"
    """"float32", "float16" or "bfloat16"; "auto" is float32 on a CPU and float16 elsewhere. For torch."""
    offload: bool = False
    """The device holds one network at a time; the others wait in the machine's memory."""
    loras: Sequence[Lora] = ()
    likeness: LikenessFiles | None = None
    """A picture adapter."""
    controlnet: Path | None = None
    """Folder of a control network."""
    embeddings: Sequence[Path] = ()
    """Files of learnt words (textual inversion)."""

    @property
    def needs_torch(self) -> bool:
        """Whether it asks for what graphs cannot do."""
        changed = self.loras or self.embeddings or self.controlnet or self.offload or self.likeness
        return bool(changed) or (self.device, self.dtype) != ("auto", "auto")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of model folder. A family's file ends with `FAMILY = Family(...)`; nothing else is edited."""

    name: str
    pipelines: Sequence[str]
    """The `_class_name`s in model_index.json that it opens."""
    open: Callable[[Path, Mapping[str, Any], Opening], Bundle]
    """(folder, model_index, how) -> Bundle; raises ModelError."""
    graphed: Callable[[Mapping[str, Any]], Sequence[Part]] | None = None
    """model_index -> the parts that run as ONNX graphs; None for a family that needs torch."""
