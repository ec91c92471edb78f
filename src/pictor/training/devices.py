"""Where a run computes, and in which numbers."""

from __future__ import annotations

import logging
import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import nn

from pictor.core.errors import InputError
from pictor.training.drawing import Arrays
from pictor.training.objectives import Batch, Objective

Precision = Literal["fp32", "bf16", "fp16"]


def choose_device(name: str, place: int = 0, processes: int = 1) -> torch.device:
    """The device of one of several processes on this machine.

    Args:
        name: "cpu", "cuda" (one GPU a process), or "auto", which is a GPU where there is one.
        place: which process of this machine, from 0.
        processes: how many there are on this machine.

    Raises:
        InputError: an unknown name, no GPU, or fewer GPUs than processes.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {name!r}", expected="auto, cpu or cuda", param="device")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and there == 0):
        return torch.device("cpu")
    if processes > there:
        raise InputError(
            f"{processes} processes on {there} GPUs",
            expected="a GPU for each process",
            remedy="Pass --processes with the number of GPUs, or --device cpu.",
            param="device" if there == 0 else "processes",
        )
    return torch.device("cuda", place)


def best_precision(device: str) -> Precision:
    """What a device computes fastest in, of numbers that training can bear.

    Args:
        device: "cpu", "cuda", or "auto".
    """
    if choose_device(device).type == "cuda":
        return "bf16"
    # Without tiles of their own, halves are many times slower than float32 on CPUs.
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def networks(objective: Objective) -> list[nn.Module]:
    """What an objective computes with: its module, and its attributes that are modules."""
    others = [value for value in vars(objective).values() if isinstance(value, nn.Module)]
    return [objective.module, *(other for other in others if other is not objective.module)]


def move(objective: Objective, device: torch.device) -> None:
    """Move all networks of an objective, in place."""
    for network in networks(objective):
        network.to(device)


def compile_networks(objective: Objective) -> None:
    """Let torch.compile speed up the networks when they are called, in place.

    The parts of the trained module are compiled one by one, since objectives call parts as well as the whole.
    """
    # What the compiler remarks about itself helps nobody who trains.
    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for network in networks(objective):
        for part in network.children() if network is objective.module else [network]:
            part.compile()


def checkpoint_activations(objective: Objective) -> None:
    """Let networks that learn compute their activations anew on the way back, in place.

    Chen et al. 2016, arXiv 1604.06174. Networks of diffusers and of transformers can, and others that have
    an `enable_gradient_checkpointing`.

    Raises:
        InputError: none of them can.
    """
    able = 0
    network: Any
    for network in objective.module.modules():
        learns = any(parameter.requires_grad for parameter in network.parameters())
        # Both libraries' classes have the method and say by these whether it works.
        told = ("_supports_gradient_checkpointing", "supports_gradient_checkpointing")
        if not learns or not all(getattr(network, name, True) for name in told):
            continue
        if hasattr(network, "gradient_checkpointing_enable"):
            network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        elif hasattr(network, "enable_gradient_checkpointing"):
            network.enable_gradient_checkpointing()
        else:
            continue
        able += 1
    if not able:
        raise InputError(
            "gradient_checkpointing is true, and no network of this objective can do so",
            expected="a network of diffusers or transformers that learns",
            remedy="Leave it out, or set accumulate to need less memory.",
            param="gradient_checkpointing",
        )


def moved(batch: Batch, device: torch.device) -> Batch:
    """A batch on a device; to a GPU it travels while the GPU computes."""
    if device.type != "cuda":
        return {key: tensor.to(device) for key, tensor in batch.items()}
    return {key: tensor.pin_memory().to(device, non_blocking=True) for key, tensor in batch.items()}


def copied(arrays: Arrays, device: torch.device) -> Batch:
    """Arrays that will be overwritten, as a batch of its own on a device."""
    shared = {key: torch.from_numpy(array) for key, array in arrays.items()}
    if device.type == "cuda":
        return moved(shared, device)  # by way of pinned memory, which is a copy
    return {key: tensor.clone() for key, tensor in shared.items()}


def precise(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Within this block networks compute in these numbers; weights are kept in float32 either way."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)
