"""Where each tensor lies in a safetensors file.

The format is a length (8 bytes, little-endian), a JSON header of that length, and the data; the header names
each tensor's type, shape and range of bytes counted from the end of the header
(https://github.com/huggingface/safetensors). Only the header is read here.
"""

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pictor.core.errors import ModelError

ITEM_SIZES = {
    "F64": 8, "I64": 8, "U64": 8,
    "F32": 4, "I32": 4, "U32": 4,
    "F16": 2, "BF16": 2, "I16": 2, "U16": 2,
    "I8": 1, "U8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip
"""Bytes of one element."""

MAX_HEADER = 100_000_000
"""The limit that the format's own reader has, so that a damaged length asks for no memory."""

REMEDY = "Copy or download the model again."


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor: its safetensors type, its shape, and its bytes counted from the start of the file."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    length: int


def read_header(path: Path) -> dict[str, Entry]:
    """Read where the tensors of a safetensors file lie, and check that the file holds all of them.

    Args:
        path: the file; may be a symbolic link, as in the cache of the Hugging Face hub.

    Returns:
        The tensors by name, in the file's order.

    Raises:
        ModelError: the file is missing, is no safetensors file, or is cut short.
    """
    header, header_size, size = _header(path)
    begin = 8 + header_size
    entries = {
        name: _entry(path, name, item, begin) for name, item in header.items() if name != "__metadata__"
    }
    end = max((entry.offset + entry.length for entry in entries.values()), default=begin)
    if end != size:
        raise _damaged(path, f"it has {size} bytes where its header promises {end}")
    return entries


def read_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself besides its tensors.

    Raises:
        ModelError: as `read_header`.
    """
    told = _header(path)[0].get("__metadata__")
    return dict(told) if isinstance(told, dict) else {}


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, its length in bytes, and that of the file."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            header_size = int.from_bytes(start, "little") if len(start) == 8 else size
            if header_size > min(size - 8, MAX_HEADER):
                raise _damaged(path, f"it has {size} bytes, fewer than its header claims")
            header = json.loads(file.read(header_size))
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {error.strerror}", remedy=REMEDY) from error
    except (ValueError, RecursionError) as error:  # JSON and UTF-8 errors alike
        raise _damaged(path, "its header is not JSON") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a table")
    return header, header_size, size


def find_weights(folder: Path) -> list[Path]:
    """The safetensors files of a part's folder, not their `.fp16` twins where there are both.

    Returns:
        One file, or all of those that an index names.

    Raises:
        ModelError: there is none, or the index is damaged or names a file that is not there.
    """
    for stem in ("diffusion_pytorch_model", "model"):
        for variant in ("", ".fp16"):
            path = folder / f"{stem}{variant}.safetensors"
            if path.exists():
                return [path]
            index = folder / f"{stem}.safetensors.index{variant}.json"
            if index.exists():
                return _shards(index)
    raise ModelError(
        f"no weights in {folder}",
        expected="diffusion_pytorch_model.safetensors or model.safetensors",
        remedy="Pickled weights (.bin, .ckpt) are never loaded: convert them to safetensors.",
    )


def _shards(index: Path) -> list[Path]:
    """The files that an index of split weights names, each in the index's own folder."""
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        plain = all(Path(name).name == name for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{index} is damaged ({error!r})", expected="an index of weights") from None
    if not names or not plain:
        raise ModelError(f"{index} is damaged", expected="names of files beside it")
    files = [index.parent / name for name in names]
    if missing := [file.name for file in files if not file.exists()]:
        raise ModelError(
            f"{index.parent} lacks {len(missing)} of {len(files)} files of weights, {missing[0]} among them",
            expected="all that its index names",
            remedy=REMEDY,
        )
    return files


def _entry(path: Path, name: str, item: object, begin: int) -> Entry:
    try:
        dtype, shape, (first, last) = item["dtype"], tuple(item["shape"]), item["data_offsets"]  # type: ignore[index]
        wanted = prod(shape) * ITEM_SIZES[dtype]
        whole = all(type(number) is int for number in (first, last, *shape))
        sane = whole and first >= 0 and last - first == wanted and all(side >= 0 for side in shape)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"its entry for {name!r} is not understood") from error
    if not sane:
        raise _damaged(path, f"the size of {name!r} does not fit its shape")
    return Entry(dtype, shape, begin + first, wanted)


def _damaged(path: Path, why: str) -> ModelError:
    return ModelError(f"{path} is damaged: {why}", expected="a whole safetensors file", remedy=REMEDY)
