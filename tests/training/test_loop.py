"""The loop: exact resume, honest stops, whole checkpoints."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from pictor.core.errors import Cancelled, InputError, PictorError

torch = pytest.importorskip("torch")

from line_fit import LineFit
from safetensors.torch import load_file

from pictor.training import loop
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.loop import Progress, train
from pictor.training.recipe import Recipe


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


def test_killed_while_running_the_run_goes_on_exactly(tmp_path: Path) -> None:
    """SIGKILL at some moments; the resumed run equals the uninterrupted one by its bytes."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from line_fit import LineFit
        from pathlib import Path
        from pictor.training import loop
        from pictor.training.recipe import Recipe
        loop.build = lambda table, seed: LineFit(seed)
        recipe = Recipe(
            name="line", seed=3, samples=4000, batch_size=16, checkpoint_minutes=0.0005, objective={{}}
        )
        print("ready", flush=True)
        loop.train(recipe, Path(sys.argv[1]), resume=True, on_progress=lambda p: time.sleep(0.002))
        """)
    )

    def start(run: Path) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, str(script), str(run)], stdout=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole")
    assert whole.communicate()[0] == "ready\n"
    assert whole.returncode == 0
    for delay in (0.10, 0.25, 0.4):
        process = start(tmp_path / "killed")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    last = start(tmp_path / "killed")
    last.communicate()
    assert last.returncode == 0
    assert _weights(tmp_path / "whole") == _weights(tmp_path / "killed")


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
