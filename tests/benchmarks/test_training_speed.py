"""The benchmark of training: what it measures, of steps whose times are known."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("training_speed", BENCHMARKS / "training.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "training_speed", module)
    spec.loader.exec_module(module)
    return module


def test_the_first_steps_do_not_count(benchmark: ModuleType) -> None:
    span = benchmark.Span(settle=2, steps=3, batch=8)
    clocks = (60.0, 90.0, 91.0, 93.0, 94.0)  # a compiler's minute, then 24 samples in 4 seconds
    marks = [benchmark.Mark(8 * step, clock, clock / 2) for step, clock in enumerate(clocks, 1)]
    assert span.last == 40
    assert span.figures(marks, processes=2) == {"speed": 6.0, "busy": 1000 * 2 * 2.0 / 24}


def test_ways_are_named(benchmark: ModuleType) -> None:
    way = benchmark.Way.named("pictor-bf16-2-compile")
    assert way == benchmark.Way("pictor", "bf16", 2, True)
    assert benchmark.Way.named("diffusers-fp32") == benchmark.Way("diffusers", "fp32", 1, False)
    for name in (*benchmark.ON_CPU, *benchmark.ON_GPU):
        benchmark.Way.named(name)
    with pytest.raises(argparse.ArgumentTypeError, match="keras-fp32"):
        benchmark.Way.named("keras-fp32")


def test_a_way_is_started_with_the_threads_it_shares(benchmark: ModuleType) -> None:
    options = argparse.Namespace(steps=1, settle=1, batch=8, device="cpu")
    ours, threads = benchmark.command("pictor-bf16-2", options, 2)
    assert (ours[1], threads) == (benchmark.__file__, 2)
    theirs, threads = benchmark.command("diffusers-bf16-2", options, 2)
    assert ("--nproc-per-node=2" in theirs, threads) == (True, 1)
