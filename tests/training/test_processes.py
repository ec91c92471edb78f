"""Several processes train what one would: shares, sums, stops and failures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pictor.core.errors import Cancelled, InputError, PictorError

torch = pytest.importorskip("torch")

import team_work
from safetensors.torch import load_file

from pictor.training import loop
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.loop import train
from pictor.training.processes import Team, assembled
from pictor.training.recipe import Recipe
from pictor.training.terms import Progress

HERE = Path(__file__).parent


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(loop, "build", team_work.line)
    return Recipe(
        name="line",
        seed=3,
        samples=201,
        batch_size=16,
        optimiser={"learning_rate": 0.02},  # type: ignore[arg-type]
        objective={"kind": "line"},
    )


def _weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    files = sorted(checkpoint.glob("*.safetensors"))
    return {f"{file.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("count", [1, 2, 9, 64])
def test_shares_cover_a_batch_once(size: int, count: int) -> None:
    shares = [Team(rank, size).share(100, count) for rank in range(size)]
    covered = [i for first, n, weight in shares if weight for i in range(first, first + n)]
    assert covered == list(range(100, 100 + count))
    assert sum(weight for *_, weight in shares) == pytest.approx(1.0)
    sizes = [n for _, n, weight in shares if weight]
    assert max(sizes) - min(sizes) <= 1
    for _, n, weight in shares:
        assert weight == pytest.approx(n / count) or (weight == 0.0 and n == 1)


def test_sums_are_the_same_everywhere(tmp_path: Path) -> None:
    path = str(tmp_path / "sums")
    with assembled(3, team_work.shares, path) as team:
        team_work.shares(team, path)
    for rank in range(3):
        assert Path(f"{path}-{rank}").read_text() == "[6.0, 6.0, 6.0] 3.0 [2, 5]"


def test_two_processes_train_what_one_does_and_either_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    """The curve, the weights, the averages and Adam's moments; the last batch, of 9, is shared unevenly."""
    curves: dict[int, list[Progress]] = {1: [], 2: []}
    train(recipe, tmp_path / "one", on_progress=curves[1].append)
    threads = torch.get_num_threads()
    steps = iter(range(1, 100))
    with pytest.raises(Cancelled, match="--resume"):
        train(
            recipe,
            tmp_path / "mixed",
            processes=2,
            on_progress=curves[2].append,
            should_stop=lambda: next(steps) == 5,
        )
    assert torch.get_num_threads() == threads
    steps = iter(range(1, 100))
    with pytest.raises(Cancelled):
        train(
            recipe,
            tmp_path / "mixed",
            resume=True,
            on_progress=curves[2].append,
            should_stop=lambda: next(steps) == 3,
        )
    outcome = train(recipe, tmp_path / "mixed", processes=2, resume=True, on_progress=curves[2].append)
    assert outcome.finished
    assert [p.samples_seen for p in curves[2]] == [p.samples_seen for p in curves[1]]
    assert [p.loss for p in curves[2]] == pytest.approx([p.loss for p in curves[1]], rel=1e-4)
    one, mixed = _weights(tmp_path / "one"), _weights(tmp_path / "mixed")
    assert one.keys() == mixed.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(mixed[name], tensor, rtol=1e-4, atol=1e-6)
    lines = (tmp_path / "mixed" / "log.jsonl").read_text().splitlines()
    told = [(line["samples"], "validation" in line) for line in map(json.loads, lines)]
    assert len(told) == len(set(told))  # each process would tell the same
    assert told[-2:] == [(201, False), (201, True)]


@pytest.mark.parametrize(
    ("how", "says"),
    [("input", "picture 40 is torn"), ("defect", "by hand"), ("death", "process 1 ended with code 9")],
)
def test_a_failure_in_one_process_ends_all_with_its_error(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, says: str
) -> None:
    monkeypatch.setattr(loop, "build", team_work.failing)
    with pytest.raises(PictorError, match=says) as caught:
        train(recipe.model_copy(update={"objective": {"how": how}}), tmp_path / "run", processes=2)
    assert isinstance(caught.value, InputError) == (how == "input")
    assert not torch.distributed.is_initialized()


def test_no_number_in_any_share_is_seen(recipe: Recipe, tmp_path: Path) -> None:
    poisoned = recipe.model_copy(update={"objective": {"poison": 110}})  # in the second process's share
    with pytest.raises(PictorError, match=r"loss is nan at step 7 \(samples 96 to 111\)"):
        train(poisoned, tmp_path / "run", processes=2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"processes": 0}, "processes is 0"),
        ({"processes": 17}, "17 processes share batches of 16"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"drawers": -1}, "drawers is -1"),
    ],
)
def test_impossible_wishes_are_refused_first(
    recipe: Recipe, tmp_path: Path, options: dict[str, object], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        train(recipe, tmp_path / "run", **options)  # type: ignore[arg-type]


def test_processes_under_torchrun_are_refused(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(InputError, match="under torchrun"):
        train(recipe, tmp_path / "run", processes=2)
    monkeypatch.delenv("RANK")
    with pytest.raises(InputError, match="RANK is not"):
        train(recipe, tmp_path / "run")


SCRIPT = f"""
import sys
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]
import team_work
from pictor.training import loop
from pictor.cli import main
loop.build = team_work.line
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""

RECIPE = """
name = "line"
seed = 3
samples = 201
batch_size = 16
[optimiser]
learning_rate = 0.02
[objective]
kind = "line"
"""


def test_torchrun_trains_the_same(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "pictor.py").write_text(SCRIPT)
    (tmp_path / "line.toml").write_text(RECIPE)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*torchrun, "--no-python", sys.executable, "pictor.py", "train", "line.toml"],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=600,  # a busy machine takes long to import torch four times
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "runs/line/model\n"  # one voice
    train(recipe, tmp_path / "one")
    one, two = _weights(tmp_path / "one"), _weights(tmp_path / "runs" / "line")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_signal_to_all_saves_and_ends_all(tmp_path: Path) -> None:
    (tmp_path / "start.py").write_text(SCRIPT)
    (tmp_path / "line.toml").write_text(RECIPE.replace("201", "1000000"))
    process = subprocess.Popen(
        [sys.executable, "start.py", "train", "line.toml", "--processes", "2", "--drawers", "2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(600, process.kill)
    watchdog.start()
    assert process.stderr is not None
    process.stderr.readline()  # the first line of progress
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGTERM)
    _, err = process.communicate()
    watchdog.cancel()
    assert process.returncode == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    checkpoint = latest_checkpoint(tmp_path / "runs" / "line" / "checkpoints")
    assert checkpoint is not None
    assert json.loads((checkpoint / "record.json").read_text())["samples_seen"] > 0
    deadline = time.monotonic() + 10
    while _lives(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(process.pid)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
