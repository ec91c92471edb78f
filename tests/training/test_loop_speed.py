"""What makes training fast changes nothing: drawers, precision, fitted lengths, devices."""

from __future__ import annotations

import json
import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictor.core.errors import InputError, PictorError

torch = pytest.importorskip("torch")

import team_work
from draw_work import draw_arrays
from line_fit import LineFit

from pictor.training import loop, session
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.devices import choose_device, compile_networks, move, networks
from pictor.training.drawing import Drawers
from pictor.training.loop import train
from pictor.training.loss_watch import LossWatch
from pictor.training.objectives import beside
from pictor.training.recipe import Recipe
from pictor.training.schedule import Length
from pictor.training.terms import Progress

JOBS = [(0, 8), (8, 8), (16, 40), (56, 4), (60, 1), (61, 3), (64, 2)]


def _recipe(**changes: Any) -> Recipe:
    table: dict[str, Any] = {"name": "line", "seed": 3, "samples": 201, "batch_size": 16, "objective": {}}
    return Recipe(**(table | changes))


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(loop, "build", team_work.line)
    return _recipe()


def _record(run: Path) -> dict[str, Any]:
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    record: dict[str, Any] = json.loads((checkpoint / "record.json").read_text())
    return record


@pytest.mark.parametrize("count", [1, 3])
def test_drawers_draw_in_order_whatever_their_number(count: int) -> None:
    with Drawers(draw_arrays, count, JOBS) as drawers:
        for job in JOBS:
            expected = draw_arrays(*job)
            drawn = drawers.take(lambda arrays: {key: array.copy() for key, array in arrays.items()})
            assert drawn is not None
            assert drawn.keys() == expected.keys()
            for key, array in expected.items():
                assert drawn[key].dtype == array.dtype
                np.testing.assert_array_equal(drawn[key], array)
        assert drawers.take(dict) is None


def test_a_drawers_error_and_death_are_told() -> None:
    torn = [(70, 2), (0, 2)]
    with (
        Drawers(draw_arrays, 1, torn) as drawers,
        pytest.raises(InputError, match=r"sample 70 is torn\. Mend"),
    ):
        drawers.take(dict)
    with Drawers(draw_arrays, 1, [(0, 2)] * 9) as drawers:
        drawers.take(dict)
        process = drawers._processes[0].pid
        assert process is not None
        os.kill(process, signal.SIGKILL)
        with pytest.raises(PictorError, match="ended with code -9"):
            _ = [drawers.take(dict) for _ in range(9)]


def test_what_cannot_be_sent_to_drawers_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be drawn by other processes"):
        Drawers(lambda first, count: {}, 1, JOBS)


def test_drawers_train_the_same_weights(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "thread")
    train(recipe, tmp_path / "drawers", drawers=1)
    files = [next((tmp_path / run).glob("checkpoints/*/model.safetensors")) for run in ("thread", "drawers")]
    assert files[0].read_bytes() == files[1].read_bytes()


class Numbers(LineFit):
    """Notes which numbers it computes in."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.kinds: set[tuple[str, Any]] = set()

    def loss(self, batch: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        out = self.module(batch["x"])
        self.kinds.add(("loss", out.dtype))
        error = (out.float() - (3 * batch["x"] - 1)).square().mean()
        return error, {"error": error.detach()}

    def validate(self) -> dict[str, float]:
        self.kinds.add(("validate", self.module(torch.zeros(4, 1)).dtype))
        return super().validate()


@pytest.mark.parametrize(("precision", "kind"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_the_computation_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: str, kind: Any
) -> None:
    objective, seen = Numbers(3), []
    monkeypatch.setattr(loop, "build", lambda table, seed: objective)
    outcome = train(_recipe(precision=precision), tmp_path / "run", on_progress=seen.append)
    assert objective.kinds == {("loss", kind), ("validate", kind)}
    assert {p.dtype for p in objective.module.parameters()} == {torch.float32}
    assert seen[-1].loss < seen[0].loss
    assert all(isinstance(p.figures["error"], float) for p in seen)
    assert outcome.finished


def test_a_length_is_measured_until_the_rate_falls_and_then_kept() -> None:
    """100 samples a second after a slow first step; 10 minutes in all, 2 of them spent by an earlier call."""
    recipe = _recipe(samples=10**9, fit_minutes=10)
    length = Length(recipe, None, 120.0)
    assert length.samples(0, 0.0) == 10**9
    progress = [length.samples(seen, elapsed) for seen, elapsed in ((16, 9.0), (208, 11.0), (1216, 21.0))]
    assert progress == [
        recipe.batch_size * round(s * 600 / e / 16) for s, e in ((16, 129), (208, 131), (1216, 141))
    ]
    measured = length.samples(2208, 31.0)
    assert measured == pytest.approx(2208 + 100 * (600 - 151), abs=16)
    assert measured % 16 == 0
    slower = length.samples(12_208, 231.0)
    assert slower == pytest.approx(12_208 + 12_000 / 220 * (600 - 351), abs=16)
    assert length.fitted is None
    fitted = length.samples(22_208, 431.0)
    assert length.samples(30_000, 600.0) == fitted == length.fitted
    assert Length(recipe, fitted, 151.0).samples(2208, 0.0) == fitted
    assert Length(_recipe(samples=500, fit_minutes=10), None, 0.0).samples(400, 1.0) == 500
    assert Length(_recipe(), None, 0.0).samples(50, 1e6) == 201


def test_speed_is_measured_over_a_while_after_a_long_wait() -> None:
    """The first look comes late: what the drawers had ready is no measure of them."""
    length = Length(_recipe(samples=10**9, fit_minutes=10), None, 0.0)
    length.samples(16, 60.0)
    early = length.samples(16_000, 61.0)
    assert length.fitted is None
    assert early == 16 * round(16_000 * 600 / 61 / 16)


def test_a_run_that_was_never_measured_ends_by_the_clock() -> None:
    length = Length(_recipe(samples=10**9, fit_minutes=1), None, 59.0)
    assert length.samples(1600, 0.5) > 1600
    assert length.samples(1600, 2.0) == 1600


def test_a_fitted_run_ends_in_time_and_goes_on_with_its_number(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step takes half a second by a clock that only steps move; 2 minutes are 240 steps."""
    ticks = [0.0]
    monkeypatch.setattr(session.time, "monotonic", lambda: ticks[0])

    def tick(progress: Progress) -> None:
        ticks[0] += 0.5
        seen.append(progress)

    seen: list[Progress] = []
    fitted = _recipe(samples=10**6, fit_minutes=2.0)
    outcome = train(fitted, tmp_path / "run", minutes=1.0, on_progress=tick, publish_unfinished=False)
    assert not outcome.finished
    assert outcome.model is None
    assert not (tmp_path / "run" / "model").exists()
    assert _record(tmp_path / "run")["fitted_samples"] is None
    assert _record(tmp_path / "run")["seconds"] == pytest.approx(60, abs=1)
    outcome = train(fitted, tmp_path / "run", resume=True, on_progress=tick)
    assert outcome.finished
    assert outcome.samples_seen == _record(tmp_path / "run")["fitted_samples"]
    assert outcome.samples_seen == pytest.approx(240 * 16, rel=0.02)
    assert ticks[0] == pytest.approx(120, abs=3)
    shares = [p.samples_seen / p.samples for p in seen]
    assert max(b - a for a, b in pairwise(shares[1:])) < 0.02  # no jump when it is fixed


class Parts(LineFit):
    """An objective with a frozen network beside the trained one."""

    def __init__(self) -> None:
        super().__init__(0)
        self.teacher = torch.nn.Linear(1, 1)
        self.alias = self.module


def test_all_networks_move_and_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    objective = Parts()
    assert networks(objective) == [objective.module, objective.teacher]
    move(objective, torch.device("meta"))
    assert {p.device.type for network in networks(objective) for p in network.parameters()} == {"meta"}
    assert beside({"x": torch.zeros(1)}, objective.module)["x"].device.type == "meta"
    compiled: list[Any] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled.append(self))
    compile_networks(objective)
    assert compiled == [*objective.module.children(), objective.teacher]


def test_a_recipe_asks_for_compilation(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(session, "compile_networks", asked.append)
    train(recipe, tmp_path / "plain", minutes=0.0)
    assert not asked
    train(recipe.model_copy(update={"compile": True}), tmp_path / "compiled", minutes=0.0)
    assert len(asked) == 1


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto", 1, 2) == torch.device("cuda", 1)
    assert choose_device("cpu", 1, 9).type == "cpu"
    with pytest.raises(InputError, match="3 processes on 2 GPUs"):
        choose_device("auto", 0, 3)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto", 1, 2).type == "cpu"
    with pytest.raises(InputError, match="on 0 GPUs"):
        choose_device("cuda")


def test_losses_are_read_late_and_never_lost(tmp_path: Path) -> None:
    """As on a GPU: several steps at one look, the first that is no number named."""
    watch = LossWatch(tmp_path)
    for step, value in enumerate([1.0, 2.0], 1):
        watch.note(step, 16 * step, 16 * step + 15, torch.tensor(value))
    assert watch.look() == 2.0
    for step, value in enumerate([3.0, float("inf"), float("nan")], 3):
        watch.note(step, 16 * step, 16 * step + 15, torch.tensor(value))
    with pytest.raises(PictorError, match=r"inf at step 4 \(samples 64 to 79\)"):
        watch.look()


def test_a_run_of_an_older_recipe_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    """Keys that its recipe.json does not know count as their defaults, and no others."""
    run = tmp_path / "run"
    train(recipe, run, minutes=0.0)
    stored = json.loads((run / "recipe.json").read_text())
    for key in ("precision", "compile", "fit_minutes"):
        del stored[key]
    (run / "recipe.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="another recipe"):
        train(recipe.model_copy(update={"precision": "bf16"}), run, resume=True)
    assert train(recipe, run, resume=True).finished
