"""Opening a folder's parts: which classes they are, which runtime runs them, and loading ahead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pictor.core.errors import InputError, ModelError
from pictor.families.parts.files import require

if TYPE_CHECKING:
    from pictor.backends.base import Module, Part


def check_classes(file: Path, index: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> None:
    """Make sure that a model_index.json names classes that the family opens.

    Raises:
        ModelError: it names another; says which part.
    """
    for part, classes in known.items():
        if (kind := class_of(index, part)) not in classes:
            raise ModelError(
                f"{file} names the {part} {kind!r}", expected=" or ".join(classes), param="model"
            )


def class_of(index: Mapping[str, Any], part: str) -> str | None:
    """The class of a part in a model_index.json; None where there is no such part."""
    entry = index.get(part)
    kind = entry[1] if isinstance(entry, list) and len(entry) == 2 else None
    return kind if isinstance(kind, str) else None


def open_parts(folder: Path, parts: Iterable[Part], backend: str) -> tuple[str, str, dict[str, Module]]:
    """Name of the backend, type that it computes in, and the parts by name, not yet loaded.

    Args:
        folder: of the model.
        parts: what it is made of.
        backend: "onnx", "torch", or "auto": onnx where every part has its graph.

    Raises:
        ModelError: a graph is missing.
        InputError: the family has no graphs.
        MissingExtraError: torch is not installed.
    """
    known = {part.name: part for part in parts}
    graphs = {name: folder / part.subfolder / part.graph for name, part in known.items() if part.graph}
    if backend == "onnx" and len(graphs) < len(known):
        raise InputError("this kind of model has no ONNX graphs", expected="torch", param="backend")
    complete = len(graphs) == len(known) and all(graph.is_file() for graph in graphs.values())
    if backend == "onnx" or (backend == "auto" and complete):
        from pictor.backends.onnx import OnnxModule

        return "onnx", "float32", {name: OnnxModule(require(graph)) for name, graph in graphs.items()}
    from pictor.backends.torch import TorchModule, find_device

    dtype = "float32" if find_device("auto").type == "cpu" else "float16"
    return "torch", dtype, {name: TorchModule(folder, part) for name, part in known.items()}


class Background:
    """Loads parts in threads of their own: the first picture needs them one after the other."""

    def __init__(self, loads: Sequence[Callable[[], None]]) -> None:
        self._loads = loads
        self._started = False

    def __call__(self) -> None:
        if not self._started:
            self._started = True
            for load in self._loads:
                threading.Thread(target=_quietly, args=(load,)).start()


def _quietly(load: Callable[[], None]) -> None:
    # Whoever runs the part meets the same error where it can be reported.
    with suppress(Exception):
        load()
