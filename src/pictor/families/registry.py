"""The families, and the choice of the one that a model folder belongs to."""

import importlib
import os
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pictor import families
from pictor.backends.base import BESIDE, Part
from pictor.core.errors import InputError, ModelError
from pictor.families.beside import with_enlarger
from pictor.families.bundle import Bundle, Family, Opening
from pictor.families.parts.files import read_json

BACKENDS = ("auto", "onnx", "torch")


@cache
def all_families() -> tuple[Family, ...]:
    """Every family that there is a file for."""
    modules = (module.name for module in pkgutil.iter_modules(families.__path__) if not module.ispkg)
    found = (
        getattr(importlib.import_module(f"{families.__name__}.{name}"), "FAMILY", None) for name in modules
    )
    return tuple(family for family in found if isinstance(family, Family))


def open_bundle(folder: str | os.PathLike[str], how: Opening | str = "auto") -> Bundle:
    """Open a model folder.

    Args:
        folder: with a model_index.json, whose `_class_name` decides the family.
        how: the user's wishes, or the backend alone.

    Raises:
        InputError: the backend, device or dtype is unknown.
        ModelError: the folder is missing, damaged, or of no family that Pictor opens; or an adapter is.
        MissingExtraError: it needs torch, which is not installed.
    """
    how = Opening(backend=how) if isinstance(how, str) else how
    if how.backend not in BACKENDS:
        raise InputError(f"unknown backend {how.backend!r}", expected=", ".join(BACKENDS), param="backend")
    place = Path(folder)
    if not os.path.isdir(place):  # False, and no error, where it may not be looked at
        raise ModelError(
            f"there is no model folder {str(folder)!r}",
            expected="a diffusers folder with a model_index.json",
            param="model",
        )
    index = read_json(place / "model_index.json")
    return with_enlarger(family_of(place, index).open(place, index, how), place, how)


def graphed_parts(folder: Path) -> Sequence[Part]:
    """The parts of a model folder that ONNX graphs can be written of, those beside the model among them.

    Raises:
        ModelError: no family opens the folder.
        InputError: its family has no graphs.
    """
    index = read_json(folder / "model_index.json")
    family = family_of(folder, index)
    if family.graphed is None:
        raise InputError(
            f"{folder.resolve().name} is of the family {family.name}, which has no graphs",
            expected=" or ".join(sorted(known.name for known in all_families() if known.graphed)),
            param="model",
        )
    beside = [part for part, mark in BESIDE if (folder / part.subfolder / mark).is_file()]
    return [*family.graphed(index), *beside]


def family_of(folder: Path, index: Mapping[str, Any]) -> Family:
    """The family of a folder with this model_index.json.

    Raises:
        ModelError: there is none.
    """
    kind = index.get("_class_name")
    for family in all_families():
        if kind in family.pipelines:
            return family
    known = sorted(name for family in all_families() for name in family.pipelines)
    raise ModelError(
        f"{folder / 'model_index.json'} names the pipeline {kind!r}", expected=", ".join(known), param="model"
    )
