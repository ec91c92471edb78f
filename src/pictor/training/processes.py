"""Several processes that train one network: each takes a share of every batch, and gradients are summed.

Rank 0 is the process that was asked to train; it starts the others on this machine, or finds itself
started by torchrun or by an engine. It alone decides when to save and to end, and it alone writes.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

from pictor.core.children import unsignalled
from pictor.core.errors import InputError, PictorError
from pictor.training.sharding import is_spread

T = TypeVar("T")
P = ParamSpec("P")

_ABANDONED = 3
"""Exit code of a process that ended because another one did."""


class PeerGoneError(PictorError):
    """Another process of the team cannot be reached: it ended before its time."""


@contextmanager
def _talking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # what gloo and NCCL raise when a connection closes
        raise PeerGoneError(
            f"another training process is gone ({' '.join(str(error).split())[:200]})",
            expected="all processes until the run ends",
            remedy="Its own error tells why; go on with --resume.",
        ) from error


class Team:
    """This process's place among those that train together.

    Args:
        rank: its number; 0 leads.
        size: how many there are.
        place: its number on this machine.
        neighbours: how many there are on this machine.
    """

    def __init__(self, rank: int = 0, size: int = 1, place: int = 0, neighbours: int = 1) -> None:
        self.rank, self.size = rank, size
        self.place, self.neighbours = place, neighbours
        self._flat: torch.Tensor | None = None

    def share(self, first: int, count: int) -> tuple[int, int, float]:
        """This process's samples of a batch.

        Shares differ by one sample at most. Where there are fewer samples than processes, the ones without
        compute one with weight 0, so that every process has gradients of the same shapes.

        Args:
            first: first sample of the batch.
            count: samples of the batch, at least 1.

        Returns:
            First sample, number of samples, and the weight of their mean in the batch's mean.
        """
        start, end = (count * rank // self.size for rank in (self.rank, self.rank + 1))
        if start == end:
            return first, 1, 0.0
        return first + start, end - start, (end - start) / count

    def sum_gradients(self, parameters: Sequence[nn.Parameter], loss: torch.Tensor) -> torch.Tensor:
        """Replace gradients by their sums over the processes, in one all-reduce.

        Args:
            parameters: the same ones, in the same order, in each process; gradients of spread ones are summed
                already, by the backward pass.
            loss: this process's part of the loss, a scalar.

        Returns:
            The loss summed over the processes, without gradient.
        """
        if self.size == 1:
            return loss.detach()
        found = (parameter.grad for parameter in parameters)
        gradients = [gradient for gradient in found if gradient is not None and not is_spread(gradient)]
        parts = [*(gradient.flatten() for gradient in gradients), loss.detach().float().reshape(1)]
        if self._flat is None:
            self._flat = torch.cat(parts)
        else:
            torch.cat(parts, out=self._flat)
        with _talking():
            dist.all_reduce(self._flat)
        *sums, total = torch.split(self._flat, [part.numel() for part in parts])
        if gradients:
            torch._foreach_copy_(gradients, [s.view_as(g) for s, g in zip(sums, gradients, strict=True)])
        whole: torch.Tensor = total.clone().reshape(())
        return whole

    def greatest(self, *numbers: int) -> list[int]:
        """The greatest of the processes' values of each number."""
        if self.size == 1:
            return list(numbers)
        values = torch.tensor(numbers, dtype=torch.int64)
        with _talking():
            dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return [int(value) for value in values]

    def align(self, module: nn.Module) -> None:
        """Give every process rank 0's weights and buffers."""
        if self.size > 1:
            with torch.no_grad(), _talking():
                for tensor in (*module.parameters(), *module.buffers()):
                    dist.broadcast(tensor.data, 0)

    def by_first(self, work: Callable[[], T]) -> T:
        """Let rank 0 alone do something; all get its result, or raise its error."""
        if self.size == 1:
            return work()
        answer: list[Any] = [None]
        if self.rank == 0:
            try:
                answer = [work()]
            except PictorError as error:
                answer = [error]
        with _talking():
            dist.broadcast_object_list(answer, 0, device=torch.device("cpu"))
        if isinstance(answer[0], PictorError):
            raise answer[0]
        result: T = answer[0]
        return result


def _launched(environment: Mapping[str, str]) -> Team | None:
    """The place that torchrun gave this process, None where it was started by hand."""
    if int(environment.get("WORLD_SIZE", "1")) < 2:
        return None
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    try:
        return Team(*(int(environment[name]) for name in names))
    except KeyError as error:
        raise InputError(
            f"WORLD_SIZE is set and {error.args[0]} is not",
            expected="both, as torchrun sets them",
            remedy="Start with torchrun, or unset WORLD_SIZE.",
        ) from error


def leads() -> bool:
    """Whether this process was asked to train by a user, or is the first that torchrun started."""
    team = _launched(os.environ)
    return team is None or team.rank == 0


def _meeting_place(port: int, size: int, leads: bool) -> Any:
    """The store at which the processes of this machine meet; port 0 takes a free one."""
    return dist.TCPStore(  # type: ignore[attr-defined]
        "127.0.0.1", port, size, is_master=leads, wait_for_workers=False
    )


def _join(team: Team, store: Any) -> None:
    # Numbers on the CPU travel by gloo even where gradients travel by NCCL.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    if store is None:
        dist.init_process_group(backend)
    else:
        if sys.platform == "linux":  # all on this machine, whatever its own name resolves to
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(backend, store=store, rank=team.rank, world_size=team.size)


@contextmanager
def assembled(
    processes: int, work: Callable[Concatenate[Team, P], object], *args: P.args, **kwargs: P.kwargs
) -> Iterator[Team]:
    """Within this block this process is one of several that train together.

    Args:
        processes: how many to be on this machine; 1 under torchrun, which started them itself.
        work: what the other processes run; found by its name in a module, with arguments that can be pickled.

    Raises:
        InputError: no whole number above 0, or more than 1 under torchrun.
        PictorError: another process failed; its own error where it is one of Pictor's.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}", expected="at least 1", param="processes")
    team = _launched(os.environ)
    if team is not None:
        if processes > 1:
            raise InputError(
                f"processes is {processes} under torchrun, which started {team.size}",
                expected="1",
                remedy="Leave --processes out, or torchrun.",
                param="processes",
            )
        with _member(team, None):
            yield team
    elif processes == 1:
        yield Team()
    else:
        with _led(processes, work, args, kwargs) as team:
            yield team


@contextmanager
def _member(team: Team, store: Any) -> Iterator[None]:
    if not dist.is_initialized():  # Ray Train lets those that it starts join
        _join(team, store)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # the others may be gone
            dist.destroy_process_group()


@contextmanager
def _led(
    size: int, work: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[Team]:
    """Start the others, be rank 0, and end them whatever happens."""
    threads = torch.get_num_threads()
    each = max(1, threads // size)
    store = _meeting_place(0, size, True)
    context = torch.multiprocessing.get_context("spawn")
    others: list[tuple[SpawnProcess, Connection]] = []
    patience = 0.0
    try:
        for rank in range(1, size):
            mine, theirs = context.Pipe(duplex=False)
            entry = (rank, size, store.port, each, theirs, work, args, kwargs)
            process = context.Process(target=_work, args=entry, name=f"pictor-train-{rank}")
            with unsignalled():  # rank 0 decides for all, between steps
                process.start()
            theirs.close()
            others.append((process, mine))
        torch.set_num_threads(each)
        team = Team(0, size, 0, size)
        with _member(team, store):
            yield team
        patience = 10.0
    except PeerGoneError as error:
        raise _failure(others) or error from error
    finally:
        torch.set_num_threads(threads)
        for process, end in others:
            process.join(patience)
            process.kill()
            process.join()
            end.close()


def _failure(others: list[tuple[SpawnProcess, Connection]]) -> PictorError | None:
    """The error of the process that others only followed, None if all followed."""
    for rank, (process, end) in enumerate(others, 1):
        with suppress(EOFError, OSError):
            if end.poll(1):
                error: PictorError = end.recv()
                return error
        process.join(1)
        if process.exitcode not in (None, 0, _ABANDONED):
            return PictorError(
                f"training process {rank} ended with code {process.exitcode}",
                expected="one that trains until the run ends",
                remedy="Is there memory enough? Go on with --resume.",
            )
    return None


def _work(
    rank: int,
    size: int,
    port: int,
    threads: int,
    end: Connection,
    work: Callable[..., object],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    """The life of a process that rank 0 started."""
    torch.set_num_threads(threads)
    team = Team(rank, size, rank, size)
    try:
        with _member(team, _meeting_place(port, size, False)):
            work(team, *args, **kwargs)
    except PeerGoneError:
        sys.exit(_ABANDONED)
    except PictorError as error:
        end.send(error)
        sys.exit(1)
    except Exception as error:
        end.send(PictorError(f"training process {rank} failed: {error!r}", remedy="Its trace is above."))
        traceback.print_exc()
        sys.exit(1)
