"""The GPU recipe rehearsed on a CPU: every stage, every stop, and what is carried away."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

pytest.importorskip("torch")

from pictor.training.checkpoints import latest_checkpoint
from pictor.training.objectives import autoencoder, caption_attributes
from pictor.training.parcels import join_parcels

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

FOLDER = Path(__file__).parents[2] / "recipes" / "picturebook-gpu"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("picturebook_gpu_run", FOLDER / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rehearsed(run: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A call that ends in the middle of a stage, and one that goes on to the end."""
    root = tmp_path_factory.mktemp("gpu")
    call = ["--state", str(root / "state"), "--out", str(root / "out"), "--scale", "tiny", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(caption_attributes, "_TOKENIZER_CAPTIONS", 1000)
        patch.setattr(autoencoder, "_FITTED", 200)
        assert run.main([*call, "--drawers", "0", "--minutes", "0.0001"]) == 0
        progress = json.loads((root / "out" / "progress.json").read_text())
        assert not progress["finished"]
        assert list(progress["stages"]) == ["text-attributes"]
        assert latest_checkpoint(root / "state" / "text-attributes" / "checkpoints") is not None
        assert not (root / "state" / "text-attributes" / "model").exists()
        assert run.main([*call, "--drawers", "0", "--minutes", "30"]) == 0
    return root


def test_all_stages_finish_on_a_fitted_clock(run: ModuleType, rehearsed: Path) -> None:
    progress = json.loads((rehearsed / "out" / "progress.json").read_text())
    assert progress["finished"]
    assert list(progress["stages"]) == list(run.STAGES)
    for stage in run.STAGES:
        checkpoint = latest_checkpoint(rehearsed / "state" / stage / "checkpoints")
        assert checkpoint is not None
        record = json.loads((checkpoint / "record.json").read_text())
        told = progress["stages"][stage]
        assert (
            record["samples_seen"]
            == told["samples"]
            == told["of"]
            < run.recipe_of(stage, rehearsed, True).samples
        )
        # On a machine so slow that its first steps take all the minutes, nothing is measured.
        assert record["fitted_samples"] in (told["samples"], None)


def test_a_finished_run_does_nothing_more(
    run: ModuleType, rehearsed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also into an empty OUT, as after a call whose files were lost."""
    call = ["--state", str(rehearsed / "state"), "--out", str(tmp_path / "out"), "--scale", "tiny"]
    assert run.main(call) == 0
    assert capsys.readouterr().out == "finished\n"
    for path in (rehearsed / "out").iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes()


def test_what_is_carried_away_draws_pictures(
    run: ModuleType, rehearsed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pictor

    files = list((rehearsed / "out").iterdir())
    assert len(files) <= 8
    assert all(path.stat().st_size <= 16 * 2**20 for path in files)
    assert run.main(["--join", str(rehearsed / "out"), "--into", str(tmp_path / "model")]) == 0
    folder = Path(capsys.readouterr().out.strip())
    picture = pictor.load(folder, backend="onnx").generate("a red apple", seed=1)[0]
    assert picture.image.size == (32, 32)
    assert picture.recipe.num_steps == 2  # the student's own
    logs = sorted(path.parent.name for path in folder.parent.glob("training/*/log.jsonl"))
    assert logs == sorted(run.STAGES)


def test_the_rehearsal_keeps_what_the_clock_and_the_gpu_depend_on(run: ModuleType, tmp_path: Path) -> None:
    for stage in run.STAGES:
        full, tiny = (run.recipe_of(stage, tmp_path, tiny) for tiny in (False, True))
        assert full.fit_minutes is not None
        assert full.precision == tiny.precision == "bf16"
        assert full.optimiser == tiny.optimiser
        assert full.objective.keys() <= tiny.objective.keys()
        assert not any("runs/" in str(value) for value in full.objective.values())
    assert sum(run.recipe_of(stage, tmp_path, False).fit_minutes for stage in run.STAGES) <= 20


def test_wrong_calls_are_one_clear_line(
    run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main(["--state", str(tmp_path)]) == 2
    assert "--out is missing" in capsys.readouterr().err
    assert run.main(["--join", str(tmp_path)]) == 2
    assert run.main(["--join", str(tmp_path), "--into", str(tmp_path / "model")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_stage_that_fails_or_ends_early_leaves_what_there_is(
    run: ModuleType, rehearsed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The denoiser is finished; the distillation fails, and then is asked for as far as it is.

    The last test: it does the end of the rehearsal again.
    """
    state, out = rehearsed / "state", tmp_path / "out"
    (state / "distillation" / "finished.json").unlink()
    shutil.rmtree(state / "distillation" / "model")
    call = ["--state", str(state), "--out", str(out), "--scale", "tiny", "--device", "cpu", "--drawers", "0"]
    with monkeypatch.context() as patch:
        patch.setattr(run, "train", _failing)
        with pytest.raises(RuntimeError):
            run.main(call)
    model = join_parcels(out, tmp_path / "denoiser") / "model"
    assert json.loads((model / "pictor.json").read_text())["defaults"]["num_steps"] > 2
    assert not json.loads((out / "progress.json").read_text())["finished"]
    assert run.main([*call, "--unfinished", "--minutes", "0"]) == 0
    model = join_parcels(out, tmp_path / "student") / "model"
    assert json.loads((model / "pictor.json").read_text())["defaults"]["num_steps"] == 2
    assert not list(model.rglob("*.onnx"))


def _failing(*args: object, **kwargs: object) -> None:
    raise RuntimeError("the GPU is gone")
