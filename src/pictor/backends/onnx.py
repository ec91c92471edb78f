"""Runs a part of a model with ONNX Runtime on the CPU.

The weights stay in the safetensors file beside the graph, in half precision; the runtime maps that file, and
widens each tensor once while it loads. Computing in half precision is many times slower than float32 on CPUs.
"""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from pictor.backends.base import Array, first_line
from pictor.backends.graph import check_graph
from pictor.core.errors import ModelError, PictorError

ITEM_TYPES: dict[str, type[np.generic]] = {"tensor(float)": np.float32, "tensor(int64)": np.int64}


class OnnxModule:
    """A graph file, opened when it is first run.

    Args:
        path: the graph; its weights lie in the same folder.
        threads: threads that compute one run; 0 takes `default_threads()`.
        spinning: let idle threads wait busily. A quarter faster for small networks where nothing else
            runs on the machine, and as much slower beside one busy neighbour.
    """

    def __init__(self, path: Path, *, threads: int = 0, spinning: bool = False) -> None:
        self.path = path
        self.threads = threads or default_threads()
        self.spinning = spinning
        self._session: Any = None
        self._types: dict[str, type[np.generic]] = {}
        self._opening = threading.Lock()

    def load(self) -> None:
        """Open the graph where that has not been done. Several modules may load at once from several threads.

        Raises:
            ModelError: the graph or its weights are missing, damaged, or do not belong together.
        """
        if self._session is None:
            with self._opening:
                if self._session is None:
                    check_graph(self.path)
                    session = _open(self.path, self.threads, self.spinning)
                    self._types = {
                        node.name: ITEM_TYPES.get(node.type, np.float32) for node in session.get_inputs()
                    }
                    self._session = session

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run the network once; see `pictor.backends.base.Module.run`.

        Safe to call from several threads at once.
        """
        self.load()
        if arrays.keys() != self._types.keys():
            raise PictorError(
                f"{self.path} was given the inputs {', '.join(sorted(arrays))}",
                expected=", ".join(self._types),
            )
        feeds = {name: np.ascontiguousarray(array, dtype=self._types[name]) for name, array in arrays.items()}
        names = [node.name for node in self._session.get_outputs()]
        try:
            outputs = self._session.run(names, feeds)
        except Exception as error:  # the runtime's own kinds share no public base class
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())
            raise PictorError(f"{self.path} cannot run with {shapes}: {first_line(error)}") from error
        return dict(zip(names, outputs, strict=True))


def default_threads() -> int:
    """Threads for one run: OMP_NUM_THREADS where it is set, else the processors that this process may use."""
    wish = os.environ.get("OMP_NUM_THREADS", "")
    if wish.isdecimal() and int(wish) > 0:
        return int(wish)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open(path: Path, threads: int, spinning: bool) -> Any:
    import onnxruntime  # half of a second that only a run has to pay

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # A plan for memory is made for each shape, and asks the arena for one block as large as all tensors
    # together: a decoder at 512 pixels peaks at 540 MB with it and at 320 MB without, in the same time.
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # an error is raised; it need not be printed as well
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    try:
        # The fallback would try the same once more, and print on stdout that it does.
        return onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # the runtime's own kinds share no public base class
        raise ModelError(
            f"ONNX Runtime cannot open {path}: {first_line(error)}",
            expected="a graph that this version of Pictor exported",
            remedy="Export the graphs again, or copy the model again.",
        ) from error
