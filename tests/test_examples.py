"""Every example runs as it stands, and writes what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pictor.tasks.registry import all_verbs

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("file", EXAMPLES, ids=[file.stem for file in EXAMPLES])
def test_an_example_runs(file, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", str(file)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    written = re.findall(r'"([\w-]+\.(?:png|gif))"', file.read_text(encoding="utf-8"))
    assert written
    for name in written:
        with Image.open(tmp_path / name) as image:
            assert max(high - low for low, high in image.convert("RGB").getextrema()) > 20, name


def test_every_verb_has_an_example():
    assert {file.stem for file in EXAMPLES} >= set(all_verbs())
