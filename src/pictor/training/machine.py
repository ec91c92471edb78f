"""What a run is trained on: processors, memory and versions, without names of users, machines or folders."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import pictor

_PACKAGES = ("torch", "diffusers", "transformers", "accelerate", "numpy")


def machine_facts(device: torch.device) -> dict[str, Any]:
    """JSON values: device, cpu, cores, memory in GiB, gpus, system, versions."""
    facts: dict[str, Any] = {
        "device": device.type,
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory(),
        "gpus": [],
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"pictor": pictor.__version__, "python": platform.python_version(), **_versions()},
    }
    if device.type == "cuda":
        cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        facts["gpus"] = [f"{card.name}, {card.total_memory / 2**30:.0f} GiB" for card in cards]
        facts["versions"]["cuda"] = torch.version.cuda
    return facts


def peak_memory(device: torch.device) -> int | None:
    """Bytes that this process has held at most: of the GPU's memory, else of the machine's.

    None where the system does not tell.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else 1024 * most


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, platform.machine())


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
