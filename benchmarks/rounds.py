"""Fair comparisons on a noisy machine: fresh processes in ABBA order, medians of per-round ratios."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

Command = list[str]


@dataclass(frozen=True)
class Run:
    """What one process took."""

    seconds: float
    peak_mb: float
    output: str


def run(command: Command, threads: int | None = None) -> Run:
    """Run a process to its end and measure it from exec on; its failure ends the benchmark."""
    environment = dict(os.environ) | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    output, errors = _drain(process)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status != 0:
        sys.exit(f"{' '.join(command)} failed:\n{errors[-2000:]}")
    return Run(seconds, usage.ru_maxrss / 1024, output)


def _drain(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Read both pipes without reaping the process, whose resource usage is still wanted."""
    import threading

    texts = {"out": "", "err": ""}

    def read(name: str, stream: object) -> None:
        texts[name] = stream.read()  # type: ignore[attr-defined]

    readers = [
        threading.Thread(target=read, args=("out", process.stdout)),
        threading.Thread(target=read, args=("err", process.stderr)),
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return texts["out"], texts["err"]


def abba(ours: Callable[[], float], peer: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """(ours, peer) of each round; the order within a round alternates."""
    pairs = []
    for number in range(rounds):
        if number % 2 == 0:
            a = ours()
            b = peer()
        else:
            b = peer()
            a = ours()
        pairs.append((a, b))
    return pairs


def ratio(pairs: list[tuple[float, float]], draws: int = 2000) -> tuple[float, float, float]:
    """Median of peer / ours over rounds, with a 95% bootstrap interval."""
    ratios = [peer / ours for ours, peer in pairs]
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(draws))
    return statistics.median(ratios), medians[int(draws * 0.025)], medians[int(draws * 0.975)]


def machine() -> str:
    """One line on where this ran."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{len(os.sched_getaffinity(0))} cores of {model}, Python {sys.version.split()[0]}"
