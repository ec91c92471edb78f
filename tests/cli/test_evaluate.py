"""`pictor evaluate`: what is printed and written, and what is refused before any work is done."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFont

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

SMALL = ("--count", "1", "--kinds", "single", "--steps", "1")


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained judge: its figures mean nothing, and are there."""
    from pictor.training.objectives import build

    folder = tmp_path_factory.mktemp("judge")
    torch.manual_seed(0)
    objective = build({"kind": "judge", "size": 16, "drawn": [16], "stages": [[8, 2, 0], [8, 2, 0]]}, 0)
    objective.module.eval()
    objective.save(folder)
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    from pictor.evaluation import evaluate as module

    monkeypatch.setattr(module, "_LIBRARY", 40)
    monkeypatch.setattr(module, "_ANY", 10)
    monkeypatch.setattr(module, "_DIVERSE_PROMPTS", 1)


def test_a_table_a_document_and_a_page(room, run, judge, vivid_folder) -> None:  # type: ignore[no-untyped-def]
    code, out, err = run("evaluate", vivid_folder, *SMALL, "--judge", judge, "--out", "found", model=None)
    assert code == 0, err
    for words in (
        "seen compositions, English",
        "held out compositions, Chinese",
        "all correct",
        "FD",
        "Vendi",
    ):
        assert words in out
    for row in ("model", "real renders", "autoencoder", "retrieval", "shuffled captions"):
        assert f"\n{row}" in out
    # The tiny model names no book that it learnt from.
    assert "retrieval          not measured" in out
    assert "retrieval, memory: not measured" in out
    assert "shuffled captions  not measured" in out
    report = json.loads((room / "found" / "report.json").read_text("utf-8"))
    assert report["settings"]["num_steps"] == 1
    assert len(report["prompts"]) == 4
    assert "<h2>Samples</h2>" in (room / "found" / "report.html").read_text("utf-8")
    assert sorted(path.name for path in (room / "found").iterdir()) == ["report.html", "report.json"]
    assert "wrote" in err

    code, out, err = run("evaluate", vivid_folder, *SMALL, "--judge", judge, "--out", "found", model=None)
    assert code == 2
    assert "is there already" in err


def test_a_seed_names_the_book_of_a_model_that_names_none(room, run, judge, vivid_folder) -> None:  # type: ignore[no-untyped-def]
    options = ("--corpus-seed", "4", "--json", "--judge", judge)
    code, out, err = run("evaluate", vivid_folder, *SMALL, *options, model=None)
    assert code == 0, err
    report = json.loads(out)
    assert report["wish"]["trained_on"]["seed"] == 4
    assert report["memory"]["searched"] == "of the first 40 drawn for training; a run sees more"


def test_a_kind_that_the_models_book_lacks(room, run, judge, vivid_folder, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from pictor.data.picturebook import Mix
    from pictor.evaluation import training_book as module

    book = module.TrainingBook(mix=Mix(things=("grapes", "bread", "socks")))
    monkeypatch.setattr(module, "training_book", lambda folder: book)
    code, out, err = run(
        "evaluate", vivid_folder, "--kinds", "counted", "--count", "1", "--judge", judge, model=None
    )
    assert code == 2, err
    assert "'counted'" in err
    assert "--everything" in err
    assert "making" not in err
    assert not out


@pytest.fixture
def wordless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that reads no words and draws noise."""
    from pictor.engine import studio

    def generate(*, seed: int, count: int) -> list[SimpleNamespace]:
        noise = np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3), np.uint8)
        return [SimpleNamespace(image=Image.fromarray(picture)) for picture in noise]

    traits = SimpleNamespace(
        name="wordless", defaults=SimpleNamespace(size=(16, 16)), abilities=frozenset({"whole"})
    )
    bundle = SimpleNamespace(model_hash="0" * 64)
    made = SimpleNamespace(traits=traits, bundle=bundle, generate=generate)
    monkeypatch.setattr(studio, "load", lambda model, backend: made)


def test_of_a_model_that_reads_no_words_the_same_files_are_written(room, run, judge, wordless) -> None:  # type: ignore[no-untyped-def]
    code, out, err = run("evaluate", "--count", "1", "--judge", judge, "--out", "found", model=None)
    assert code == 0, err
    assert "would have to show something else" in out
    assert sorted(path.name for path in (room / "found").iterdir()) == ["report.html", "report.json"]
    assert "<h1>wordless</h1>" in (room / "found" / "report.html").read_text("utf-8")
    assert set(json.loads((room / "found" / "report.json").read_text("utf-8"))["missed"]) == {
        "model",
        "real renders",
    }


def test_too_many_pictures_of_a_wordless_model_are_told_as_the_count(room, run, judge, wordless) -> None:  # type: ignore[no-untyped-def]
    code, _, err = run("evaluate", "--count", "513", "--judge", judge, model=None)
    assert code == 2
    assert "count is 513" in err
    assert "from 1 to 512" in err
    assert "8208" not in err


def test_json_goes_to_stdout_alone(room, run, judge, vivid_folder) -> None:  # type: ignore[no-untyped-def]
    options = ("--solver", "heun", "--guidance", "2", "--seed", "5", "--json")
    code, out, err = run("evaluate", vivid_folder, *SMALL, *options, "--judge", judge, model=None)
    assert code == 0, err
    report = json.loads(out)
    assert report["settings"]["solver"] == "heun"
    assert report["settings"]["guidance_scale"] == 2
    assert report["wish"]["seed"] == 5
    assert not list(room.iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--count", "0"], "count is 0"),
        (["--kinds", "single,many"], "kinds is 'single, many'"),
        (["--kinds", ","], "kinds is 'empty'"),
        (["--seed", "-1"], "seed is -1"),
        (["--font", "none.ttf"], "none.ttf"),
        (["--font", "letters.ttf"], "without colour"),
        (["--steps", "0"], "steps"),
        (["--solver", "magic"], "magic"),
        (["--judge", "nowhere"], "nowhere holds no judge"),
        (["--out", "file/under"], "file is no folder"),
        (["--backend", "abacus"], "abacus"),
    ],
)
def test_bad_input(room, run, judge, vivid_folder, arguments, says) -> None:  # type: ignore[no-untyped-def]
    (room / "file").write_text("")
    if "letters.ttf" in arguments:
        (room / "letters.ttf").write_bytes(ImageFont.load_default(20).font_bytes)
    before = sorted(path.name for path in room.iterdir())
    code, out, err = run("evaluate", vivid_folder, *SMALL, "--judge", judge, *arguments, model=None)
    assert code == 2, err
    assert says in err
    assert "making" not in err
    assert not out
    assert sorted(path.name for path in room.iterdir()) == before


def test_a_model_that_is_not_there(room, run, judge) -> None:  # type: ignore[no-untyped-def]
    code, _, err = run("evaluate", "nowhere", *SMALL, "--judge", judge, model=None)
    assert code == 2
    assert "nowhere" in err


@pytest.mark.parametrize(
    "damage", ["no json", "another kind", "no classes", "fewer things", "no graph", "cut"]
)
def test_a_damaged_judge_is_named(room, run, judge, vivid_folder, damage) -> None:  # type: ignore[no-untyped-def]
    folder = Path(shutil.copytree(judge, room / "judge"))
    file = folder / "config.json"
    config = json.loads(file.read_text("utf-8"))
    if damage == "no json":
        file.write_text("{")
    elif damage == "another kind":
        file.write_text(json.dumps(config | {"kind": "oracle"}))
    elif damage == "no classes":
        del config["classes"]["style"]
        file.write_text(json.dumps(config))
    elif damage == "fewer things":
        del config["classes"]["thing"][3]
        file.write_text(json.dumps(config))
    elif damage == "no graph":
        (folder / "judge.onnx").unlink()
    else:
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-10])
    code, _, err = run("evaluate", vivid_folder, *SMALL, "--judge", folder, model=None)
    assert code == 2, err
    assert str(folder) in err
    assert "making" not in err


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, judge: Path, vivid_folder: Path) -> None:
    script = textwrap.dedent(f"""
        import sys
        from pictor.cli import main
        sys.exit(main(["evaluate", {str(vivid_folder)!r}, "--judge", {str(judge)!r}, "--out", "found"]))
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "making" in process.stderr.readline()
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not out
    assert not list(tmp_path.iterdir())


def test_the_python_code_of_the_page_runs(room, judge, capsys) -> None:  # type: ignore[no-untyped-def]
    page = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shutil.copytree(judge, room / "runs" / "judge" / "model")
    names: dict[str, object] = {}
    exec(code, names)
    assert "held out compositions, Chinese" in capsys.readouterr().out
    assert names["figures"]
