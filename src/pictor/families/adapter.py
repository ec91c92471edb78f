"""Folders that hold what another model learnt, and the name of that model.

`pictor train` writes them where a base model was taught by an adapter. model_index.json:

{"_class_name": "PictorAdapter", "base": "embedded", "loras": {"pytorch_lora_weights.safetensors": 1.0},
 "embeddings": ["learned_embeds.safetensors"]}

The base is a folder, a name on the Hub, or "embedded". It is opened with these files, as `--lora` and
`--embedding` do, and its defaults are those of the folder's pictor.json where that names any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pictor.core.errors import ModelError
from pictor.families.bundle import Bundle, Family, Opening
from pictor.families.parts.files import read_json, require
from pictor.families.parts.hub import fetch, is_hub_id
from pictor.families.parts.lora import Lora
from pictor.families.registry import open_bundle

PIPELINE = "PictorAdapter"
EMBEDDED = "embedded"


def open_adapter(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the base with what it learnt, and then with the adapters that the user wishes besides.

    Raises:
        ModelError: the base is not there or is an adapter itself, or a file is missing or damaged.
    """
    base = _base(folder, index)
    try:
        loras = [Lora(path=_within(folder, name), weight=float(w)) for name, w in index["loras"].items()]
        embeddings = [_within(folder, name) for name in index["embeddings"]]
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise ModelError(
            f"{folder / 'model_index.json'} is damaged ({error!r})",
            expected="loras with their weights, and embeddings",
            param="model",
        ) from None
    bundle = open_bundle(
        base, replace(how, loras=(*loras, *how.loras), embeddings=(*embeddings, *how.embeddings))
    )
    return replace(bundle, traits=_named(folder, bundle))


def _base(folder: Path, index: Mapping[str, Any]) -> Path:
    told = index.get("base")
    if told == EMBEDDED:
        return Path(__file__).parents[1] / EMBEDDED
    base = Path(str(told))
    if not base.is_dir() and is_hub_id(str(told)):
        base = fetch(str(told))
    if not (base / "model_index.json").is_file():
        raise ModelError(
            f"{folder} changes the model {told}, which is not there",
            expected="the model that it was trained with",
            remedy="Name that model with --model, and the folder's files with --lora or --embedding.",
            param="model",
        )
    if read_json(base / "model_index.json").get("_class_name") == PIPELINE:
        raise ModelError(
            f"{folder} changes {told}, which holds no model but an adapter itself",
            expected="a base that is whole",
            param="model",
        )
    return base


def _within(folder: Path, name: str) -> Path:
    """A file of the folder's own."""
    if Path(name).name != name:
        raise ValueError(f"the file {name!r}")
    return require(folder / name)


def _named(folder: Path, bundle: Bundle) -> Any:
    """The base's traits under the folder's name and with its defaults."""
    file = folder / "pictor.json"
    own = read_json(file) if file.is_file() else {}
    told = own.get("defaults", {})
    known = {field.name for field in fields(bundle.traits.defaults)}
    if not isinstance(told, dict) or not set(told) <= known:
        raise ModelError(f"{file} is damaged", expected="defaults of a picture", param="model")
    return replace(
        bundle.traits,
        name=str(own.get("name") or folder.resolve().name),
        defaults=replace(bundle.traits.defaults, **told),
    )


FAMILY = Family(name="adapter", pipelines=(PIPELINE,), open=open_adapter)
