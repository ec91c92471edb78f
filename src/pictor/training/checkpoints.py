"""Checkpoints that are either whole or absent."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pictor.core.errors import InputError
from pictor.training.ema import WeightAverage
from pictor.training.sharding import gathered, like


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(temporary: Path, final: Path) -> None:
    """Make a finished folder durable under its final name: fsync files, rename, fsync the parent."""
    for path in sorted(temporary.rglob("*")):
        if path.is_file():
            _fsync(path)
    _fsync(temporary)
    temporary.rename(final)
    _fsync(final.parent)


def _names(optimiser: torch.optim.Optimizer) -> list[str]:
    """Names of the parameters in the optimiser's order."""
    return [name for group in optimiser.param_groups for name in group["param_names"]]


def _optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    names = _names(optimiser)
    state = optimiser.state_dict()["state"]
    return {
        f"{key}/{names[index]}": torch.as_tensor(value).reshape(1)
        if torch.as_tensor(value).ndim == 0
        else value
        for index, entry in state.items()
        for key, value in entry.items()
    }


def save_checkpoint(
    folder: Path,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    averages: list[WeightAverage],
    record: dict[str, Any],
    writes: bool = True,
) -> Path:
    """Write a checkpoint and then remove the older ones.

    Args:
        folder: the run's checkpoint folder.
        module: the trained network.
        optimiser: its optimiser, built from named parameters.
        averages: weight averages.
        record: JSON values; must hold `samples_seen`.
        writes: whether this process does; others give their shares of a network that is spread over several.

    Returns:
        The checkpoint's folder.

    Raises:
        InputError: the disk is full or not writable; the older checkpoints are untouched.
    """
    final = folder / f"{record['samples_seen']:012d}"
    temporary = folder / f".writing-{os.getpid()}"
    live = {name: p.detach() for name, p in module.named_parameters()}
    live |= {f"buffer/{name}": b.detach() for name, b in module.named_buffers()}
    files = {"model": live, "optimiser": _optimiser_tensors(optimiser)}
    files |= {f"average-{number}": average.tensors for number, average in enumerate(averages)}
    if not writes:
        for tensors in files.values():
            gathered(tensors, keep=False)
        return final
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, tensors in files.items():
            own = {key: t.contiguous().clone() for key, t in gathered(tensors, keep=True).items()}
            save_file(own, temporary / f"{name}.safetensors")
        (temporary / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        if final.exists():  # as many samples lead to the same weights; the only checkpoint is not taken away
            shutil.rmtree(temporary)
        else:
            publish(temporary, final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise InputError(
            f"the checkpoint {final} cannot be written ({getattr(error, 'strerror', None) or error})",
            expected="a writable disk with room",
            remedy="free space and resume; the last checkpoint is whole",
        ) from error
    for older in _numbered(folder):
        if older != final:
            shutil.rmtree(older)
    return final


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[0-9]*") if (path / "record.json").is_file())


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, None if it has none."""
    found = _numbered(folder)
    return found[-1] if found else None


def load_checkpoint(
    folder: Path, module: nn.Module, optimiser: torch.optim.Optimizer, averages: list[WeightAverage]
) -> dict[str, Any]:
    """Put module, optimiser and averages back to where a checkpoint left them.

    Returns:
        The record given to `save_checkpoint`.

    Raises:
        InputError: the checkpoint is damaged or belongs to another network.
    """
    try:
        record: dict[str, Any] = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        saved = load_file(folder / "model.safetensors")
        moments = load_file(folder / "optimiser.safetensors")
        means = [load_file(folder / f"average-{number}.safetensors") for number in range(len(averages))]
    except Exception as error:
        raise InputError(
            f"checkpoint {folder} cannot be read ({error})",
            expected="a whole checkpoint",
            remedy="remove it and start the run anew",
        ) from error
    live: dict[str, torch.Tensor] = dict(module.named_parameters())
    live |= {f"buffer/{name}": b for name, b in module.named_buffers()}
    if {n: t.shape for n, t in saved.items()} != {n: t.shape for n, t in live.items()}:
        raise InputError(
            f"checkpoint {folder} belongs to another network",
            expected="the same recipe as the run was started with",
            remedy="use another run name or the recipe stored in the run's folder",
        )
    with torch.no_grad():
        for name, tensor in live.items():
            tensor.copy_(like(saved[name], tensor))
        for average, mean in zip(averages, means, strict=True):
            for name, tensor in average.tensors.items():
                tensor.copy_(like(mean[name], tensor))
    names = _names(optimiser)
    keys = sorted({key.split("/", 1)[0] for key in moments})
    whole = optimiser.state_dict()
    whole["state"] = (
        {
            index: {
                key: moments[f"{key}/{name}"].reshape(())
                if key == "step"
                else like(moments[f"{key}/{name}"], live[name])
                for key in keys
            }
            for index, name in enumerate(names)
            if f"{keys[0]}/{name}" in moments
        }
        if keys
        else {}
    )
    optimiser.load_state_dict(whole)
    return record
