"""What a run leaves to be looked at: previews, calls, trackers, and the lock that tells that it goes on."""

from __future__ import annotations

import getpass
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pictor.core.errors import Cancelled, InputError, PictorError

torch = pytest.importorskip("torch")

from line_fit import LineFit
from PIL import Image

from pictor.training import journal as journal_module
from pictor.training import loop, trackers
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.journal import Journal
from pictor.training.lock import is_held
from pictor.training.loop import train
from pictor.training.objectives import ShowsPictures
from pictor.training.previews import PreviewTimes
from pictor.training.recipe import Recipe
from pictor.training.trackers import Subject, chosen_trackers

PROMPTS = ("a red cat", "a blue dog")
SOON = 1e-7
"""Minutes: after every step."""


class Shows(LineFit):
    """Learns a line, and shows the pictures of a model that is always the same."""

    model: Path
    broken = False

    def save_draft(self, folder: Path) -> None:
        torch.rand(7)  # loading some networks draws numbers
        if self.broken:
            raise OSError("the disk is full")
        shutil.copytree(self.model, folder, dirs_exist_ok=True)

    def save(self, folder: Path) -> None:
        shutil.copytree(self.model, folder, dirs_exist_ok=True)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tiny_folder: Path) -> Recipe:
    monkeypatch.setattr(Shows, "model", tiny_folder, raising=False)
    monkeypatch.setattr(loop, "build", lambda table, seed: Shows(seed))
    options: Any = {"learning_rate": 0.02}
    return Recipe(
        name="line", samples=64, batch_size=16, optimiser=options, preview_prompts=PROMPTS, objective={}
    )


def lines(run: Path, name: str = "log.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / name).read_text().splitlines()]


def weights(run: Path) -> bytes:
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    return (checkpoint / "model.safetensors").read_bytes()


def test_previews_change_nothing_of_what_is_learnt(recipe: Recipe, tmp_path: Path) -> None:
    often = recipe.model_copy(update={"preview_minutes": SOON})
    train(often, tmp_path / "seen")
    train(recipe.model_copy(update={"preview_minutes": 0.0}), tmp_path / "unseen")
    assert weights(tmp_path / "seen") == weights(tmp_path / "unseen")
    assert not (tmp_path / "unseen" / "previews").exists()
    assert not (tmp_path / "seen" / ".preview-model").exists()
    told = [line["preview"] for line in lines(tmp_path / "seen") if "preview" in line]
    assert told[-1] == "000000000064.png"
    assert len(told) == 4
    for name in told:
        file = tmp_path / "seen" / "previews" / name
        facts = json.loads(file.with_suffix(".json").read_text())
        assert facts["prompts"] == list(PROMPTS)
        assert facts["samples"] == int(file.stem)
        with Image.open(file) as image:
            assert image.width > 2 * facts["size"][0]
            assert image.height == facts["size"][1]


def test_previews_are_the_same_where_a_run_went_on(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "whole")
    with pytest.raises(Cancelled):
        train(recipe, tmp_path / "parts", should_stop=lambda: True)
    train(recipe, tmp_path / "parts", resume=True)
    ends = [tmp_path / name / "previews" / "000000000064.png" for name in ("whole", "parts")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_previews_are_due_by_training_time_of_all_calls(recipe: Recipe) -> None:
    every_minute = recipe.model_copy(update={"preview_minutes": 1.0})
    times = PreviewTimes(every_minute, Shows(0), 0.0)
    assert [times.due(s) for s in (30.0, 61.0, 62.0, 119.0, 120.0, 500.0, 501.0)] == [
        False, True, False, False, True, True, False,
    ]  # fmt: skip
    assert not PreviewTimes(every_minute, Shows(0), 90.0).due(119.0)
    assert PreviewTimes(every_minute, Shows(0), 90.0).due(120.0)
    assert not PreviewTimes(every_minute, LineFit(0), 0.0).due(1e9)
    assert not isinstance(LineFit(0), ShowsPictures)


def test_a_preview_that_fails_is_named_and_the_run_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Shows, "broken", True)
    outcome = train(recipe.model_copy(update={"preview_minutes": SOON}), tmp_path / "run")
    assert outcome.finished
    found = [line for line in lines(tmp_path / "run") if "problem" in line]
    assert found[0]["problem"] == "preview: OSError: the disk is full"
    assert found[0]["samples"] == 16


def test_calls_tell_when_and_on_what(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Cancelled):
        train(recipe, run, should_stop=lambda: True)
    train(recipe, run, resume=True)
    first, stopped, second, ended = lines(run, "calls.jsonl")
    assert first["started"] <= stopped["ended"] <= second["started"] <= ended["ended"]
    assert first["run"] == second["run"]
    assert first["cores"] >= 1
    assert first["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert (stopped["ended_by"], stopped["samples"], stopped["of"]) == ("stop", 16, 64)
    assert (ended["ended_by"], ended["samples"]) == ("return", 64)
    text = (run / "calls.jsonl").read_text()
    assert str(tmp_path) not in text
    assert f'"{getpass.getuser()}"' not in text


def test_an_error_ends_the_call_by_its_name(recipe: Recipe, tmp_path: Path) -> None:
    def failing(_progress: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(recipe, tmp_path / "run", on_progress=failing)
    assert lines(tmp_path / "run", "calls.jsonl")[-1]["ended_by"] == "ZeroDivisionError"


def test_nobody_else_trains_in_the_folder_meanwhile(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert is_held(run) is None
    seen: list[bool | None] = []

    def meanwhile(_progress: object) -> None:
        if not seen:
            seen.append(is_held(run))
            with pytest.raises(InputError, match="being trained by another process"):
                train(recipe, run)

    train(recipe, run, on_progress=meanwhile)
    assert [*seen, is_held(run)] == [True, False]


def test_what_is_watched_may_change_when_a_run_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(recipe, run, minutes=0.0)
    train(recipe.model_copy(update={"preview_minutes": 0.0}), run, resume=True)
    assert json.loads((run / "recipe.json").read_text())["preview_minutes"] == 0.0


class Notes:
    """A tracker that remembers, and fails at the second figures if so wished."""

    def __init__(self, fails: bool = False) -> None:
        self.fails, self.told, self.closed = fails, [], []

    def figures(self, samples: int, values: Mapping[str, float]) -> None:
        if self.fails and self.told:
            raise ConnectionError("no network")
        self.told.append((samples, dict(values)))

    def picture(self, samples: int, name: str, file: Path) -> None:
        self.told.append((samples, name))

    def close(self, *, whole: bool) -> None:
        self.closed.append(whole)


def test_trackers_are_told_what_the_log_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = Notes(), Notes(fails=True)
    monkeypatch.setattr(journal_module, "open_tracker", lambda name, _: {"good": good, "bad": bad}[name])
    subject = Subject(run=tmp_path, name="line", identity="0", recipe={}, samples=0)
    with Journal(tmp_path / "log.jsonl") as journal:
        journal.open_trackers(["good", "bad"], subject)
        journal.at(16, 1)
        journal.figures({"loss": 2.0})
        journal.at(32, 2)
        journal.validation({"held_out": 1.0})
        journal.preview(tmp_path / "x.png", 1.0)
    assert good.told == [(16, {"loss": 2.0}), (32, {"validation/held_out": 1.0}), (32, "preview")]
    assert good.closed == [True]
    assert bad.closed == [False]
    problems = [line["problem"] for line in lines(tmp_path) if "problem" in line]
    assert problems == ["tracker bad: ConnectionError: no network"]


def test_a_tracker_that_was_asked_for_has_to_be_there(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda package: None)
    assert chosen_trackers(()) == []
    with pytest.raises(InputError, match="pip install wandb"):
        train(recipe.model_copy(update={"track": ("wandb",)}), tmp_path / "run")
    with pytest.raises(InputError, match="one of mlflow, tensorboard, wandb"):
        chosen_trackers(("neptune",))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(trackers, "find_spec", lambda package: object())
    assert chosen_trackers(("wandb",)) == ["wandb", "tensorboard"]


def test_one_that_cannot_begin_is_an_error_where_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(name: str, subject: Subject) -> Notes:
        raise RuntimeError("not logged in")

    monkeypatch.setattr(journal_module, "open_tracker", refuse)
    subject = Subject(run=tmp_path, name="line", identity="0", recipe={}, samples=0)
    with Journal(tmp_path / "log.jsonl") as journal:
        journal.open_trackers(["tensorboard"], subject)
        with pytest.raises(PictorError, match="wandb cannot begin: RuntimeError: not logged in"):
            journal.open_trackers(["wandb"], subject)
    assert "tracker tensorboard" in lines(tmp_path)[0]["problem"]


def test_tensorboard_reads_its_files(recipe: Recipe, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(recipe, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert events.Scalars("loss")[-1].step == 64
    assert "validation/held_out" in events.Tags()["scalars"]
    assert events.Tags()["images"] == ["preview"]
