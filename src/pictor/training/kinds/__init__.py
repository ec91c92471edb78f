"""Kinds of model: each a recipe here, for the picturebook or pictures of one's own.

In a recipe {base} stands for the folder of a trained model; one that does not name it begins with nothing.
The command line lists the kinds in its help, and so whatever is heavy is imported where a recipe is made.
"""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pictor.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pictor.training.recipe import Recipe

_LOOKED_AT, _PREVIEWS = 60, 6
_HERE = Path(__file__).parent
_BASE = "{base}"


def kind_names() -> list[str]:
    """The kinds that there is a file for."""
    return sorted(file.stem for file in _HERE.glob("*.toml"))


def recipe_of_kind(
    kind: str, *, data: Path | None = None, base: Path | None = None, precision: str = "fp32"
) -> Recipe:
    """The recipe of a kind for these pictures.

    Args:
        kind: of `kind_names()`.
        data: folder that `pictor data prepare` wrote; None is the picturebook.
        base: model to begin with, None for the embedded one where the recipe begins with any; where the
            recipe names no size of pictures, it is that model's.
        precision: what to compute in where the recipe names nothing, "fp32" or "bf16".

    Raises:
        InputError: there is no such kind, it learns from the picturebook alone, or begins with no model.
        ModelError: the base is no model.
    """
    from pictor.training.recipe import Recipe, validated

    if kind not in kind_names():
        raise InputError(f"kind is {kind!r}", expected=f"one of {', '.join(kind_names())}", param="kind")
    table = tomllib.loads((_HERE / f"{kind}.toml").read_text(encoding="utf-8"))
    if _BASE in repr(table):
        table = _filled(table, base)
    elif base is not None:
        raise InputError(
            f"{kind} begins with no model",
            expected="--base with a kind that goes on from one",
            remedy="Leave --base out.",
            param="base",
        )
    objective: dict[str, Any] = table["objective"]
    if data is None:
        objective.pop("variation", None)  # which is of one's own pictures
    else:
        table |= _shown(kind, objective, data)
    return validated(Recipe, {"precision": precision} | table, f"kind {kind}")


def _filled(table: dict[str, Any], base: Path | None) -> dict[str, Any]:
    """The same with the model's folder in it, and where no size is named the size of its pictures."""
    from pictor.engine.studio import load, model_folder

    place = str(model_folder(base))

    def put(value: Any) -> Any:
        match value:
            case str():
                return value.replace(_BASE, place)
            case list():
                return [put(entry) for entry in value]
            case dict():
                return {key: put(entry) for key, entry in value.items()}
        return value

    filled: dict[str, Any] = put(table)
    if "size" not in filled["objective"]:
        filled["objective"]["size"] = min(load(base).traits.defaults.size)
    return filled


def _shown(kind: str, objective: dict[str, Any], data: Path) -> dict[str, Any]:
    """Let an objective show these pictures; what else the recipe is to say of them."""
    from pictor.data.prepare import SUMMARY
    from pictor.training.pictures import identity

    if "data" not in _config(objective).model_fields:
        raise InputError(
            f"{kind} learns from the picturebook alone",
            expected="a kind that learns from pictures of one's own",
            remedy="Leave --data out.",
            param="data",
        )
    for key in ("mix", "font"):  # which are of the picturebook
        objective.pop(key, None)
    objective["data"] = str(data)
    if not (data / SUMMARY).is_file():
        return {}
    objective["data_identity"] = identity(data)
    prompts = _first_captions(data)
    return {"preview_prompts": prompts} if prompts else {}


def reads_words(objective: Mapping[str, Any]) -> bool:
    """Whether what this [objective] table trains learns from captions, too."""
    return bool(getattr(_config(objective), "reads_words", True))


def _config(objective: Mapping[str, Any]) -> Any:
    from pictor.training import objectives

    return import_module(f"{objectives.__name__}.{objective['kind']}").Config


def _first_captions(data: Path) -> list[str]:
    """A few different ones of the pictures to be learnt, for previews."""
    from pictor.data.prepared import Prepared

    pictures = Prepared(data)
    captions = (pictures.plain(row).caption for row in pictures.rows[:_LOOKED_AT].tolist())
    return [text for text in dict.fromkeys(captions) if text][:_PREVIEWS]
