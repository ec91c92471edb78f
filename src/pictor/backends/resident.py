"""Weights in memory of their own, not in that of a mapped file.

safetensors maps files, and a mapping stays as long as one tensor of it does, with all pages that were ever
read. A layer whose weight is replaced by a packed one would then be in memory twice.
"""

import ctypes
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DONT_NEED = 4
"""MADV_DONTNEED of Linux: the pages are read again from the file if somebody asks for them."""


def leave_files(network: Any, memory_format: Any) -> None:
    """Copy each weight that lies in a mapped file, and give its pages back at once.

    Where the system does not tell what is mapped, nothing happens.

    Args:
        network: a `torch.nn.Module` on the CPU.
        memory_format: the torch layout of weights of four axes.
    """
    mapped = list(_mapped())
    copies: dict[tuple[int, tuple[int, ...]], Any] = {}  # of weights that layers share, one
    for tensor in (*network.parameters(), *network.buffers()):
        begin, length = tensor.data_ptr(), tensor.numel() * tensor.element_size()
        if not any(low <= begin < high for low, high in mapped):
            continue
        key = (begin, tuple(tensor.shape))
        if key not in copies:
            wanted = {"memory_format": memory_format} if tensor.dim() == 4 else {}
            copies[key] = tensor.detach().clone(**wanted)
            _give_back(begin, length)
        tensor.data = copies[key]


def _mapped() -> Iterator[tuple[int, int]]:
    """First and last address of each part of a safetensors file that is mapped."""
    try:
        lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        if ".safetensors" in line:
            low, high = line.split(maxsplit=1)[0].split("-")
            yield int(low, 16), int(high, 16)


def _give_back(begin: int, length: int) -> None:
    """Whole pages only: what neighbours share stays."""
    page = mmap.PAGESIZE
    first, end = -(-begin // page) * page, (begin + length) // page * page
    if end > first:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _DONT_NEED)
