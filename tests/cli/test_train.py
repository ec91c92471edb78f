"""`pictor train`: exit codes, streams, and stopping without loss."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from pictor.cli import _train_lines, main

pytest.importorskip("torch")

from line_fit import LineFit

from pictor.training import loop

RECIPE = """
name = "line"
samples = 320
batch_size = 16
[optimiser]
learning_rate = 0.02
[objective]
kind = "line"
"""


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop, "build", lambda table, seed: LineFit(seed))
    (tmp_path / "line.toml").write_text(RECIPE)
    return tmp_path


def test_the_model_goes_to_stdout_the_rest_to_stderr(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "line.toml"]) == 0
    out, err = capsys.readouterr()
    assert out == "runs/line/model\n"
    assert "320/320" in err or "320 samples, finished" in err
    assert (room / "runs" / "line" / "model" / "weight.pt").is_file()


def test_json_and_another_folder(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "line.toml", "--run", "elsewhere", "--minutes", "0.00001", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples_seen"] == 16
    assert not report["finished"]
    assert main(["train", "line.toml", "--run", "elsewhere", "--resume", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["finished"]


def test_a_terminal_shows_a_bar_and_keeps_none_of_it(
    room: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(_train_lines, "_FRAME_SECONDS", 0.0)
    monkeypatch.setattr(_train_lines, "_SETTLED", 0.0)
    assert main(["train", "line.toml"]) == 0
    out, err = capsys.readouterr()
    assert out == "runs/line/model\n"
    assert "320/320" in err
    assert "\x1b[?25l" in err  # the cursor is hidden, and shown again
    assert err.count("\x1b[?25h") >= err.count("\x1b[?25l")
    [measured] = [line for line in err.splitlines() if "measured:" in line]
    assert "samples/s" in measured
    assert "GB of memory at most so far" in measured
    assert "to go" in measured


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.toml"], "does not exist"),
        (["line.toml", "--minutes", "0"], "minutes is 0"),
        (["line.toml", "--minutes", "nan"], "minutes is nan"),
        (["bad.toml"], "optimiser.rate"),
        (["."], "cannot be read"),
    ],
)
def test_bad_input(room: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    (room / "bad.toml").write_text(RECIPE.replace("learning_rate", "rate"))
    assert main(["train", *arguments]) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert err.count("\n") == 1
    assert not out
    assert not (room / "runs").exists()


def test_a_second_start_is_refused(room: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "line.toml"]) == 0
    capsys.readouterr()
    assert main(["train", "line.toml"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "line.toml").write_text(RECIPE.replace("320", "1000000"))
    script = textwrap.dedent(f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from line_fit import LineFit
        from pictor.training import loop
        from pictor.cli import main
        loop.build = lambda table, seed: LineFit(seed)
        print("ready", flush=True)
        sys.exit(main(["train", "line.toml"]))
    """)
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    log = tmp_path / "runs" / "line" / "log.jsonl"
    deadline = time.monotonic() + 60
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    _, err = process.communicate()
    watchdog.cancel()
    assert process.returncode == 130, err
    assert "--resume" in err
    assert "Traceback" not in err
    assert [path.name for path in (tmp_path / "runs" / "line" / "checkpoints").iterdir()]
