"""The README's commands and code do what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
MAKING = README.split("## Making pictures")[1].split("\n## ")[0]
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", MAKING, re.DOTALL) for line in block.splitlines() if line
]


def test_the_commands_run_in_order(tmp_path: Path) -> None:
    assert len(COMMANDS) >= 5
    for command in COMMANDS:
        words = shlex.split(command)
        assert words[0] == "pictor"
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert done.stdout
    for name in ("cat.png", "cats.png", "house.png", "house-frames.png", "house-frames.gif"):
        assert (tmp_path / name).stat().st_size > 1000


def test_the_python_code_runs(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "car-3.png").is_file()
    assert (tmp_path / "car-4.png").is_file()


def test_what_the_readme_shows_is_there() -> None:
    root = Path(__file__).parents[1]
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    for link in links:
        assert (root / link).exists(), link
    for recipe in re.findall(r"recipes/\S+\.toml", README):
        assert (root / recipe).is_file(), recipe


@pytest.mark.skipif(os.name == "nt", reason="the scripts are for a Unix shell")
def test_the_two_commands_are_those_that_ci_runs() -> None:
    root = Path(__file__).parents[1]
    assert "scripts/test" in README
    assert "scripts/test" in (root / ".ci" / "run").read_text(encoding="utf-8")
    assert os.access(root / "scripts" / "test", os.X_OK)
