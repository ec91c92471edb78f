"""Training recipes: validated TOML, unknown keys refused, the resolved copy kept with the run."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pictor.core.errors import InputError


class Strict(BaseModel):
    """A frozen part of a recipe that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=Strict)
CoolDown = Literal["linear", "cosine"]


class Optimiser(Strict):
    """AdamW and its schedule, which depends on samples seen alone."""

    learning_rate: float = Field(5e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.01, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    warm_up: float = Field(0.03, ge=0, lt=1)
    """Share of the run over which the rate rises linearly from zero."""
    cool_down: float = Field(0.3, ge=0, le=1)
    """Share of the run over which the rate falls to zero; 0 keeps it constant."""
    cool_down_shape: CoolDown = "linear"
    """How it falls."""


class Recipe(Strict):
    """Everything that decides a training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(0, ge=0)
    samples: int = Field(gt=0)
    """Length of the run, or its upper bound where `fit_minutes` is given; the schedule is laid over it."""
    fit_minutes: float | None = Field(None, gt=0)
    """Make the run as long as fits this training time, by the speed that its first half minute shows."""
    batch_size: int = Field(64, gt=0)
    accumulate: int = Field(1, ge=1)
    """Parts in which each process computes its share of a batch, one after another, to need less memory."""
    gradient_checkpointing: bool = False
    """Compute activations anew on the way back rather than keep them: less memory, more time."""
    optimiser: Optimiser = Optimiser()
    ema_widths: tuple[float, ...] = (0.10, 0.05)
    """Relative widths of the weight averages; the first is exported."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Numbers that the networks compute in; weights, averages and the optimiser stay in float32, and losses
    are scaled as float16 needs it."""
    cache_latents: bool = False
    """Keep what a frozen autoencoder makes of the pictures in their prepared folder; see `latent_cache`."""
    cache_texts: bool = False
    """Keep what frozen text encoders make of the captions there; see `text_cache`."""
    compile: bool = False
    """Speed up the networks by torch.compile, which takes a minute or two before the first step."""
    checkpoint_minutes: float = Field(5.0, gt=0)
    preview_minutes: float = Field(10.0, ge=0)
    """Training time between previews, where the objective makes pictures; 0 makes none."""
    validate_minutes: float = Field(0.0, ge=0)
    """Training time between validations, which are made at the end in any case; 0 makes no others."""
    preview_prompts: tuple[str, ...] = Field(
        (
            "a red apple",
            "a blue car on a white background",
            "two yellow stars at night",
            "a cat to the left of a tree",
            "a castle, pixel art",
            "一只粉色的猪",
        ),
        min_length=1,
        max_length=32,
    )
    """What previews show, a picture each, always from the same noise."""
    track: tuple[str, ...] = ()
    """Trackers to tell besides log.jsonl: files in training/trackers/."""
    objective: dict[str, Any]
    """`kind` names the objective; the other keys are its own and validated by it."""

    @model_validator(mode="after")
    def _parts_of_a_batch(self) -> Recipe:
        if self.accumulate > self.batch_size:
            raise ValueError(f"batches of {self.batch_size} samples have no {self.accumulate} parts")
        return self


WATCHING = ("checkpoint_minutes", "preview_minutes", "preview_prompts", "validate_minutes", "track")
"""Keys that decide what can be seen of a run and nothing of what it learns."""


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe.

    Raises:
        InputError: no such file, no TOML, an unknown key or a value out of range, each named.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"recipe {path} does not exist",
            expected="a TOML file",
            remedy="see recipes/ for examples",
            param="recipe",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(
            f"recipe {path} cannot be read ({error})",
            expected="a TOML file",
            remedy="mend the file",
            param="recipe",
        ) from error
    return validated(Recipe, table, f"recipe {path}")


def stored_recipe(path: Path) -> Recipe:
    """The resolved recipe of a run, from its recipe.json; keys that it did not know have their defaults.

    Raises:
        InputError: it is damaged.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({error})", expected="the recipe of a run", param="run"
        ) from error
    return validated(Recipe, table, f"recipe {path}")


def validated(model: type[Model], table: dict[str, Any], what: str) -> Model:
    """Build a part of a recipe or say in one line what is wrong with it."""
    try:
        return model.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        known = ", ".join(sorted(model.model_fields))
        raise InputError(
            f"{what}: {place}: {first['msg']}",
            expected=f"keys among {known}" if first["type"] == "extra_forbidden" else "a value in range",
            remedy="mend the recipe",
            param=place,
        ) from error
