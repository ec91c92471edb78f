"""Opening a folder's parts: which classes they are, which runtime runs them, and loading ahead."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pictor.backends.seat import Seat
from pictor.backends.weights import find_weights
from pictor.core.errors import InputError, MissingExtraError, ModelError
from pictor.families.parts.control import controlled
from pictor.families.parts.embeddings import read_embeddings
from pictor.families.parts.files import read_json, require
from pictor.families.parts.likeness import PictureEncoder, open_likeness
from pictor.families.parts.lora import add_deltas, read_loras

if TYPE_CHECKING:
    from pictor.backends.base import Module, Part
    from pictor.families.bundle import Opening


_GPU_SIGNS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg", r"C:\Windows\System32\nvcuda.dll")
"""Of drivers of NVIDIA and AMD on Linux, of Windows' subsystem for Linux, and of NVIDIA on Windows."""
_LARGE = 500_000_000
"""Bytes of weights; asking for a GPU takes seconds, which a smaller model would rather compute in."""


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


class Opened(NamedTuple):
    """A folder's parts."""

    backend: str
    dtype: str
    """What it computes in."""
    parts: dict[str, Module]
    """By name, not yet loaded."""
    adapters: dict[str, str]
    """For the recipe."""
    learnt: dict[str, dict[str, list[int]]]
    """Text encoder -> learnt words and their tokens."""
    encode_likeness: PictureEncoder | None = None


def open_parts(folder: Path, parts: Iterable[Part], how: Opening) -> Opened:
    """The parts of a folder on the runtime that is asked for, with what changes them.

    Args:
        folder: of the model.
        parts: what it is made of.
        how: the user's wishes.

    Raises:
        ModelError: a graph is missing, or an adapter fits nothing.
        InputError: the backend or the family cannot do what is asked for.
        MissingExtraError: torch is not installed.
    """
    known = {part.name: part for part in parts}
    graphs = {name: folder / part.subfolder / part.graph for name, part in known.items() if part.graph}
    if how.backend == "onnx" and len(graphs) < len(known):
        raise InputError("this kind of model has no ONNX graphs", expected="torch", param="backend")
    if how.backend == "onnx" and how.needs_torch:
        raise InputError(
            "ONNX graphs run on the CPU in float32, without adapters", expected="torch", param="backend"
        )
    complete = len(graphs) == len(known) and all(graph.is_file() for graph in graphs.values())
    wants_torch = not complete or how.needs_torch
    if how.backend == "onnx" or (how.backend == "auto" and not wants_torch and not _gpu_pays(folder, known)):
        from pictor.backends.onnx import OnnxModule

        modules: dict[str, Module] = {name: OnnxModule(require(graph)) for name, graph in graphs.items()}
        return Opened("onnx", "float32", modules, {}, {})
    from pictor.backends.torch import TorchModule, chosen_dtype, find_device

    patches: dict[str, list[Callable[[Any], None]]] = {name: [] for name in known}
    # Learnt words first: adapters change layers, and not the table of words.
    learnt, adapters = _learn(folder, known, how, patches)
    changed = [part.subfolder for part in known.values() if part.subfolder != "vae"]
    deltas, facts = read_loras(folder, changed, how.loras)
    for name, part in known.items():
        if layers := deltas.get(part.subfolder):
            patches[name].append(partial(add_deltas, deltas=layers))
    adapters |= facts
    if how.controlnet is not None:
        if "unet" not in known:
            raise InputError(
                "this kind of model has no control networks", expected="one with a UNet", param="controlnet"
            )
        width = int(read_json(folder / "unet" / "config.json").get("cross_attention_dim", 0))
        known["unet"], put, facts = controlled(known["unet"], how.controlnet, width)
        patches["unet"].append(put)
        adapters |= facts
    likeness = None
    if how.likeness is not None:
        if "unet" not in known:
            raise InputError(
                "this kind of model has no picture adapters", expected="one with a UNet", param="ip_adapter"
            )
        width = int(read_json(folder / "unet" / "config.json").get("cross_attention_dim", 0))
        likeness = open_likeness(known["unet"], width, how.likeness)
        known["unet"] = likeness.unet
        patches["unet"].append(likeness.put)
        adapters |= likeness.facts
    seat = None
    if how.offload:
        if find_device(how.device).type == "cpu":
            raise InputError("there is nothing to offload from", expected="a GPU", param="offload")
        seat = Seat()
    modules = {
        name: TorchModule(folder, part, device=how.device, dtype=how.dtype, patches=patches[name], seat=seat)
        for name, part in known.items()
    }
    look = None
    if likeness is not None:
        eye = TorchModule(likeness.folder, likeness.encoder, device=how.device, dtype=how.dtype, seat=seat)
        look = PictureEncoder(eye, likeness.side, empty_of_black=likeness.empty_of_black)
    return Opened("torch", chosen_dtype(how.device, how.dtype), modules, adapters, learnt, look)


def _gpu_pays(folder: Path, parts: Mapping[str, Part]) -> bool:
    """Whether the model is large and a GPU is there for it: then graphs on the CPU are the slower way."""
    places = {folder / part.subfolder for part in parts.values()}
    if sum(file.stat().st_size for place in places for file in find_weights(place)) < _LARGE:
        return False
    if not any(os.path.exists(sign) for sign in _GPU_SIGNS):
        return False  # without the seconds that importing torch takes to say so
    from pictor.backends.torch import find_device

    try:
        return find_device("auto").type != "cpu"
    except MissingExtraError:
        return False


def _learn(
    folder: Path,
    known: Mapping[str, Part],
    how: Opening,
    patches: Mapping[str, list[Callable[[Any], None]]],
) -> tuple[dict[str, dict[str, list[int]]], dict[str, str]]:
    """Read learnt words, and let the text encoders have them."""
    if not how.embeddings:
        return {}, {}
    if "unet" not in known:
        raise InputError(
            "this kind of model learns no words", expected="one with a UNet and CLIP", param="embedding"
        )
    encoders = [name for name in known if name.startswith("text_encoder")]
    configs = {name: read_json(folder / name / "config.json") for name in encoders}
    words, facts = read_embeddings(how.embeddings, configs)
    for name in encoders:
        patches[name].append(words[name].extend)
    return {name: learnt.ids for name, learnt in words.items()}, facts


def abilities(how: Opening, *, sees_mask: bool) -> frozenset[str]:
    """What a model with a UNet can do; see `pictor.core.plan.ABILITIES`."""
    usual = {"text", "encode"} if sees_mask else {"text", "whole", "encode"}
    further = {"control": how.controlnet, "like": how.likeness}
    return frozenset(usual | {ability for ability, wish in further.items() if wish is not None})


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
