"""The corpus as a folder: the same files whoever draws them, whole parts only, resumed, never mixed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image, ImageFont

from pictor.cli import main
from pictor.core.errors import Cancelled, InputError
from pictor.data.picturebook import Mix, is_held_out
from pictor.data.picturebook import folder as folder_module
from pictor.data.picturebook.folder import write_folder
from pictor.data.picturebook.font import find_font
from pictor.data.picturebook.scene import Item, Scene

try:
    find_font()
    FONT = True
except InputError:
    FONT = False
pytestmark = pytest.mark.skipif(not FONT, reason="no emoji font to draw the corpus from")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]


def test_pictures_and_records_agree(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "book", 12, size=32, workers=1)
    assert path == tmp_path / "book" / "metadata.jsonl"
    found = rows(tmp_path / "book")
    assert len(found) == 12
    for number, row in enumerate(found):
        assert row["file_name"] == f"00000/{number:07d}.png"
        with Image.open(tmp_path / "book" / str(row["file_name"])) as picture:
            assert picture.size == (32, 32)
        assert row["text"]
        assert str(row["text_en"]).isascii()
        assert not str(row["text_zh"]).isascii()
    assert {row["language"] for row in found} == {"en", "zh"}


def test_workers_and_interruptions_do_not_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_PART", 4)
    # Workers import the module afresh: parts are numbered by its own constant there.
    monkeypatch.setattr(folder_module, "ProcessPoolExecutor", _Here)
    write_folder(tmp_path / "one", 18, size=24)
    calls: list[int] = []

    def stop_after_two_parts() -> bool:
        return calls[-1] >= 8

    with pytest.raises(Cancelled, match="of 18"):
        write_folder(
            tmp_path / "two",
            18,
            size=24,
            on_progress=lambda done, count: calls.append(done),
            should_stop=stop_after_two_parts,
        )
    assert not (tmp_path / "two" / "metadata.jsonl").exists()
    (tmp_path / "two" / ".00004.123").mkdir()  # what a killed run leaves
    write_folder(tmp_path / "two", 18, size=24)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    write_folder(tmp_path / "three", 10, size=24)
    assert len(rows(tmp_path / "three")) == 10
    write_folder(tmp_path / "three", 18, size=24)
    assert digests(tmp_path / "one") == digests(tmp_path / "three")


class _Here:
    """Runs what is submitted at once, in this process."""

    def __init__(self, *arguments: object, **options: object) -> None:
        pass

    def submit(self, call, *arguments):  # type: ignore[no-untyped-def]
        from concurrent.futures import Future

        future: Future[int] = Future()
        future.set_result(call(*arguments))
        return future

    def shutdown(self, cancel_futures: bool) -> None:
        pass


def test_held_out_pictures_are_held_out(tmp_path: Path) -> None:
    write_folder(tmp_path / "book", 6, size=24, held_out=True, workers=1)
    for row in rows(tmp_path / "book"):
        items = tuple(Item(**entry) for entry in row["objects"])  # type: ignore[attr-defined]
        assert is_held_out(Scene(items, row["relation"], "white", False, "plain"))  # type: ignore[arg-type]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        write_folder(tmp_path / "full", 2, size=24)
    assert digests(tmp_path / "full").keys() == {"mine.txt"}
    write_folder(tmp_path / "book", 2, size=24, workers=1)
    before = digests(tmp_path / "book")
    with pytest.raises(InputError, match="another picturebook"):
        write_folder(tmp_path / "book", 2, size=24, seed=1)
    assert digests(tmp_path / "book") == before


@pytest.mark.parametrize("count", [3, 5, 8, 9])
def test_a_folder_that_holds_more_is_refused_and_nothing_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    monkeypatch.setattr(folder_module, "_PART", 4)
    monkeypatch.setattr(folder_module, "ProcessPoolExecutor", _Here)
    out = tmp_path / "book"
    write_folder(out, 10, size=24)
    before = digests(out)
    assert main(["data", "picturebook", "--out", str(out), "--size", "24", "--count", str(count)]) == 2
    said = capsys.readouterr().err
    assert f"holds 10 pictures, and count is {count}" in said
    assert "a count of at least 10" in said
    assert "Raise the count, or give another folder" in said
    assert digests(out) == before
    write_folder(out, 10, size=24)
    assert digests(out) == before


def test_a_folder_goes_on_with_its_own_font_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "ProcessPoolExecutor", _Here)
    out, font = tmp_path / "book", find_font()
    write_folder(out, 2, size=24, font=font)
    record = json.loads((out / "picturebook.json").read_text("utf-8"))
    assert record["font_sha256"] == hashlib.sha256(font.read_bytes()).hexdigest()
    moved, other = tmp_path / "moved.ttf", tmp_path / "other.ttf"
    moved.write_bytes(font.read_bytes())
    other.write_bytes(font.read_bytes() + b"0")
    write_folder(out, 3, size=24, font=moved)
    before = digests(out)
    with pytest.raises(InputError, match=r"another picturebook.*font"):
        write_folder(out, 4, size=24, font=other)
    assert digests(out) == before
    del record["font_sha256"]
    (out / "picturebook.json").write_text(json.dumps(record))
    write_folder(out, 4, size=24, font=other)
    assert json.loads((out / "picturebook.json").read_text("utf-8")) == record


def test_a_mix_without_such_scenes_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="natural=1"):
        write_folder(tmp_path / "book", 2, size=24, held_out=True, mix=Mix(natural=1, related=0))
    assert not (tmp_path / "book").exists()


def test_a_font_of_letters_is_one_error_and_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.ttf").write_bytes(ImageFont.load_default(20).font_bytes)
    out = tmp_path / "book"
    arguments = ["data", "picturebook", "--out", str(out), "--count", "2"]
    assert main([*arguments, "--font", str(tmp_path / "text.ttf")]) == 2
    said = capsys.readouterr().err
    assert "without colour" in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "book"
    arguments = ["data", "picturebook", "--out", str(out), "--size", "24", "--workers", "1", "--styled", "1"]
    assert main([*arguments, "--count", "3"]) == 0
    assert capsys.readouterr().out.strip() == str(out / "metadata.jsonl")
    assert all(row["style"] != "plain" or row["place"] for row in rows(out))


@pytest.mark.parametrize(
    "wrong",
    [
        ["--count", "0"],
        ["--count", "2", "--size", "8"],
        ["--count", "2", "--styled", "2"],
        ["--count", "2", "--font", "nowhere.ttf"],
        ["--count", "2", "--workers", "0"],
    ],
)
def test_bad_input_is_one_error_and_no_folder(
    tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "picturebook", "--out", str(tmp_path / "book"), *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "book").exists()
