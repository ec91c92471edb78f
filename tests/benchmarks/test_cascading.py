"""The cascade's benchmark, run once, tiny."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

pytest.importorskip("torch")
pytest.importorskip("diffusers")

from pictor.training.objectives import build

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


def test_both_are_measured_against_the_same_renders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base, model = tmp_path / "base", tmp_path / "model"
    base.mkdir()
    small = {"size": 32, "channels": [16, 32], "attention": 1, "head_width": 8, "num_steps": 2}
    build({"kind": "diffusion", **small}, 0).save_draft(base)
    large = {"channels": [16, 32], "size": 64, "crop": 16, "num_steps": 2}
    build({"kind": "cascade", "base": str(base), **large}, 0).save(model)
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["cascading.py", str(model), "--pictures", "3"])
    import_module("cascading").main()
    told = capsys.readouterr().out
    assert told.startswith("3 pictures of 64 px, 2 times enlarged")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines()[2:]]
    found = {row[0]: [float(cell) for cell in row[1:] if cell] for row in rows[2:]}
    psnr, sharpness, distance = zip(found["bicubic"], found["cascade"], strict=True)
    assert psnr[0] > psnr[1]  # it has learnt nothing
    assert sharpness[0] < 1 < sharpness[1]
    assert distance[0] < distance[1] < found["other renders"][0] * 100
