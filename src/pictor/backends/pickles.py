"""Old checkpoints that are pickles, turned into safetensors by a process that can do nothing else.

A pickle is a program. It is read with torch's restricted reader, which makes tensors alone, in a process of
its own that has no network, writes one file, and is stopped after a while. Nothing of it runs in this one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from pictor.backends.torch import require_torch
from pictor.backends.weights import read_header
from pictor.core.errors import InputError, ModelError

_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")
_SECONDS = 1800

_CHILD = """
import ctypes, os, sys
source, target = sys.argv[1:]

def lonely():
    # No network: a namespace of its own where the system allows it, and no sockets in any case.
    if sys.platform == "linux":
        flags = 0x10000000 | 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET
        ctypes.CDLL(None).unshare(flags)
    def refuse(event, arguments):
        if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork")):
            raise PermissionError(event)
    sys.addaudithook(refuse)

import torch
from safetensors.torch import save_file
lonely()
record = torch.load(source, map_location="cpu", weights_only=True)
if isinstance(record, dict) and isinstance(record.get("state_dict"), dict):
    record = record["state_dict"]
if not isinstance(record, dict):
    raise ValueError(f"it holds a {type(record).__name__}, no table of tensors")
tensors = {str(k): v.detach().clone().contiguous() for k, v in record.items() if isinstance(v, torch.Tensor)}
if not tensors:
    raise ValueError("it holds no tensors")
save_file(tensors, target, metadata={"format": "pt"})
"""


def convert_pickle(source: Path, target: Path) -> int:
    """Write the tensors of a pickled checkpoint as safetensors.

    Args:
        source: a .ckpt, .pt, .pth or .bin file.
        target: a .safetensors file; not there before.

    Returns:
        How many tensors it holds.

    Raises:
        InputError: a name is wrong, or something is there already.
        ModelError: the file cannot be read safely; nothing is written then.
        MissingExtraError: torch is not installed.
    """
    require_torch("converting a checkpoint")
    if source.suffix not in _SUFFIXES:
        raise InputError(f"{source} is no pickled checkpoint", expected=", ".join(_SUFFIXES), param="source")
    if not source.is_file():
        raise InputError(f"there is no file {str(source)!r}", expected="a checkpoint", param="source")
    if target.suffix != ".safetensors" or target.exists() or not target.parent.is_dir():
        raise InputError(
            f"cannot write {target}",
            expected="a new name in .safetensors, in a folder that exists",
            param="out",
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pictor-") as room:
        draft = Path(room) / "weights.safetensors"
        command = [sys.executable, "-I", "-c", _CHILD, str(source.resolve()), str(draft.resolve())]
        try:
            done = subprocess.run(  # noqa: S603 - our own program, with two paths
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ModelError(f"{source} was not read in {_SECONDS} s", param="source") from None
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ModelError(
                f"{source} cannot be read safely ({reason[:300]})",
                expected="a table of tensors",
                param="source",
            )
        count = len(read_header(draft))
        draft.replace(target)
    return count
