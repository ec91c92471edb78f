"""Each kind of source: told from others by what is there, read in a stable order, from any number on."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictor.core.errors import InputError
from pictor.data.sources.registry import all_records, open_sources
from pictor.data.sources.source import Reading, Record


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (shade, 10, 20)).save(buffer, "PNG")
    return buffer.getvalue()


def make_folder(place: Path) -> Path:
    (place / "inner").mkdir(parents=True)
    for number, name in enumerate(("b.png", "a.PNG", "inner/c.png")):
        (place / name).write_bytes(png(number))
    (place / "a.txt").write_text("one\n\n another \n", encoding="utf-8")
    (place / "inner" / "c.txt").write_bytes("\ufeffäpfel".encode())
    (place / "README.txt").write_text("not a caption")
    (place / ".hidden.png").write_bytes(b"")
    return place


def make_lines(place: Path) -> Path:
    place.mkdir()
    rows = [
        {"file_name": "a.png", "text": "an apple", "license": "CC0"},
        {"file_name": "b.png", "text": ["a bear", "an animal"], "text_zh": "熊"},
        {"file_name": "c.png", "text": None, "text_zh": "猫"},
    ]
    for number, row in enumerate(rows):
        (place / str(row["file_name"])).write_bytes(png(number))
    (place / "metadata.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return place


def make_csv(place: Path) -> Path:
    place.mkdir()
    for number, name in enumerate("abc"):
        (place / f"{name}.png").write_bytes(png(number))
    (place / "metadata.csv").write_text(
        'file_name,caption\na.png,"an apple, red\nand round"\nb.png,a bear\nc.png,\n', encoding="utf-8"
    )
    return place


def make_tar(place: Path) -> Path:
    place.mkdir()
    number = 0
    for shard in ("0000.tar", "0001.tar"):
        with tarfile.open(place / shard, "w") as tar:
            for name, data in (
                ("x/00.png", png(number)),
                ("x/00.txt", b"first line\nsecond line"),
                ("x/00.json", json.dumps({"caption": "unused", "license": "CC-BY"}).encode()),
                ("x/01.json", json.dumps({"captions": ["from", "json"]}).encode()),
                ("x/01.png", png(number + 1)),
                ("x/notes.md", b"something else"),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        number += 2
    return place


def make_parquet(place: Path, embedded: bool = True) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    place.mkdir()
    cells: list[object] = []
    for number in range(300):
        (place / "files").mkdir(exist_ok=True)
        (place / "files" / f"{number}.png").write_bytes(png(number % 256))
        cells.append({"bytes": png(number % 256), "path": None} if embedded else f"files/{number}.png")
    table = pa.table({"image": cells, "caption": [f"number {number}" for number in range(300)]})
    parquet.write_table(table.slice(0, 200), place / "part-0.parquet", row_group_size=150)
    parquet.write_table(table.slice(200), place / "part-1.parquet")
    return place


def records(*given: str | Path, reading: Reading | None = None) -> list[Record]:
    return list(all_records(open_sources([str(place) for place in given], reading)))


def shades(found: list[Record]) -> list[int]:
    """What the pictures show, opened from a pickled record as other processes open them."""
    opened = [Image.open(io.BytesIO(pickle.loads(pickle.dumps(record)).read())) for record in found]
    return [int(np.asarray(picture)[0, 0, 0]) for picture in opened]


def test_a_folder_with_texts(tmp_path: Path) -> None:
    found = records(make_folder(tmp_path / "pics"), reading=Reading(licence="mine"))
    assert [(record.key, record.captions) for record in found] == [
        ("a.PNG", ("one", "another")),
        ("b.png", ()),
        ("inner/c.png", ("äpfel",)),
    ]
    assert shades(found) == [1, 0, 2]
    assert {(record.source, record.licence) for record in found} == {("pics", "mine")}


def test_metadata_lines(tmp_path: Path) -> None:
    place = make_lines(tmp_path / "pics")
    found = records(place, reading=Reading(licence="mine"))
    assert [record.captions for record in found] == [("an apple",), ("a bear", "an animal"), ()]
    assert [record.licence for record in found] == ["CC0", "mine", "mine"]
    assert shades(found) == [0, 1, 2]
    both = records(place / "metadata.jsonl", reading=Reading(captions=("text_zh", "text")))
    assert [record.captions for record in both] == [("an apple",), ("熊", "a bear", "an animal"), ("猫",)]


def test_metadata_cells(tmp_path: Path) -> None:
    found = records(make_csv(tmp_path / "pics"))
    assert [record.captions for record in found] == [("an apple, red\nand round",), ("a bear",), ()]
    assert shades(found) == [0, 1, 2]


def test_tar_shards(tmp_path: Path) -> None:
    found = records(make_tar(tmp_path / "shards"))
    assert [record.key for record in found] == [
        f"000{shard}.tar/x/0{number}" for shard in (0, 1) for number in (0, 1)
    ]
    assert [record.captions for record in found[:2]] == [("first line", "second line"), ("from", "json")]
    assert [record.licence for record in found[:2]] == ["CC-BY", ""]
    assert shades(found) == [0, 1, 2, 3]
    assert [record.key for record in records(tmp_path / "shards" / "0001.tar")] == ["x/00", "x/01"]


@pytest.mark.parametrize("embedded", [True, False])
def test_parquet(tmp_path: Path, embedded: bool) -> None:
    found = records(make_parquet(tmp_path / "rows", embedded))
    assert [record.captions for record in found] == [(f"number {number}",) for number in range(300)]
    assert found[201].key == "part-1.parquet/0000001"
    assert shades(found) == [number % 256 for number in range(300)]
    some = [299, 5, 4, 149, 150]
    assert shades([found[number] for number in some]) == [number % 256 for number in some]


def test_a_saved_data_set(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": png(n), "path": None} for n in range(3)], "text": ["a", "b", "c"]}
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    one = datasets.Dataset.from_dict(rows, features=features)
    one.save_to_disk(str(tmp_path / "one"))
    found = records(tmp_path / "one")
    assert [record.captions for record in found] == [("a",), ("b",), ("c",)]
    assert shades(found) == [0, 1, 2]
    datasets.DatasetDict({"left": one, "right": one}).save_to_disk(str(tmp_path / "two"))
    with pytest.raises(InputError, match=r"no split 'train'.*left, right"):
        open_sources([str(tmp_path / "two")])
    assert len(records(tmp_path / "two", reading=Reading(split="left"))) == 3


MAKERS = [make_folder, make_lines, make_csv, make_tar, make_parquet]


@pytest.mark.parametrize("make", MAKERS)
def test_records_from_any_number_on(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    source = open_sources([str(make(tmp_path / "pics"))])[0].source
    whole = list(source.records())
    assert len(source) == len(whole) == len({record.key for record in whole})
    for first in {0, 1, 2, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 3}:
        assert list(source.records(first)) == whole[first:]


def test_several_sources_with_weights(tmp_path: Path) -> None:
    first, second = make_folder(tmp_path / "a" / "train"), make_lines(tmp_path / "b_train")
    third = make_csv(tmp_path / "b" / "train") if (tmp_path / "b").mkdir() is None else None
    opened = open_sources([f"{first}:2.5", str(second), f"{third}:3"])
    assert [entry.name for entry in opened] == ["a/train", f"{tmp_path.name}/b_train", "b/train"]
    assert [entry.weight for entry in opened] == [Fraction(5, 2), Fraction(1), Fraction(3)]
    assert [entry.kind for entry in opened] == ["folder", "imagefolder", "imagefolder"]
    assert len(list(all_records(opened))) == 9
    strange = make_lines(tmp_path / "really:2")
    assert [entry.weight for entry in open_sources([str(strange)])] == [1]


def test_what_is_wrong_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def error(*given: str, **reading: object) -> str:
        with pytest.raises(InputError) as caught:
            records(*given, reading=Reading(**reading))  # type: ignore[arg-type]
        return str(caught.value)

    assert "there is no nothing" in error("nothing")
    (tmp_path / "empty").mkdir()
    assert "is empty; expected" in error("empty")
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a.mp4").touch()
    assert "1 of .mp4; expected" in error("films")
    folder = make_folder(tmp_path / "pics")
    assert "is given twice" in error("pics", str(folder))
    assert "weight of pics is 0" in error("pics:0")
    assert "weight of pics is 0.25" in error("pics:0.25")
    assert "--caption-column is given, but folder has none" in error("pics", captions=("text",))
    assert "--split is given" in error("pics", split="train")
    (folder / "inner" / "gone.txt").write_text("a caption")
    assert "not there: inner/gone.txt" in error("pics")
    (folder / "inner" / "gone.txt").unlink()
    (folder / "a.jpg").write_bytes(b"")
    assert "two pictures of one name, a.PNG and a.jpg" in error("pics")
    (folder / "a.jpg").unlink()
    (folder / "a.txt").write_bytes(b"\xff\xfe")
    assert records("pics")[0].flaw == "its caption is no UTF-8 (byte 0)"
    lines = make_lines(tmp_path / "lines")
    assert "no column 'words'; expected one of its columns file_name, text, license, text_zh" in error(
        "lines", captions=("words",)
    )
    make_lines(tmp_path / "pics" / "nested")
    assert "pics/nested" in error("pics")
    (lines / "0.tar").write_bytes(b"")
    assert "tar shards" in error("lines")
    (lines / "0.tar").unlink()
    (lines / "b.png").unlink()
    assert "not there: b.png; expected all 3" in error("lines")
    meta = lines / "metadata.jsonl"
    meta.write_text('{"file_name": "a.png", "text": "a"}\n{"file_name": "a.png", "text": "b"}\n')
    assert "lines 1 and 2 of" in error("lines")
    meta.write_text('{"file_name": "../a.png", "text": "a"}\n')
    assert "expected a path within the folder" in error("lines")
    meta.write_text('{"file_name": "a.png", "text": 7}\n')
    assert "is a int; expected a caption" in error("lines")
    meta.write_text('{"file_name": "a.png", \n')
    assert "line 1 of" in error("lines")
    meta.write_text('{"file_name": "a.png", "words": "a"}\n')
    assert (
        "no column of captions (text, caption, captions); expected one of its columns file_name, words"
        in error("lines")
    )
    cells = make_csv(tmp_path / "cells")
    (cells / "metadata.csv").write_text("file_name,text\na.png,an apple, red\n")
    assert "more or fewer cells" in error("cells")


def test_damaged_shards_are_named(tmp_path: Path) -> None:
    shards = make_tar(tmp_path / "shards")
    whole = (shards / "0001.tar").read_bytes()
    (shards / "0001.tar").write_bytes(whole[:700])
    with pytest.raises(InputError, match=r"0001\.tar cannot be read"):
        open_sources([str(shards)])
    with tarfile.open(shards / "0001.tar", "w") as tar:
        for name in ("a.png", "a.jpg"):
            tar.addfile(_member(name), io.BytesIO(b"12"))
    with pytest.raises(InputError, match="twice as a picture"):
        open_sources([str(shards)])
    with tarfile.open(shards / "0001.tar", "w") as tar:
        for name in ("a.png", "b.txt"):
            tar.addfile(_member(name), io.BytesIO(b"12"))
    with pytest.raises(InputError, match=r"not there: 0001\.tar/b"):
        open_sources([str(shards)])


def _member(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = 2
    return member
