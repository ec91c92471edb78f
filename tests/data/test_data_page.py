"""The commands and the code of docs/data.md do what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow")

from pictor.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real processes, a few seconds."""
    monkeypatch.chdir(tmp_path)
    for folder, count in (("pictures", 12), ("more", 3)):
        Path(folder).mkdir()
        for number in range(count):
            coarse = np.random.default_rng(number + 100 * count).integers(0, 256, (5, 5, 3), np.uint8)
            size = (64, 64) if number % 2 else (80, 48)
            Image.fromarray(coarse).resize(size).save(f"{folder}/{number}.png")
            Path(f"{folder}/{number}.txt").write_text("red, round")
    Path("pictures/99.png").write_bytes(b"")
    codes = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            codes.append(main([*shlex.split(line, comments=True)[1:], "--workers", "1"]))
    assert codes == [1, 0, 0, 0, 0]
    out = capsys.readouterr().out
    assert "99.png: cannot be read" in out
    assert "13 pictures: 12 prepared" in out
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(code, "docs/data.md", "exec"), names)
    batch, again = names["batch"], names["again"]
    assert len(batch) == 8  # type: ignore[arg-type]
    np.testing.assert_array_equal(batch[5].pixels, again.pixels)  # type: ignore[attr-defined, index]
    for name in ("prepared.json", "manifest.parquet", "left-out.jsonl", "shards", "parts"):
        assert Path("prepared", name).exists()
        assert f"`{name}" in PAGE
