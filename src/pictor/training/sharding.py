"""Weights, gradients and moments that are spread over the processes: each keeps a share of every tensor.

A block's weights are gathered before it computes and dropped after it, and its gradients are summed into
shares (Rajbhandari et al. 2020, arXiv 1910.02054; Zhao et al. 2023, arXiv 2304.11277), by torch's
`fully_shard`. So weights and moments need fit the processes' memory together only, and each step sends more.
What is written is whole: any number of processes goes on from it, spread or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from pictor.core.errors import InputError
from pictor.training.devices import move
from pictor.training.objectives import Objective
from pictor.training.recipe import Recipe

_CALLED_BY_NAME = ("encode", "decode")
"""What parts are also asked for besides being called; they gather weights, too."""


def spread(module: nn.Module, recipe: Recipe, processes: int, device: torch.device) -> None:
    """Spread a trained network's parts over all processes, in place.

    Parts are spread one by one, since objectives call parts as well as the whole.

    Raises:
        InputError: it has weights outside its parts, or ones that cannot be divided; there is one process
            only; the recipe wants what cannot be had with it.
    """
    if processes == 1:
        raise InputError(
            "one process has nothing to share its weights with",
            expected="several processes",
            remedy="Pass --processes, or leave --shard out.",
            param="shard",
        )
    for key, other in (("compile", recipe.compile), ("accumulate", recipe.accumulate > 1)):
        if other:
            raise InputError(
                f"{key} is {getattr(recipe, key)!r}, which cannot be had with shard",
                remedy=f"Leave {key} out of the recipe, or --shard.",
                param=key,
            )
    if recipe.precision == "fp16":
        raise InputError(
            "precision is 'fp16', whose losses are not scaled where weights are spread",
            expected="'fp32' or 'bf16'",
            param="precision",
        )
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

    loose = [name for name, _ in module.named_parameters(recurse=False)]
    numbers = [name for name, parameter in module.named_parameters() if parameter.ndim == 0]
    if loose or numbers:
        raise InputError(
            f"this objective's network cannot be sharded: {', '.join([*loose, *numbers])}",
            expected="parts whose weights all have dimensions to divide",
            remedy="Leave --shard out.",
            param="shard",
        )
    mesh = init_device_mesh(device.type, (processes,))
    for part in module.children():
        for unit in (*_blocks(part), part):
            if any(True for _ in unit.parameters()):
                # Also of a part as a whole: one that is frozen has no way back on which to drop its weights.
                fully_shard(unit, mesh=mesh, reshard_after_forward=True)
        for name in _CALLED_BY_NAME:
            if isinstance(part, FSDPModule) and hasattr(part, name):
                register_fsdp_forward_method(part, name)
    for unit in module.modules():
        if isinstance(unit, FSDPModule):
            # A process's loss is its part of the batch's mean already; gloo can sum and not scale.
            unit.set_gradient_divide_factor(1.0)
            unit.set_force_sum_reduction_for_comms(True)


def _blocks(part: nn.Module) -> Iterator[nn.Module]:
    """The entries of the outermost lists: what a network computes one after the other."""
    for child in part.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _blocks(child)


def is_spread(tensor: torch.Tensor) -> bool:
    """Whether this process holds a share of it only."""
    return hasattr(tensor, "full_tensor")  # DTensor's, whose import takes longer than torch's


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor; where it is spread, all processes must ask for it."""
    return tensor.full_tensor() if is_spread(tensor) else tensor  # type: ignore[attr-defined]


def gathered(tensors: Mapping[str, torch.Tensor], keep: bool) -> dict[str, torch.Tensor]:
    """All of several tensors, one after the other; empty in processes that take part without keeping them."""
    found = {}
    for name, tensor in tensors.items():
        complete = whole(tensor)
        if keep:
            found[name] = complete
    return found


def like(value: torch.Tensor, tensor: Any) -> torch.Tensor:
    """Of a whole value, the share that this process has of a tensor, on its device."""
    if not is_spread(tensor):
        return value
    from torch.distributed.tensor import distribute_tensor

    there = value.to(tensor.device)
    return distribute_tensor(there, tensor.device_mesh, tensor.placements, src_data_rank=None)


def copied_whole(
    make: Callable[[], Objective],
    module: nn.Module,
    averages: Mapping[str, torch.Tensor],
    device: torch.device,
    keep: bool,
) -> Objective | None:
    """A second objective with all of a spread network's weights; all processes must ask for it.

    Args:
        make: makes another one of the same recipe.
        module: the spread network.
        averages: weights in the place of the network's own.
        device: where it goes.
        keep: false returns None, in processes that only take part.
    """
    weights = gathered(dict(module.named_parameters()) | dict(averages), keep)
    if not keep:
        return None
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        copy = make()
    with torch.no_grad():
        for name, parameter in copy.module.named_parameters():
            parameter.copy_(weights[name])
        for mine, live in zip(copy.module.buffers(), module.buffers(), strict=True):
            mine.copy_(live)
    move(copy, device)
    return copy
