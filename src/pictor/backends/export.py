"""Writes the ONNX graphs of a diffusers folder beside its weights, without a second copy of them.

Each graph's parameters are external data: a file name, an offset and a length. They point into the
safetensors files that diffusers and transformers read, and each half-precision parameter is followed by one
Cast to float32, which ONNX Runtime carries out while it loads. A graph holds no weights itself, so these may
be as large as they like.
"""

import contextlib
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, Array, Part, first_line
from pictor.backends.graph import check_graph
from pictor.backends.torch import load_network, require_torch
from pictor.backends.weights import ITEM_SIZES, Entry, find_weights, read_header
from pictor.core.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    import onnx_ir as ir
    import torch

OPSET = 18
"""Old enough for every ONNX Runtime that the base installation allows, and all that these networks need."""

ONNX_TYPES = {"F16": "FLOAT16", "BF16": "BFLOAT16", "F32": "FLOAT", "I64": "INT64"}
"""safetensors type -> ONNX type, of the parameters that can be linked."""

HALVES = ("F16", "BF16")
NUMPY_TYPES = {"F16": np.float16, "F32": np.float32, "I64": np.int64}

MAX_INLINE = 65_536
"""Bytes of the largest constant that may lie in a graph: more would be a parameter in disguise."""


@dataclass(frozen=True)
class Graph:
    """A traced network, and its parameters by name in the network: the graph's value and its numbers."""

    model: "ir.Model"
    parameters: dict[str, tuple["ir.Value", Array]]


Stored = Mapping[str, tuple[Path, Entry]]
"""Tensors of a part by name: the file that each lies in, and where."""


def export_folder(folder: Path, parts: Iterable[Part] = tuple(PARTS.values())) -> list[Path]:
    """Write the graphs of the parts of a diffusers folder, replacing those that are there.

    The same weights give the same bytes.

    Args:
        folder: a diffusers folder, whose weights are safetensors in float16, bfloat16 or float32, each part's
            in one file or in several.
        parts: those that have graphs; else the ones of Stable Diffusion.

    Returns:
        The files written.

    Raises:
        ModelError: a part is missing, damaged or of another kind, or its file lacks a parameter.
        MissingExtraError: torch or onnx are not installed.
    """
    return [export_part(folder, part) for part in parts]


def export_part(folder: Path, part: str | Part) -> Path:
    """Write the graph of one part, a key of `PARTS` or another; see `export_folder`."""
    require_torch("exporting a model")
    try:
        import onnx  # noqa: F401 - the exporter imports it much later, with a message of its own
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("exporting a model") from error
    part = PARTS[part] if isinstance(part, str) else part
    place = folder / part.subfolder
    stored = {key: (file, entry) for file in find_weights(place) for key, entry in read_header(file).items()}
    for key, (file, entry) in stored.items():
        if entry.offset % ITEM_SIZES[entry.dtype]:  # the runtime computes with the mapped file itself
            raise ModelError(
                f"{key!r} in {file} begins at byte {entry.offset}",
                expected=f"a multiple of {ITEM_SIZES[entry.dtype]}",
                remedy="Save the file again with the safetensors library.",
            )
    network = load_network(folder, part)
    try:
        with quiet():
            graph = _trace(network, part)
    except Exception as error:  # the exporter raises whatever it meets
        raise ModelError(f"cannot trace the network in {place}: {first_line(error)}") from error
    link(graph, place, stored)
    path = place / part.graph
    write_graph(graph, path)
    check_graph(path)
    return path


def _trace(network: "torch.nn.Module", part: Part) -> "Graph":
    """Turn a network into a graph whose parameters are inputs, so that no optimisation can change them."""
    import torch
    from onnxscript import optimizer

    class Called(torch.nn.Module):
        """The network, called by position as the exporter wants it."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return tuple(part.call(self.network, dict(zip(inputs, tensors, strict=True))).values())

    inputs, dynamic = _examples(network, part)
    with torch.no_grad():
        outputs = list(part.call(network, inputs))
        program = torch.onnx.export(
            Called().eval(),
            tuple(inputs.values()),
            dynamo=True,
            optimize=False,  # it would fold and transpose parameters, which must stay as the file has them
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_shapes=(tuple(dynamic.values()),),
            verbose=False,
        )
    if program is None:
        raise AssertionError("the exporter that is based on torch.export returns its program")
    model = program.model
    persistent = {f"network.{key}" for key in network.state_dict()}
    parameters = {}
    for key, value in list(model.graph.initializers.items()):
        if key in persistent:
            parameters[key.removeprefix("network.")] = (value, np.asarray(value.const_value))
            model.graph.initializers.pop(key)
            value.const_value = None
            model.graph.inputs.append(value)
    optimizer.optimize(model)
    del model.graph.inputs[len(inputs) :]
    return Graph(model, parameters)


def _examples(network: Any, part: Part) -> tuple[dict[str, "torch.Tensor"], dict[str, dict[int, Any]]]:
    """Inputs to trace a part with, and which of their axes may have any size.

    Parts are text encoders, which take `input_ids`, or one of the four that take planes, by their names.
    """
    import torch

    if hasattr(network, "examples"):
        own: tuple[dict[str, torch.Tensor], dict[str, dict[int, Any]]] = network.examples(part)
        return own
    dim = torch.export.Dim
    # Two layers of diffusers branch at 64 rows. Both branches compute the same: the graph takes any number.
    batch, config = dim("batch", max=63), network.config
    if "input_ids" in part.inputs:
        tokens = dim("tokens", max=config.max_position_embeddings)
        ids = torch.arange(14).reshape(2, 7) % config.vocab_size
        return {"input_ids": ids}, {"input_ids": {0: batch, 1: tokens}}
    if part.name == "image_encoder":
        side = config.image_size  # each place of its own embedding, so no other
        return {"image": torch.zeros(2, 3, side, side)}, {"image": {0: batch}}
    if part.name == "enlarger":
        return {"image": torch.zeros(2, 3, 5, 7)}, {"image": {0: batch, 2: dim("rows"), 3: dim("columns")}}
    # The sides must be multiples of what the network halves them by. They differ, and none is that number
    # itself, so that the exporter takes neither for a constant.
    levels = getattr(config, "encoder_block_out_channels", None) or config.block_out_channels
    step = 1 if part.name == "decoder" else 2 ** (len(levels) - 1)
    rows, columns = (step * dim(side) if step > 1 else dim(side) for side in ("rows", "columns"))
    channels = {"unet": "in_channels", "decoder": "latent_channels", "encoder": "in_channels"}[part.name]
    picture = torch.zeros(2, getattr(config, channels), 3 * step, 5 * step)
    first = next(iter(part.inputs))
    tensors, dynamic = {first: picture}, {first: {0: batch, 2: rows, 3: columns}}
    if part.name == "unet":
        tensors["timestep"] = torch.tensor([10.0, 500.0])
        dynamic |= {"timestep": {0: batch}}
    if "encoder_hidden_states" in part.inputs:
        tensors["encoder_hidden_states"] = torch.zeros(2, 7, config.cross_attention_dim)
        dynamic |= {"encoder_hidden_states": {0: batch, 1: dim("tokens")}}
    if "time_ids" in part.inputs:
        told = int(part.inputs["time_ids"][1:])
        width = config.projection_class_embeddings_input_dim - told * config.addition_time_embed_dim
        tensors |= {"text_embeds": torch.zeros(2, width), "time_ids": torch.zeros(2, told)}
        dynamic |= {"text_embeds": {0: batch}, "time_ids": {0: batch}}
    return tensors, dynamic


def link(graph: "Graph", place: Path, stored: Stored) -> None:
    """Give the parameters their bytes in the safetensors files, each checked against the network's own."""
    import onnx_ir as ir

    data = {file: np.memmap(file, np.uint8, mode="r") for file, _ in stored.values()}
    linked: dict[str, ir.Value] = {}
    casts = []
    for name, (value, array) in graph.parameters.items():
        if not value.uses():
            continue
        key = _find(name, array, stored, data, place)
        file, entry = stored[key]
        if key not in linked:
            tensor = ir.ExternalTensor(
                file.name,
                entry.offset,
                entry.length,
                ir.DataType[ONNX_TYPES[entry.dtype]],
                shape=ir.Shape(entry.shape),
                name=key,
                base_dir=place,
            )
            linked[key] = ir.Value(
                name=key, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
            )
            graph.model.graph.register_initializer(linked[key])
        if entry.dtype in HALVES:
            value.name = f"{name}.float"
            casts.append(ir.node("Cast", [linked[key]], {"to": ir.DataType.FLOAT}, outputs=[value]))
        else:
            value.replace_all_uses_with(linked[key])
    graph.model.graph.insert_before(graph.model.graph[0], casts)
    for name, value in graph.model.graph.initializers.items():
        if name not in linked and np.asarray(value.const_value).nbytes > MAX_INLINE:
            raise ModelError(f"the graph holds the constant {name!r}, which {place} does not have")


def _find(name: str, array: Array, stored: Stored, data: Mapping[Path, Array], place: Path) -> str:
    """The stored tensor that a parameter is: by name, else by what it holds.

    transformers renames what it loads, and safetensors keeps one name of those that share a tensor.
    """
    same_name = [key for key in stored if key == name or key.endswith(f".{name}")]
    for key in [*same_name, *stored]:
        file, entry = stored[key]
        if (
            entry.shape == array.shape
            and entry.dtype in ONNX_TYPES
            and np.array_equal(_read(entry, data[file]), array)
        ):
            return key
    raise ModelError(f"{place} does not hold the parameter {name!r} with the shape {list(array.shape)}")


def _read(entry: Entry, data: Array) -> Array:
    raw = np.array(data[entry.offset : entry.offset + entry.length])
    if entry.dtype == "BF16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(entry.shape)
    return raw.view(NUMPY_TYPES[entry.dtype]).reshape(entry.shape)


def write_graph(graph: "Graph", path: Path) -> None:
    import onnx_ir as ir

    proto = ir.to_proto(graph.model)
    # What the exporter knows of the source code is twenty times as long as the graph.
    for message in (proto, proto.graph, *proto.graph.node, *proto.graph.initializer):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    for value in (*proto.graph.input, *proto.graph.output):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    for node in proto.graph.node:
        node.ClearField("name")
    proto.graph.ClearField("value_info")
    proto.graph.name = path.stem
    proto.producer_name = "pictor"
    proto.ClearField("producer_version")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(proto.SerializeToString(deterministic=True))
    temporary.replace(path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's remarks, which are on its own means and on libraries that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
