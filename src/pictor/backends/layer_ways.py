"""The ways in which a layer can be computed on a CPU in float32, all with the same result up to rounding.

A way is one function and one entry in `WAYS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import nn

from pictor.backends.winograd import SIDES, transform_weight, winograd

Layer: TypeAlias = nn.Conv2d | nn.Linear
Forward: TypeAlias = Callable[[torch.Tensor], torch.Tensor]

PLAIN = "plain"
"""As the library does it: weights stay as they are, and are rearranged at every call."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to compute a layer."""

    suits: Callable[[Layer], bool]
    made: Callable[[Layer, torch.Size], Forward]
    """From the layer and the shape of its input; holds weights of its own."""
    growth: float = 1.0
    """Size of those weights, where the layer's is 1."""


class Replaced(nn.Module):
    """A layer computed in another way. Its own weights are no longer held."""

    def __init__(self, layer: Layer, forward: Forward) -> None:
        super().__init__()
        self.described = layer.extra_repr()
        # Networks look up types and devices in their layers' weights.
        self.register_buffer("weight", layer.weight.new_empty(0), persistent=False)
        self._forward = forward

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._forward(x)

    def extra_repr(self) -> str:
        return self.described


def ways_of(layer: Layer) -> Mapping[str, Way]:
    """The ways that suit a layer, besides `PLAIN`, by name."""
    return {name: way for name, way in WAYS.items() if way.suits(layer)}


def _is_convolution(layer: Layer) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and layer.groups == 1


def _packed_convolution(layer: Layer, shape: torch.Size) -> Forward:
    assert isinstance(layer, nn.Conv2d)  # noqa: S101 - of those that suit
    how = (list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups)
    weight = torch.ops.mkldnn._reorder_convolution_weight(layer.weight.contiguous(), *how, list(shape))
    call, bias = torch.ops.mkldnn._convolution_pointwise, layer.bias
    return lambda x: call(x, weight, bias, *how, "none", [], "")


def _packed_linear(layer: Layer, shape: torch.Size) -> Forward:
    rows = shape.numel() // shape[-1]
    weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight, rows)
    call, bias = torch.ops.mkldnn._linear_pointwise, layer.bias
    return lambda x: call(x, weight, bias, "none", [], "")


def _packs(operation: str) -> bool:
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, operation)


def _is_three_by_three(layer: Layer) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and _is_convolution(layer)
        and (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
        == ((3, 3), (1, 1), (1, 1), (1, 1))
    )


def _winograd(layer: Layer, shape: torch.Size, *, side: int) -> Forward:
    weight, bias = transform_weight(layer.weight, side), layer.bias
    return lambda x: winograd(x, weight, bias, side)


WAYS = {
    "packed convolution": Way(
        suits=lambda layer: _is_convolution(layer) and _packs("_reorder_convolution_weight"),
        made=_packed_convolution,
    ),
    "packed linear": Way(
        suits=lambda layer: isinstance(layer, nn.Linear) and _packs("_reorder_linear_weight"),
        made=_packed_linear,
    ),
    **{
        f"winograd {side}": Way(
            suits=_is_three_by_three, made=partial(_winograd, side=side), growth=(side + 2) ** 2 / 9
        )
        for side in SIDES
    },
}
