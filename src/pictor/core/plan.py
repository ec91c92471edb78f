"""What a model can do, and what a task wants of it: the two records that meet in the engine.

Array shapes: N pictures, C channels, h, w latent rows and columns, H, W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pictor.core.levels import Level, Path

    Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a model is asked for when its user does not say."""

    num_steps: int
    guidance_scale: float
    solver: str
    spacing: str
    size: tuple[int, int]
    """Width and height in pixels."""
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    """The shares of the way between which guidance acts; 0 is noise."""


ABILITIES = {
    "text": "read a prompt",
    "whole": "paint without a mask",
    "encode": "take in a picture",
    "control": "follow a control picture",
    "like": "take a picture as a prompt",
    "enlarge": "enlarge pictures by a network",
    "describe": "tell how well words fit a picture",
    "draw": "draw without denoising",
}
"""What a task may need of a model, as the end of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a model can do; all that planning needs to know of it."""

    name: str
    abilities: frozenset[str]
    """Of ABILITIES."""
    path: Path | None = None
    """For pictures of the default size, where it depends on that; None for models that do not denoise."""
    path_of_size: Callable[[tuple[int, int]], Path] | None = None
    """From width and height in pixels, for models whose noise grows with the picture."""
    prediction: str = ""
    sigma_data: float = 1.0
    latent_channels: int = 0
    latent_stride: int = 1
    """Pixels a latent, along each side."""
    stride: int
    """Width and height must be multiples of it: the latent stride times the network's own downsampling."""
    min_side: int
    max_side: int
    """Limits of width and height in pixels; beyond them the model was not made to work."""
    max_tokens: int
    sees_mask: bool = False
    """The network takes the mask and the masked picture as further channels (models made for inpainting)."""
    embeds_guidance: bool = False
    """The network takes the guidance scale as an input, and has learnt to follow it (models made so)."""
    defaults: Defaults

    def path_for(self, size: tuple[int, int]) -> Path:
        """The noise path of a picture of this size, for a model that denoises."""
        path = self.path if self.path_of_size is None else self.path_of_size(size)
        assert path is not None  # noqa: S101 - tasks that denoise need an ability that other models lack
        return path


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The words that steer one picture."""

    prompt: str
    """In the grammar of `pictor.core.prompts`."""
    negative_prompt: str = ""
    guidance_scale: float
    """Imagen's convention: 1 is no guidance, 0 is unconditional."""
    directions: tuple[tuple[float, str], ...] = ()
    """Further texts whose embeddings are added to the prompt's, each with its weight."""


@dataclass(frozen=True, kw_only=True)
class Guiding:
    """When and how guidance acts."""

    interval: tuple[float, float] = (0.0, 1.0)
    """Shares of the whole way; 0 is noise."""
    k_low: float = 0.0
    k_high: float = math.inf
    """The same as noise ratios: it acts where k_low < sigma / alpha <= k_high."""
    rescale: float = 0.0
    """How much of the contrast without guidance is given back, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Given pictures that a stage begins with: their latents, noised to its first level."""

    pictures: tuple[Pixels, ...]
    """Each [H, W, 3] of the stage's size."""
    between: tuple[tuple[int, int, float], ...] = ()
    """For each of the N pictures (i, j, t): on the arc from given picture i to j, at t from 0 to 1."""
    sums: tuple[tuple[float, ...], ...] = ()
    """In the place of `between`: for each of the N pictures the weights of all given ones in a sum."""
    begins: bool = True
    """Whether the stage begins with them, noised; else with noise alone, and is only held to them."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One denoising run over all pictures of a plan."""

    size: tuple[int, int]
    """Width and height in pixels."""
    latent_shape: tuple[int, int, int]
    """C, h, w."""
    conditions: tuple[Conditions, ...]
    """One a picture."""
    solver: str
    levels: tuple[Level, ...]
    """Noisiest first; the last is where the pictures come out."""
    guiding: Guiding = Guiding()
    start: NDArray[np.float32] | None = None
    """The state [N, C, h, w] at the first level, whatever else there is."""
    origin: Origin | None = None
    """What to begin with; None for noise, or for the stage before."""
    noise: NDArray[np.float32] | None = None
    """The starting noise [N, C, h, w]; None for that of each picture's seed."""
    mask: NDArray[np.float32] | None = None
    """[H, W] from 0 to 1; 1 is repainted and 0 is held to the origin, step by step."""
    layout: Layout | None = None
    style: Style | None = None
    control: Control | None = None
    likeness: Likeness | None = None
    tiles: Tiles | None = None
    wrap: tuple[bool, bool] = (False, False)
    """Whether the left side continues on the right, and the top at the bottom."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Coarse shapes and shades are held to the origin's, as in ILVR (Choi et al. 2021, arXiv:2108.02938)."""

    cells: int
    """Means over squares of so many latents a side are held."""
    until: float
    """For this share of the steps, from the noisy end."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours and contrasts drawn towards another picture's."""

    picture: Pixels
    """[H, W, 3] of the stage's size."""
    amount: float
    """From 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """A picture whose shapes the network follows (Zhang et al. 2023, arXiv:2302.05543)."""

    picture: Pixels
    """[H, W, 3] of the stage's size: edges, depths, poses, as the control network was trained with."""
    weight: float
    until: float
    """For this share of the steps, from the noisy end."""


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """A picture as a further prompt (Ye et al. 2023, arXiv:2308.06721)."""

    picture: Pixels
    """[H, W, 3] of any size."""
    weight: float


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """The network sees overlapping pieces of the picture, one at a time."""

    size: tuple[int, int]
    """Width and height of a piece in pixels, multiples of the model's stride."""
    overlap: int
    """Of neighbours, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Paste:
    """Where finished pictures go: into a box of a larger one."""

    canvas: Pixels
    """[H, W, 3]; pixels whose opacity is 0 come out as they are here."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom on the canvas; the finished picture is resized to it. What lies beyond the
    canvas is left away."""
    opacity: NDArray[np.float32]
    """[H, W] of the canvas, from 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class Enlarge:
    """A picture that becomes larger by the model's network for that; nothing is denoised."""

    picture: Pixels
    """[H, W, 3]."""
    scale: int
    """How many times wider and higher, a power of 2."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Pictures that a model draws without denoising, from noise alone or token by token."""

    size: tuple[int, int]
    """Width and height in pixels."""
    conditions: tuple[Conditions, ...]
    """One a picture; without words where the model reads none."""
    temperature: float = 1.0
    """How varied: 1 is as the model has learnt it, 0 the likeliest."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the engine needs to make the pictures, checked."""

    task: str
    spacing: str
    """Name of the spacing that the levels came from, for the recipe; "" where there are no stages."""
    num_steps: int
    """As asked for; a stage that begins with a picture may take fewer. 0 where there are no stages."""
    seeds: tuple[int, ...]
    """One a picture."""
    stages: tuple[Stage, ...] = ()
    """None where a picture is enlarged, or drawn."""
    enlarge: Enlarge | None = None
    """In the place of stages."""
    drawing: Drawing | None = None
    """In the place of stages."""
    paste: Paste | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each input besides the words."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What the task was asked besides the fields of every recipe, by the names of its request's fields."""
    each: Sequence[Mapping[str, Any]] = ()
    """For each picture what makes it alone, over `parameters`; empty where the seed does."""
    keep: tuple[int, int] | None = None
    """(n, k): of each n pictures in a row, all of one prompt, the k that fit it best; None keeps all."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the finished pictures in pixels."""
        if self.enlarge is not None:
            height, width = self.enlarge.picture.shape[:2]
            return self.enlarge.scale * width, self.enlarge.scale * height
        if self.drawing is not None:
            return self.drawing.size
        if self.paste is None:
            return self.stages[-1].size
        height, width = self.paste.canvas.shape[:2]
        return width, height

    @property
    def conditions(self) -> tuple[Conditions, ...]:
        """The words of each picture."""
        if self.drawing is not None:
            return self.drawing.conditions
        wordless = Conditions(prompt="", guidance_scale=1.0)
        return self.stages[-1].conditions if self.stages else (wordless,) * len(self.seeds)

    def describe(self, index: int) -> dict[str, Any]:
        """The fields of a recipe that the plan decides, for the picture of this index."""
        conditions = self.conditions[index]
        solver, (width, height) = (
            (self.stages[-1].solver, self.stages[-1].size) if self.stages else ("", self.size)
        )
        return {
            "prompt": conditions.prompt,
            "negative_prompt": conditions.negative_prompt,
            "seed": self.seeds[index],
            "solver": solver,
            "spacing": self.spacing,
            "num_steps": self.num_steps,
            "guidance_scale": conditions.guidance_scale,
            "width": width,
            "height": height,
            "task": self.task,
            "inputs": dict(self.inputs),
            "parameters": {**self.parameters, **(self.each[index] if self.each else {})},
        }
