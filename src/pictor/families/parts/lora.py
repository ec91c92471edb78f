"""Low-rank adapters: small files that change a model's weights, W + scale * alpha / rank * up @ down.

LoRA (Hu et al. 2021, arXiv:2106.09685), in the layout of kohya's scripts (names joined by underscores) and in
those of diffusers and PEFT, with diffusers' names of layers or the original code's. Alpha stands beside the
matrices, or in the file's metadata as diffusers writes PEFT's configuration.

Legend of array shapes: O outputs, I inputs, R rank.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pictor.backends.weights import find_weights, read_header, read_metadata
from pictor.core.errors import ModelError
from pictor.core.notices import PictorWarning
from pictor.families.parts.files import read_json
from pictor.families.parts.flux_names import HALVES_SWAPPED, flux_names
from pictor.families.parts.ldm import original_name, unet_prefixes

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_WEIGHT = 100.0
METADATA = "lora_adapter_metadata"
"""Key of the file's metadata under which diffusers writes PEFT's configuration, by part."""

_DOWN = (
    ".lora_down.weight",
    ".lora.down.weight",
    ".lora_linear_layer.down.weight",
    ".lora_A.weight",
    ".lora_A.default.weight",
    "_lora.down.weight",
)
"""How the name of a matrix ends; its partner's ends likewise."""
_PARTNERS = {"down": "up", "lora_A": "lora_B"}
_PARTS = {
    "lora_unet": "unet",
    "lora_transformer": "transformer",
    "lora_te": "text_encoder",
    "lora_te1": "text_encoder",
    "lora_te2": "text_encoder_2",
    "lora_te3": "text_encoder_3",
    "unet": "unet",
    "diffusion_model": "unet",
    "transformer": "transformer",
    "text_encoder": "text_encoder",
    "text_encoder_2": "text_encoder_2",
    "text_encoder_3": "text_encoder_3",
}
"""How a name begins -> the part that it changes."""
_ELSE = {"unet": "transformer", "text_encoder_3": "text_encoder_2"}
"""Where there is no such part: every network that denoises is called a UNet, and T5 the third encoder."""


@dataclass(frozen=True, kw_only=True)
class Lora:
    """A wish: a file, and how strongly."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What one adapter does to one layer."""

    down: NDArray[np.float32]
    """[R, I], or of a convolution [R, I, h, w]."""
    up: NDArray[np.float32]
    """[O, R], or [O, R, 1, 1]."""
    scale: float
    """The user's weight times alpha / rank."""

    def full(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """The change of the layer's weight, of its shape."""
        product = self.up.reshape(len(self.up), -1) @ self.down.reshape(len(self.down), -1)
        change: NDArray[np.float32] = (np.float32(self.scale) * product).reshape(tuple(shape))
        return change


Deltas = dict[str, dict[str, list[Delta]]]
"""Part -> layer (as its file names it) -> what is added to it."""


class Piece(NamedTuple):
    """A layer, or the one of several that together are what an adapter calls a layer."""

    layer: str
    """As the model's file names it."""
    shape: tuple[int, ...]
    halves_swapped: bool = False
    """Whether the adapter has the second half of the outputs first."""


Layers = Mapping[str, tuple[Piece, ...]]
"""What an adapter may call a layer, joined by underscores -> its pieces, in the order of the outputs."""


def read_loras(folder: Path, parts: Sequence[str], loras: Sequence[Lora]) -> tuple[Deltas, dict[str, str]]:
    """Read adapters and match them with a model's layers, by the headers of its files alone.

    Args:
        folder: of the model.
        parts: its subfolders with networks that adapters may change.
        loras: in the order in which they are applied.

    Returns:
        What changes, and the adapters for a recipe: "NAME@WEIGHT" -> SHA-256 of the file.

    Raises:
        ModelError: a file is missing or damaged, or fits no layer of this model.
    """
    deltas: Deltas = {part: {} for part in parts}
    facts: dict[str, str] = {}
    known = {part: _layers(folder, part) for part in parts} if loras else {}
    for lora in loras:
        if not (isinstance(lora.weight, int | float) and abs(lora.weight) <= MAX_WEIGHT):
            raise ModelError(
                f"the weight of {lora.path} is {lora.weight!r}",
                expected=f"a number from {-MAX_WEIGHT:g} to {MAX_WEIGHT:g}",
                param="lora",
            )
        matched, missed = _match(lora, known)
        if not matched:
            raise ModelError(
                f"{lora.path} fits no layer of {folder.name}: it is for another kind of model",
                expected="an adapter for this family and size",
                param="lora",
            )
        if missed:
            warnings.warn(
                f"{len(missed)} of {len(missed) + len(matched)} layers in {lora.path} fit none of"
                f" {folder.name} and are left away, {missed[0]!r} among them",
                PictorWarning,
                stacklevel=2,
            )
        for part, layer, delta in (change for changes in matched.values() for change in changes):
            deltas[part].setdefault(layer, []).append(delta)
        facts[f"{lora.path.name}@{lora.weight:g}"] = sha256(lora.path.read_bytes()).hexdigest()
    return deltas, facts


def _match(
    lora: Lora, known: Mapping[str, Layers]
) -> tuple[dict[str, list[tuple[str, str, Delta]]], list[str]]:
    """What fits, with part, layer and change by its name in the file, and the names of what does not."""
    tensors = read_tensors(lora.path, "lora")
    told = _Told(lora.path)
    matched: dict[str, list[tuple[str, str, Delta]]] = {}
    missed = []
    used: set[str] = set()
    for name in tensors:
        ending = next((ending for ending in _DOWN if name.endswith(ending)), None)
        if ending is None:
            continue
        stem = name.removesuffix(ending)
        partner = stem + _partner(ending)
        used |= {name, partner, f"{stem}.alpha", f"{stem}.lora.alpha"}
        begin, joined = _joined(stem)
        part = _PARTS.get(begin, "")
        part = part if part in known else _ELSE.get(part, "")
        pieces = known.get(part, {}).get(joined, ())
        down, up = tensors[name], tensors.get(partner)
        if not pieces or up is None or not _fits(down, up, pieces):
            missed.append(stem)
            continue
        if (rank := len(down)) == 0:
            raise ModelError(
                f"{name} in {lora.path} has no rows", expected="a rank of 1 or more", param="lora"
            )
        keys = (key for key in (f"{stem}.alpha", f"{stem}.lora.alpha") if key in tensors)
        alpha = next((_alpha(lora.path, key, tensors[key]) for key in keys), None)
        scale = lora.weight * (told.scale(stem, rank) if alpha is None else alpha / rank)
        matched[stem] = [
            (part, piece.layer, Delta(down=down, up=rows, scale=scale))
            for piece, rows in zip(pieces, _divided(up, pieces), strict=True)
        ]
    missed += [name for name in tensors if name not in used]
    return matched, missed


def _alpha(path: Path, name: str, tensor: NDArray[np.float32]) -> float:
    """The number that a tensor of any shape holds."""
    if tensor.size != 1 or not np.isfinite(tensor).all():
        raise ModelError(
            f"{name} in {path} is {tensor.ravel()[:3].tolist()} of shape {tensor.shape}",
            expected="one finite number",
            param="lora",
        )
    return float(tensor.item())


class _Told:
    """PEFT's configuration in a file's metadata, where it has one; rank and alpha are one without.

    Raises:
        ModelError: it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._table: dict[str, Any] = dict(json.loads(read_metadata(path).get(METADATA, "{}")))
        except (TypeError, ValueError, RecursionError) as error:
            raise self._damaged(error) from None

    def scale(self, stem: str, rank: int) -> float:
        """What the product of the two matrices of this layer is multiplied with."""
        part, _, layer = stem.partition(".")
        try:
            patterns = self._table.get(f"{part}.alpha_pattern") or {}
            # A pattern is the end of a layer's name, as PEFT matches it.
            ends = (value for key, value in patterns.items() if f".{layer}".endswith(f".{key}"))
            alpha = next(ends, self._table.get(f"{part}.lora_alpha"))
            divisor = math.sqrt(rank) if self._table.get(f"{part}.use_rslora") else rank
            scale = 1.0 if alpha is None else float(alpha) / divisor
        except (TypeError, ValueError, AttributeError) as error:
            raise self._damaged(error) from None
        if not math.isfinite(scale):
            raise self._damaged(f"alpha is {alpha}")
        return scale

    def _damaged(self, why: object) -> ModelError:
        return ModelError(
            f"the metadata of {self._path} are damaged ({why})",
            expected="PEFT's configuration as JSON",
            param="lora",
        )


def read_tensors(path: Path, param: str) -> dict[str, NDArray[np.float32]]:
    """Every tensor of a small safetensors file in float32.

    Args:
        path: the file.
        param: what the user calls it.

    Raises:
        ModelError: it is missing, damaged, or of another format.
    """
    if path.suffix != ".safetensors":
        raise ModelError(
            f"{path} is no .safetensors file",
            expected="an adapter as safetensors",
            remedy="Pickled files are never loaded: convert it first (pictor models convert).",
            param=param,
        )
    entries = read_header(path)
    data = np.memmap(path, np.uint8, mode="r")
    tensors = {}
    for name, entry in entries.items():
        raw = np.array(data[entry.offset : entry.offset + entry.length])
        if entry.dtype == "BF16":
            values = (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif entry.dtype in ("F16", "F32", "F64"):
            values = raw.view({"F16": np.float16, "F32": np.float32, "F64": np.float64}[entry.dtype])
        else:
            continue
        tensors[name] = values.astype(np.float32).reshape(entry.shape)
    return tensors


def _partner(ending: str) -> str:
    for down, up in _PARTNERS.items():
        ending = ending.replace(down, up)
    return ending


def _joined(stem: str) -> tuple[str, str]:
    """How the name begins, and the layer joined by underscores."""
    if stem.startswith("lora_"):
        begin = next((b for b in sorted(_PARTS, key=len, reverse=True) if stem.startswith(f"{b}_")), "")
        return begin, stem[len(begin) + 1 :]
    begin, _, layer = stem.partition(".")
    # diffusers first kept adapters beside the attention's own layers, whose last is the first of a list.
    if ".processor." in layer:
        layer = layer.replace(".processor.", ".") + ".0" * layer.endswith("to_out")
    return begin, _without_prefix(layer).replace(".", "_")


def _layers(folder: Path, part: str) -> Layers:
    """Every layer of a part by all its names."""
    place = folder / part
    config = read_json(place / "config.json")
    stored = {
        name.removesuffix(".weight"): entry.shape
        for file in find_weights(place)
        for name, entry in read_header(file).items()
        if name.endswith(".weight") and len(entry.shape) >= 2
    }
    prefixes = unet_prefixes(config) if part == "unet" else {}
    layers: dict[str, tuple[Piece, ...]] = {}
    for layer, shape in stored.items():
        original = original_name(layer, prefixes)
        for called in {layer, _without_prefix(layer), f"text_model.{_without_prefix(layer)}", original}:
            if called:
                layers[called.replace(".", "_")] = (Piece(layer, shape),)
    if config.get("_class_name") == "FluxTransformer2DModel":
        for called, pieces in flux_names(stored).items():
            swapped = called in HALVES_SWAPPED
            layers[called.replace(".", "_")] = tuple(Piece(one, stored[one], swapped) for one in pieces)
    return layers


def _without_prefix(layer: str) -> str:
    return layer.removeprefix("text_model.")


def _fits(down: NDArray[Any], up: NDArray[Any], pieces: Sequence[Piece]) -> bool:
    return (
        down.ndim >= 2
        and up.ndim >= 2
        and up.shape[1] == len(down)
        and len(up) == sum(piece.shape[0] for piece in pieces)
        and all(math.prod(down.shape[1:]) == math.prod(piece.shape[1:]) for piece in pieces)
    )


def _divided(up: NDArray[np.float32], pieces: Sequence[Piece]) -> list[NDArray[np.float32]]:
    """The rows of each piece, in the model's order."""
    ends = np.cumsum([piece.shape[0] for piece in pieces])
    return [
        np.roll(rows, len(rows) // 2, axis=0) if piece.halves_swapped else rows
        for piece, rows in zip(pieces, np.split(up, ends[:-1]), strict=True)
    ]


def add_deltas(network: Any, deltas: Mapping[str, Sequence[Delta]]) -> None:
    """Add the changes to the weights of a torch network; see `pictor.backends.torch.TorchModule`."""
    modules = dict(network.named_modules())
    for layer, changes in deltas.items():
        module = modules.get(layer) or modules[_without_prefix(layer)]
        weight = module.weight.data
        for change in changes:
            weight += weight.new_tensor(change.full(weight.shape))
