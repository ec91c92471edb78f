"""The network that tells what a picture shows, and the folder that it is kept in.

It shares nothing with the networks that make pictures: plain strided residual convolutions with batch
normalisation, no attention between positions, no words. One feature map is read three times: as a whole, and
by two readers that learn where to look for the first and the second object in reading order.

Legend of shape suffixes: B pictures, C channels, H, W rows and columns, K readers, P positions, D features.
"""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pictor.backends.export import OPSET, Graph, link, quiet, write_graph
from pictor.backends.graph import check_graph
from pictor.backends.weights import read_header
from pictor.core.errors import MissingExtraError

WHOLE = ("layout", "place", "night", "style")
"""Attributes that are read from the whole picture."""
EACH = ("thing", "colour")
"""Attributes that are read from each of the two objects, by one reader for both: thing1, thing2, ..."""


class ConvNorm(nn.Module):
    """3x3 convolution and batch normalisation, which become one convolution when training is over."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(after)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.norm(self.conv(x_BCHW))
        return out

    def fuse(self) -> None:
        """Fold the normalisation into the convolution."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class Residual(nn.Module):
    """Two convolutions beside an identity (He et al. 2016, arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return F.relu(x_BCHW + self.second(F.relu(self.first(x_BCHW))))


class JudgeNetwork(nn.Module):
    """Picture to logits and one feature vector.

    Args:
        classes: for each of `WHOLE` and `EACH`, how many it can be.
        size: side of the pictures in pixels.
        stages: for each its channels, the stride of its first convolution, and its residual blocks. The last
            one's channels are the number of features.
    """

    def __init__(self, classes: dict[str, int], size: int, stages: Sequence[tuple[int, int, int]]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before, side = 3, size
        for width, stride, blocks in stages:
            layers += [ConvNorm(before, width, stride), nn.ReLU(), *(Residual(width) for _ in range(blocks))]
            before, side = width, -(-side // stride)
        self.trunk = nn.Sequential(*layers)
        self.look = nn.Conv2d(before, 2, 1)
        # Where each object tends to be: the map alone does not know left from right.
        self.where = nn.Parameter(torch.zeros(2, side * side))
        self.heads = nn.ModuleDict({name: nn.Linear(before, classes[name]) for name in (*WHOLE, *EACH)})

    def forward(self, image_BCHW: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits by name (those of `EACH` with 1 and 2 behind it), [B, classes], and `feature`, [B, D].

        Args:
            image_BCHW: pictures in [-1, 1].
        """
        map_BCP = self.trunk(image_BCHW)
        attention_BKP = (self.look(map_BCP).flatten(2) + self.where).softmax(-1)
        map_BCP = map_BCP.flatten(2)
        feature_BD = map_BCP.mean(-1)
        objects_BKD = attention_BKP @ map_BCP.transpose(1, 2)
        out = {name: self.heads[name](feature_BD) for name in WHOLE}
        for name in EACH:
            for number in (1, 2):
                out[f"{name}{number}"] = self.heads[name](objects_BKD[:, number - 1])
        out["feature"] = feature_BD
        return out


def save_judge(network: JudgeNetwork, config: dict[str, Any], folder: Path) -> None:
    """Write config.json, model.safetensors (float16, normalisation folded in) and judge.onnx, which reads it.

    Raises:
        MissingExtraError: the exporter is not installed.
        ModelError: the network cannot be traced.
    """
    fused = copy.deepcopy(network).eval().float()
    for part in fused.modules():
        if isinstance(part, ConvNorm):
            part.fuse()
    fused.half().float()  # the graph is linked to the numbers that the file holds
    (folder / "config.json").write_text(
        json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    weights = folder / "model.safetensors"
    save_file({name: t.half().contiguous() for name, t in fused.state_dict().items()}, weights)
    graph = _trace(fused, int(config["size"]))
    link(graph, folder, {name: (weights, entry) for name, entry in read_header(weights).items()})
    path = folder / "judge.onnx"
    write_graph(graph, path)
    check_graph(path)


def _trace(network: JudgeNetwork, size: int) -> Graph:
    try:
        import onnx  # noqa: F401 - the exporter imports it much later, with a message of its own
        from onnxscript import optimizer
    except ImportError as error:
        raise MissingExtraError("exporting the judge") from error
    import numpy as np

    example = torch.zeros(2, 3, size, size)
    with torch.no_grad(), quiet(), warnings.catch_warnings():
        names = list(network(example))
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            optimize=False,  # it would fold parameters, which must stay as the file has them
            opset_version=OPSET,
            input_names=["image"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch", max=4096)},),
            verbose=False,
        )
    if program is None:
        raise AssertionError("the exporter that is based on torch.export returns its program")
    model = program.model
    stored = network.state_dict()
    parameters = {}
    for key, value in list(model.graph.initializers.items()):
        if key in stored:
            parameters[key] = (value, np.asarray(value.const_value))
            model.graph.initializers.pop(key)
            value.const_value = None
            model.graph.inputs.append(value)
    optimizer.optimize(model)
    del model.graph.inputs[1:]
    return Graph(model, parameters)
