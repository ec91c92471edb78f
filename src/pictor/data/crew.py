"""Processes that decode pictures. A file that crashes or hangs one is named, and the work goes on.

A worker takes one part of the records at a time and says in shared memory which picture it is at. One that
dies or stays at a picture for too long is replaced, and its part is begun again without that picture.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from pictor.core.children import unsignalled
from pictor.core.errors import Cancelled, InputError, PictorError
from pictor.data.quarantine import Quarantine
from pictor.data.sources.registry import Opened
from pictor.data.sources.source import Record

R = TypeVar("R")

PART = 500
"""Records in a part: the work of a quarter of a second at small sizes."""
IDLE = -1
"""Place of a worker that is at no picture."""
_TICK = 0.25


@dataclass(frozen=True)
class Part:
    """Consecutive records of all sources."""

    number: int
    first: int
    """Number of its first record among all."""
    records: Sequence[Record]
    bad: dict[int, str] = field(default_factory=dict)
    """Places in the part that must not be read, and why."""
    blamed: frozenset[int] = frozenset()
    """Those of them that crashed or kept a worker; what the part was made of does not depend on them."""


At = Callable[[int], None]
"""A worker calls it with the place in the part before it reads a picture."""
Work = Callable[[Part, At], R]
"""What a worker does with a part; can be pickled."""


def parts(opened: Sequence[Opened], quarantine: Quarantine | None = None, size: int = PART) -> Iterator[Part]:
    """The records of all sources in parts; what is quarantined or known to be flawed is marked as bad."""
    records = ((entry.place, record) for entry in opened for record in entry.source.records())
    number = 0
    while batch := list(islice(records, size)):
        bad = {}
        for index, (place, record) in enumerate(batch):
            reason = record.flaw or (quarantine.reason(place, record.key) if quarantine else None)
            if reason:
                bad[index] = reason
        yield Part(number, number * size, [record for _, record in batch], bad)
        number += 1


def default_workers() -> int:
    """One a core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _serve(connection: Connection, place: Any, parent: int, work: Work[Any]) -> None:
    warnings.simplefilter("ignore")

    def at(index: int) -> None:
        if os.getppid() != parent:
            os._exit(1)
        place.value = index

    while True:
        try:
            part = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer: object = work(part, at)
        except PictorError as error:
            answer = error
        except Exception as error:
            answer = PictorError(f"working on picture {part.first + place.value} failed: {error!r}")
        place.value = IDLE
        with suppress(OSError):
            connection.send(answer)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How work on many pictures is done."""

    workers: int | None = None
    """Processes; None for one a core."""
    patience: float = 60.0
    """Seconds that one picture may take."""
    on_progress: Callable[[int, int], None] | None = None
    """Called with the pictures done, and of how many."""
    should_stop: Callable[[], bool] | None = None
    """Asked a few times a second; true ends the work at once."""

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= 1024:
            raise InputError(f"workers is {self.workers}", expected="1 to 1024", param="workers")

    def report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)


class _Worker:
    """One process, the part that it has, and since when it is at a picture."""

    def __init__(self, work: Work[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.place: Any = context.RawValue("q", IDLE)
        self.process = context.Process(
            target=_serve, args=(theirs, self.place, os.getpid(), work), daemon=True
        )
        with unsignalled():
            self.process.start()
        theirs.close()
        self.part: Part | None = None
        self._seen, self._since = IDLE, 0.0

    def give(self, part: Part) -> None:
        self.part, self._seen = part, IDLE
        with suppress(OSError):  # one that died is seen when its answer is due
            self.connection.send(part)

    def hangs(self, patience: float) -> bool:
        place, clock = self.place.value, time.monotonic()
        if place != self._seen or place == IDLE:
            self._seen, self._since = place, clock
        return clock - self._since > patience

    def end(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


class Crew(Generic[R]):
    """Workers for one kind of work.

    Args:
        work: done to each part.
        terms: how many, and how patient.
    """

    def __init__(self, work: Work[R], terms: Terms) -> None:
        self._work, self._terms = work, terms
        self._count = terms.workers or default_workers()

    def results(self, jobs: Iterable[Part]) -> Iterator[tuple[Part, R]]:
        """Parts as they are done, in whatever order, each with what came of it.

        Raises:
            PictorError: what a worker raised, or one died and no picture is to blame.
            Cancelled: stopped on request; the workers are ended at once.
        """
        coming = iter(jobs)
        ready: Part | None = next(coming, None)
        workers: list[_Worker] = []
        try:
            while ready is not None or any(worker.part for worker in workers):
                if ready is not None and len(workers) < self._count:
                    workers.append(_Worker(self._work))
                for worker in workers:
                    if worker.part is None and ready is not None:
                        worker.give(ready)
                        ready = next(coming, None)
                hiring = ready is not None and len(workers) < self._count
                for worker, part, answer in self._answers(workers, 0.0 if hiring else _TICK):
                    worker.part = None
                    if ready is not None:  # before anything else, so that nobody waits
                        worker.give(ready)
                        ready = next(coming, None)
                    yield part, answer
                if self._terms.should_stop is not None and self._terms.should_stop():
                    raise Cancelled("stopped on request")
        finally:
            for worker in workers:
                worker.end()

    def _answers(self, workers: list[_Worker], timeout: float) -> Iterator[tuple[_Worker, Part, R]]:
        """What has been answered before the timeout; replaces who died or hangs."""
        busy = {worker.connection: (worker, worker.part) for worker in workers if worker.part}
        answered = set(wait(list(busy), timeout))
        for connection in [connection for connection in busy if connection in answered]:
            worker, part = busy.pop(connection)
            try:
                answer = worker.connection.recv()
            except (EOFError, OSError):
                self._replace(workers, worker, part, "crashed the process that decoded it")
                continue
            if isinstance(answer, PictorError):
                raise answer
            yield worker, part, answer
        for worker, part in busy.values():
            if worker.hangs(self._terms.patience):
                self._replace(workers, worker, part, f"was not decoded within {self._terms.patience:g} s")

    def _replace(self, workers: list[_Worker], worker: _Worker, part: Part, why: str) -> None:
        place = worker.place.value
        worker.process.join(1)  # for its exit code, where it died by itself
        code = worker.process.exitcode
        worker.end()
        if place == IDLE:
            raise PictorError(
                f"a process that decodes pictures ended with code {code}",
                expected="one that works until it is told to end",
                remedy="Is there memory enough? Go on with fewer --workers.",
            )
        fresh = _Worker(self._work)
        fresh.give(replace(part, bad={**part.bad, place: why}, blamed=part.blamed | {place}))
        workers[workers.index(worker)] = fresh
