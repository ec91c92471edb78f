"""The loop: exact resume, honest stops, whole checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pictor.core.errors import Cancelled, InputError, PictorError

torch = pytest.importorskip("torch")

from line_fit import LineFit
from safetensors.torch import load_file, save_file

from pictor.training import loop
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.loop import train
from pictor.training.recipe import Recipe
from pictor.training.terms import Progress


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(loop, "build", lambda table, seed: LineFit(seed, table.get("poison")))
    options = {"learning_rate": 0.02}
    return Recipe(
        name="line", seed=3, samples=1001, batch_size=16, optimiser=options, objective={"kind": "line"}
    )  # type: ignore[arg-type]


def _weights(run: Path) -> dict[str, bytes]:
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    files = ["model.safetensors", "optimiser.safetensors", "average-0.safetensors", "average-1.safetensors"]
    return {name: (checkpoint / name).read_bytes() for name in files}


def test_training_learns_and_reports(recipe: Recipe, tmp_path: Path) -> None:
    seen: list[Progress] = []
    outcome = train(recipe, tmp_path / "run", on_progress=seen.append)
    assert outcome.finished
    assert outcome.samples_seen == 1001
    assert outcome.figures["held_out"] < 0.01 < seen[0].loss
    assert [p.samples_seen for p in seen[-2:]] == [992, 1001]
    assert (outcome.model / "weight.pt").is_file()
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    assert '"validation"' in (tmp_path / "run" / "log.jsonl").read_text()


@pytest.mark.parametrize("stops", [[1], [5, 6, 40]])
def test_a_stopped_run_ends_with_the_same_weights(recipe: Recipe, tmp_path: Path, stops: list[int]) -> None:
    train(recipe, tmp_path / "whole")
    for number, stop in enumerate(stops):
        steps = iter(range(1, 10_000))
        done = stops[number - 1] if number else 0
        with pytest.raises(Cancelled, match="--resume"):
            train(
                recipe,
                tmp_path / "parts",
                resume=number > 0,
                should_stop=lambda steps=steps, stop=stop, done=done: next(steps) == stop - done,
            )
    train(recipe, tmp_path / "parts", resume=True)
    assert _weights(tmp_path / "whole") == _weights(tmp_path / "parts")


def test_a_minute_bound_ends_early_and_can_go_on(recipe: Recipe, tmp_path: Path) -> None:
    outcome = train(recipe, tmp_path / "run", minutes=0.0)
    assert not outcome.finished
    assert outcome.samples_seen == 16
    assert train(recipe, tmp_path / "run", resume=True).finished


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_killed_again_and_again_the_run_goes_on_exactly_and_loses_no_checkpoint() -> None:
    """SIGKILL at random moments, and while checkpoints are written; the docs tell of PICTOR_KILLS=20."""
    kills = int(os.environ.get("PICTOR_KILLS", "4"))
    script = Path(__file__).parents[2] / "benchmarks" / "killing.py"
    command = [sys.executable, str(script), "--kills", str(kills)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["at_random"]["equal"]
    reached = found["at_random"]["reached"]
    assert len(reached) == kills
    assert reached == sorted(reached)
    assert reached[-1] > reached[0]
    saving = found["while_saving"]
    assert saving["half_written"] == kills
    assert saving["loaded"] == saving["kills"]


def test_no_number_stops_with_step_and_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    poisoned = recipe.model_copy(update={"objective": {"kind": "line", "poison": 100}})
    with pytest.raises(PictorError, match=r"loss is nan at step 7 \(samples 96 to 111\)"):
        train(poisoned, tmp_path / "run")


def test_another_recipe_or_a_second_start_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "run", minutes=0.0)
    before = _weights(tmp_path / "run")
    with pytest.raises(InputError, match="has a checkpoint already"):
        train(recipe, tmp_path / "run")
    with pytest.raises(InputError, match="another recipe"):
        train(recipe.model_copy(update={"seed": 4}), tmp_path / "run", resume=True)
    assert _weights(tmp_path / "run") == before


def test_a_damaged_checkpoint_is_named_and_a_half_written_one_ignored(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(recipe, run, minutes=0.0)
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    half = run / "checkpoints" / "000000000999"
    shutil.copytree(checkpoint, half)
    (half / "record.json").unlink()
    assert latest_checkpoint(run / "checkpoints") == checkpoint
    (checkpoint / "optimiser.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="cannot be read"):
        train(recipe, run, resume=True)


def test_a_full_disk_keeps_the_last_checkpoint(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pictor.training import checkpoints

    run = tmp_path / "run"
    train(recipe, run, minutes=0.0)
    before = _weights(run)

    def full(temporary: Path, final: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "publish", full)
    with pytest.raises(InputError, match="No space left"):
        train(recipe, run, resume=True)
    assert _weights(run) == before
    assert not list((run / "checkpoints").glob(".writing*"))


class Wide(LineFit):
    """Checkpoints of 48 kB a file, and a model of 100 kB."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.module = torch.nn.Sequential(torch.nn.Linear(1, 2000), torch.nn.Tanh(), torch.nn.Linear(2000, 1))

    def save(self, folder: Path) -> None:
        save_file({"weight": torch.zeros(25_000)}, folder / "weight.safetensors")


@pytest.mark.parametrize(
    ("room", "says"),
    [
        (30_000, "the checkpoint .* cannot be written"),
        (80_000, r"cannot be written \(Error while serializing"),
        (500, "File too large"),
    ],
)
def test_wherever_the_room_ends_one_error_says_so(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, says: str
) -> None:
    """Of a checkpoint, of the model, of the log: files that may not grow stand for the disk."""
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(loop, "build", lambda table, seed: Wide(seed))
    run = tmp_path / "run"
    train(recipe, run, minutes=0.0, publish_unfinished=False)
    before = _weights(run)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(InputError, match=says):
            train(recipe, run, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    if room < 80_000:
        assert _weights(run) == before
    assert not list((run / "checkpoints").glob(".writing*"))
    assert train(recipe, run, resume=True).finished


def test_saving_again_takes_no_checkpoint_away(recipe: Recipe, tmp_path: Path) -> None:
    """A run that is asked to go on after its end saves where it stands; killed then, it has what it had."""
    run = tmp_path / "run"
    train(recipe, run)
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    stamps = {file.name: file.stat().st_mtime_ns for file in checkpoint.iterdir()}
    assert train(recipe, run, resume=True).finished
    assert {file.name: file.stat().st_mtime_ns for file in checkpoint.iterdir()} == stamps


def test_parameters_have_their_own_rates(recipe: Recipe, tmp_path: Path) -> None:
    """With Adam's first step each weight moves by its own rate."""
    train(recipe.model_copy(update={"objective": {"kind": "line"}}), tmp_path / "run", minutes=0.0)
    torch.manual_seed(3)
    start = LineFit(3).module
    checkpoint = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None
    after = load_file(checkpoint / "model.safetensors")
    slow = (after["0.weight"] - start[0].weight.detach()).abs().max()
    fast = (after["2.weight"] - start[2].weight.detach()).abs().max()
    assert float(fast / slow) == pytest.approx(2.0, rel=0.02)
