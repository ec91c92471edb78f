"""Captions for pictures that have none: those that have some keep them, and interrupted work goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictor.cli import main
from pictor.core.errors import Cancelled, InputError
from pictor.data.captioning import caption
from pictor.data.sources.registry import open_sources
from pictor.data.sources.source import Reading


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four plain pictures, one with captions, and one that is no picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (20, 16), (50 * number, 0, 0)).save(folder / f"{number}.png")
    (folder / "1.txt").write_text("dark red\nwine", encoding="utf-8")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def say(pixels: np.ndarray) -> str:
    assert pixels.shape == (16, 20, 3)
    return f"red {pixels[0, 0, 0]}"


def source(folder: Path):  # type: ignore[no-untyped-def]
    return open_sources([str(folder)], Reading())[0]


ROWS = [
    {"file_name": "0.png", "text": "red 0", "captioned": True},
    {"file_name": "1.png", "text": ["dark red", "wine"], "captioned": False},
    {"file_name": "2.png", "text": "red 100", "captioned": True},
    {"file_name": "3.png", "text": "red 150", "captioned": True},
]


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_every_picture_has_a_row(pictures, tmp_path):
    done = caption(source(pictures), tmp_path / "metadata.jsonl", say, by="test")
    assert rows(tmp_path / "metadata.jsonl") == ROWS
    assert (done.said, done.kept, list(done.left_out)) == (3, 1, ["broken.png"])


def test_again_replaces_captions(pictures, tmp_path):
    done = caption(source(pictures), tmp_path / "metadata.jsonl", say, by="test", again=True)
    assert (done.said, done.kept) == (4, 0)
    assert rows(tmp_path / "metadata.jsonl")[1]["text"] == "red 50"


def test_an_interrupted_call_goes_on(pictures, tmp_path):
    out, asked = tmp_path / "metadata.jsonl", []

    def remembered(pixels: np.ndarray) -> str:
        asked.append(int(pixels[0, 0, 0]))
        return say(pixels)

    with pytest.raises(Cancelled, match="stopped after 3 of 5"):
        caption(source(pictures), out, remembered, by="test", should_stop=lambda: len(asked) == 2)
    assert not out.exists()
    [draft] = tmp_path.glob(".metadata*.part")
    draft.write_bytes(draft.read_bytes() + b'{"file_name": "3.p')  # as a power cut leaves it
    done = caption(source(pictures), out, remembered, by="test")
    assert asked == [0, 100, 150]
    assert rows(out) == ROWS
    assert (done.said, done.kept) == (3, 1)
    assert not draft.exists()


def test_work_of_others_is_not_gone_on_with(pictures, tmp_path):
    out = tmp_path / "metadata.jsonl"
    with pytest.raises(Cancelled):
        caption(source(pictures), out, say, by="one", should_stop=lambda: True)
    for other in ({"by": "another"}, {"by": "one", "again": True}):
        with pytest.raises(InputError, match="was begun for"):
            caption(source(pictures), out, say, **other)
    caption(source(pictures), out, say, by="one")
    assert rows(out) == ROWS


def test_what_cannot_be_read_is_left_out_by_name(pictures, tmp_path):
    (pictures / "2.txt").write_bytes(b"caf\xe9")

    def particular(pixels: np.ndarray) -> str:
        if pixels[0, 0, 0] == 150:
            raise InputError("too small")
        return say(pixels)

    done = caption(source(pictures), tmp_path / "metadata.jsonl", particular, by="test")
    assert [row["file_name"] for row in rows(tmp_path / "metadata.jsonl")] == ["0.png", "1.png"]
    assert set(done.left_out) == {"2.png", "3.png", "broken.png"}


def test_a_source_without_files_has_no_metadata(pictures, tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        tar.add(pictures / "0.png", "0.png")
        tar.add(pictures / "1.txt", "0.txt")
    with pytest.raises(InputError, match="of the kind webdataset"):
        caption(source(tmp_path / "one.tar"), tmp_path / "metadata.jsonl", say, by="test")


def test_nothing_is_overwritten(pictures, tmp_path):
    out = tmp_path / "metadata.jsonl"
    out.write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        caption(source(pictures), out, say, by="test")
    assert out.read_text() == "mine"


def test_the_command_asks_the_models_own_encoders(pictures, seeing, capsys):
    (pictures / "broken.png").unlink()
    out = pictures / "metadata.jsonl"
    command = ["data", "caption", str(pictures), "--out", str(out), "--model", str(seeing)]
    assert main([*command, "--language", "fr"]) == 2
    assert "language is 'fr'" in capsys.readouterr().err
    assert main(command) == 0
    assert "3 captions made, 1 kept, 0 pictures left out" in capsys.readouterr().out
    # It has become the folder's metadata.
    records = list(source(pictures).source.records())
    assert records[1].captions == ("dark red", "wine")
    assert all(record.captions for record in records)
