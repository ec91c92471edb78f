"""What a model can do, and what a task wants of it: the two records that meet in the engine.

Array shapes: N pictures, C channels, h, w latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pictor.core.levels import Level, Path


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """What a model is asked for when its user does not say."""

    num_steps: int
    guidance_scale: float
    solver: str
    spacing: str
    size: tuple[int, int]
    """Width and height in pixels."""


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What a model can do; all that planning needs to know of it."""

    name: str
    tasks: frozenset[str]
    path: Path
    prediction: str
    sigma_data: float = 1.0
    latent_channels: int
    latent_stride: int
    """Pixels a latent, along each side."""
    stride: int
    """Width and height must be multiples of it: the latent stride times the network's own downsampling."""
    min_side: int
    max_side: int
    """Limits of width and height in pixels; beyond them the model was not made to work."""
    max_tokens: int
    defaults: Defaults


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """The words that steer a stage."""

    prompt: str
    negative_prompt: str = ""
    guidance_scale: float
    """Imagen's convention: 1 is no guidance, 0 is unconditional."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One denoising run over all pictures of a plan."""

    size: tuple[int, int]
    """Width and height in pixels."""
    latent_shape: tuple[int, int, int]
    """C, h, w."""
    conditions: Conditions
    solver: str
    levels: tuple[Level, ...]
    """Noisiest first; the last is where the pictures come out."""
    start: NDArray[np.float32] | None = None
    """The state [N, C, h, w] at the first level; None for the noise of each picture's seed."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the engine needs to make the pictures, checked."""

    task: str
    spacing: str
    """Name of the spacing that the levels came from, for the recipe."""
    seeds: tuple[int, ...]
    """One a picture."""
    stages: tuple[Stage, ...]
    inputs: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of each input besides the words."""

    def describe(self) -> dict[str, Any]:
        """The fields of a recipe that the plan decides, for the first picture."""
        stage = self.stages[-1]
        return {
            "prompt": stage.conditions.prompt,
            "negative_prompt": stage.conditions.negative_prompt,
            "seed": self.seeds[0],
            "solver": stage.solver,
            "spacing": self.spacing,
            "num_steps": len(stage.levels) - 1,
            "guidance_scale": stage.conditions.guidance_scale,
            "width": stage.size[0],
            "height": stage.size[1],
            "task": self.task,
            "inputs": dict(self.inputs),
        }
