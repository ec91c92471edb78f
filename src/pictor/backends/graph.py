"""Checks an ONNX graph's references to its weights before the runtime is asked to follow them.

ONNX files are protocol buffers. What is needed of them is little (which initializers lie in another file, and
where), and the base installation has no `onnx`, so the wire format is read here
(https://protobuf.dev/programming-guides/encoding/). Field numbers are those of onnx.proto.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pictor.backends.weights import REMEDY, Entry, read_header
from pictor.core.errors import ModelError

ITEM_TYPES = {1: "F32", 10: "F16", 16: "BF16", 7: "I64", 6: "I32", 9: "BOOL"}
"""TensorProto.DataType -> safetensors type, of the types that weights have."""

MODEL_GRAPH = 7
GRAPH_INITIALIZER = 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 2, 8, 13, 14
ENTRY_KEY, ENTRY_VALUE = 1, 2


@dataclass(frozen=True, slots=True)
class External:
    """An initializer whose bytes lie in another file."""

    name: str
    location: str
    entry: Entry


def check_graph(path: Path) -> list[External]:
    """Check that a graph's weights are where it says, in the folder that it lies in.

    Args:
        path: the ONNX file.

    Returns:
        Its external initializers, in the graph's order.

    Raises:
        ModelError: the graph is missing or damaged, reads from elsewhere, or does not fit the weights
            beside it.
    """
    try:
        data = memoryview(path.read_bytes())
    except OSError as error:
        raise ModelError(f"cannot read the graph {path}: {error.strerror}", remedy=REMEDY) from error
    try:
        tensors = list(_externals(data))
    except (ValueError, IndexError) as error:
        raise ModelError(f"{path} is damaged: {error}", expected="an ONNX graph", remedy=REMEDY) from error
    headers: dict[str, dict[str, Entry]] = {}
    for tensor in tensors:
        # A plain name cannot leave the folder. Links are the user's own; the runtime checks where they lead.
        if tensor.location in ("", ".", "..") or any(sign in tensor.location for sign in "/\\:"):
            raise ModelError(
                f"{path} reads its weights from {tensor.location!r}",
                expected="a file in the same folder",
                remedy="Do not use this model: its graph points out of its own folder.",
            )
        if tensor.location not in headers:
            headers[tensor.location] = read_header(path.parent / tensor.location)
        if headers[tensor.location].get(tensor.name) != tensor.entry:
            raise ModelError(
                f"{path} does not fit {tensor.location}: {tensor.name!r} is not as the graph expects it",
                expected="the weights that the graph was exported with",
                remedy="Export the graphs again, or copy the whole model folder again.",
            )
    return tensors


def _externals(data: memoryview) -> Iterator[External]:
    found = False
    for field, value in _fields(data):
        if field == MODEL_GRAPH and isinstance(value, memoryview):
            found = True
            yield from _graph_externals(value)
        else:
            _no_hidden_reference(value)
    if not found:
        raise ValueError("it holds no graph")


def _graph_externals(data: memoryview) -> Iterator[External]:
    for field, value in _fields(data):
        if field == GRAPH_INITIALIZER and isinstance(value, memoryview):
            tensor = _external(value)
            if tensor is not None:
                yield tensor
        else:
            _no_hidden_reference(value)


def _no_hidden_reference(value: int | memoryview) -> None:
    # Tensors also occur as attributes of nodes, in functions and in sparse initializers. Our graphs keep only
    # small constants there; `location` is the key that a reference to another file cannot do without.
    if isinstance(value, memoryview) and b"location" in bytes(value):
        raise ValueError("it refers to another file outside its list of weights")


def _external(data: memoryview) -> External | None:
    shape: list[int] = []
    name, item_type, is_external, places = "", 0, False, {}
    for field, value in _fields(data):
        if isinstance(value, int):
            if field == TENSOR_DIMS:
                shape.append(value)
            elif field == TENSOR_TYPE:
                item_type = value
            elif field == TENSOR_LOCATION:
                is_external = value == 1
        elif field == TENSOR_DIMS:
            shape.extend(_packed(value))
        elif field == TENSOR_NAME:
            name = _text(value)
        elif field == TENSOR_EXTERNAL:
            pair = dict(_fields(value))
            places[_text(pair.get(ENTRY_KEY, b""))] = _text(pair.get(ENTRY_VALUE, b""))
    if not is_external and not places:
        return None
    if item_type not in ITEM_TYPES:
        raise ValueError(f"the weight {name!r} has the unknown type {item_type}")
    entry = Entry(
        ITEM_TYPES[item_type], tuple(shape), int(places.get("offset", 0)), int(places.get("length", -1))
    )
    return External(name, places.get("location", ""), entry)


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of one message: number and value, where nested messages and texts are bytes."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield field, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("it is not a protocol buffer")
        if at + size > end:
            raise ValueError("it is cut short")
        yield field, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("it is cut short")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("it is not a protocol buffer")


def _packed(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _varint(data, at)
        yield value


def _text(data: int | memoryview | bytes) -> str:
    if isinstance(data, int):
        raise ValueError("a text is a number")
    return bytes(data).decode()
