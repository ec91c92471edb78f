"""Recipes for pictures of one's own, by their kind: each a file here, in which {base} is a trained model."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pictor.core.errors import InputError
from pictor.data.prepare import SUMMARY
from pictor.data.prepared import Prepared
from pictor.training.pictures import identity
from pictor.training.recipe import Recipe, validated

_LOOKED_AT, _PREVIEWS = 60, 6
_HERE = Path(__file__).parent


def kind_names() -> list[str]:
    """The kinds that there is a file for."""
    return sorted(file.stem for file in _HERE.glob("*.toml"))


def recipe_of_kind(kind: str, *, data: Path, base: Path, size: int, precision: str) -> Recipe:
    """The recipe of a kind for these pictures.

    Args:
        kind: of `kind_names()`.
        data: folder that `pictor data prepare` wrote.
        base: folder of the trained model to begin with.
        size: side of the pictures in pixels.
        precision: what to compute in, "fp32" or "bf16".

    Raises:
        InputError: there is no such kind.
    """
    if kind not in kind_names():
        raise InputError(f"kind is {kind!r}", expected=" or ".join(kind_names()), param="kind")
    table = tomllib.loads((_HERE / f"{kind}.toml").read_text(encoding="utf-8"))
    objective: dict[str, Any] = {
        key: value.replace("{base}", str(base)) if isinstance(value, str) else value
        for key, value in table["objective"].items()
    }
    table["objective"] = objective | {"data": str(data), "size": size}
    if (data / SUMMARY).is_file():
        table["objective"]["data_identity"] = identity(data)
        if prompts := _first_captions(data):
            table["preview_prompts"] = prompts
    return validated(Recipe, table | {"precision": precision}, f"kind {kind}")


def _first_captions(data: Path) -> list[str]:
    """A few different ones of the pictures to be learnt, for previews."""
    pictures = Prepared(data)
    captions = (pictures.plain(row).caption for row in pictures.rows[:_LOOKED_AT].tolist())
    return [text for text in dict.fromkeys(captions) if text][:_PREVIEWS]
