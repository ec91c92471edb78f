"""Batches drawn by several processes, since drawing in Python holds the interpreter's lock.

Batch i of a run is a function of its sample numbers, so who draws it makes no difference. Each drawer has
two pieces of shared memory and draws at most two batches ahead of what was taken. Nothing here imports
torch, and drawers start in no time where what they draw does not need it either.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from pictor.core.children import unsignalled
from pictor.core.errors import InputError, PictorError

Arrays = Mapping[str, np.ndarray[Any, Any]]
Draw = Callable[[int, int], Mapping[str, Any]]
"""Samples first .. first + count - 1 as arrays or tensors, by key; can be pickled."""

T = TypeVar("T")

_SLOTS = 2
_ALIGN = 64


class _Memory:
    """A growing piece of memory that other processes open by its path."""

    def __init__(self) -> None:
        # Memory without a file where there is such a thing: /dev/shm is often bounded to 64 MB in containers.
        if hasattr(os, "memfd_create"):
            self._handle = os.memfd_create("pictor-batch")
            self.path = f"/proc/{os.getpid()}/fd/{self._handle}"
        else:
            self._handle, self.path = tempfile.mkstemp(prefix="pictor-batch-")
        self._map: mmap.mmap | None = None

    def view(self, size: int) -> mmap.mmap:
        """The first `size` bytes."""
        if self._map is None or len(self._map) < size:
            self._map = mmap.mmap(self._handle, size)
        return self._map

    def close(self) -> None:
        self._map = None
        os.close(self._handle)
        if not self.path.startswith("/proc/"):
            with suppress(OSError):
                os.unlink(self.path)


def _write(handle: int, drawn: Mapping[str, Any]) -> tuple[int, list[tuple[str, str, tuple[int, ...], int]]]:
    """Put arrays into shared memory: its size, and key, type, shape and offset of each."""
    arrays = {key: np.ascontiguousarray(value) for key, value in drawn.items()}
    sheet, size = [], 0
    for key, array in arrays.items():
        sheet.append((key, array.dtype.str, array.shape, size))
        size += -(-array.nbytes // _ALIGN) * _ALIGN
    size = max(size, _ALIGN)
    if os.fstat(handle).st_size < size:
        os.ftruncate(handle, size)
    with mmap.mmap(handle, size) as memory:
        for (_, kind, shape, offset), array in zip(sheet, arrays.values(), strict=True):
            np.frombuffer(memory, kind, array.size, offset).reshape(shape)[...] = array
    return size, sheet


def _serve(connection: Connection, paths: list[str], draw: Draw) -> None:
    """A drawer's life: numbers in, arrays into shared memory, until the other side is gone."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    handles = [os.open(path, os.O_RDWR) for path in paths]
    number = 0
    while True:
        try:
            job = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: object = _write(handles[number % _SLOTS], draw(*job))
        except PictorError as error:
            answer = error
        except Exception as error:
            answer = PictorError(f"drawing samples {job[0]} to {sum(job) - 1} failed: {error!r}")
        with suppress(OSError):
            connection.send(answer)
        number += 1


class Drawers:
    """Batches in order, drawn ahead by processes.

    Args:
        draw: what draws; it is pickled to each process.
        count: number of processes, at least 1.
        jobs: first and count of each batch, in order.

    Raises:
        InputError: count is below 1, or `draw` cannot be pickled.
    """

    def __init__(self, draw: Draw, count: int, jobs: Iterable[tuple[int, int]]) -> None:
        if count < 1:
            raise InputError(f"drawers is {count}", expected="at least 1", param="drawers")
        self._jobs: Iterator[tuple[int, int]] = iter(jobs)
        context = multiprocessing.get_context("spawn")
        self._memories = [[_Memory() for _ in range(_SLOTS)] for _ in range(count)]
        self._ends: list[Connection] = []
        self._processes = []
        self._asked = self._taken = 0
        try:
            for memories in self._memories:
                mine, theirs = context.Pipe()
                paths = [memory.path for memory in memories]
                process = context.Process(target=_serve, args=(theirs, paths, draw), daemon=True)
                self._ends.append(mine)
                try:
                    with unsignalled():
                        process.start()
                except (AttributeError, TypeError) as error:
                    raise InputError(
                        f"this objective's samples cannot be drawn by other processes ({error})",
                        expected="a drawer that can be pickled",
                        remedy="Leave --drawers out.",
                        param="drawers",
                    ) from error
                finally:
                    theirs.close()
                self._processes.append(process)
        except BaseException:
            self.close()
            raise
        for _ in range(count * _SLOTS):
            self._ask()

    def __enter__(self) -> Drawers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self) -> None:
        job = next(self._jobs, None)
        if job is None:
            return
        with suppress(OSError):  # a drawer that died is reported when its batch is due
            self._ends[self._asked % len(self._ends)].send(job)
        self._asked += 1

    def take(self, use: Callable[[Arrays], T]) -> T | None:
        """The next batch.

        Args:
            use: makes something of the arrays, which are overwritten after it returns.

        Returns:
            What `use` returned, None after the last batch.

        Raises:
            PictorError: drawing failed, with the drawer's own error, or its process died.
        """
        if self._taken == self._asked:
            return None
        which, slot = self._taken % len(self._ends), self._taken // len(self._ends) % _SLOTS
        try:
            answer = self._ends[which].recv()
        except (EOFError, OSError) as error:
            self._processes[which].join(5)
            code = self._processes[which].exitcode
            raise PictorError(
                f"a process that draws pictures ended with code {code}",
                expected="one that draws until the run ends",
                remedy="Is there memory enough? Go on with --resume, and with fewer --drawers.",
            ) from error
        if isinstance(answer, PictorError):
            raise answer
        size, sheet = answer
        memory = self._memories[which][slot].view(size)
        arrays = {
            key: np.frombuffer(memory, kind, int(np.prod(shape)), offset).reshape(shape)
            for key, kind, shape, offset in sheet
        }
        made = use(arrays)
        self._taken += 1
        self._ask()
        return made

    def close(self) -> None:
        """End the processes and give their memory back."""
        for end in self._ends:
            end.close()
        for process in self._processes:
            process.kill()
            process.join()
        for memory in (memory for memories in self._memories for memory in memories):
            memory.close()
