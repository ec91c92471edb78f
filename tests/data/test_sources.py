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
from pictor.data.sources.registry import Kind, all_kinds, all_records, look_at, open_sources
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
        if not embedded:
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

    assert "there is no folder or file nothing" in error("nothing")
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
    assert [record.flaw for record in records("lines")] == [
        "its 'text' is a int, no caption or list of captions",
        "metadata.jsonl does not list it",
    ]
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


def put_tar(path: Path, *members: tuple[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def put_parquet(path: Path, columns: dict[str, object]) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path, compression="none", row_group_size=2)


def test_no_source_reads_what_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(png(9))
    (tmp_path / "secret.txt").write_text("a secret")
    folder = tmp_path / "pics"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.png").write_bytes(png(1))
    (folder / "a.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "b.txt").symlink_to(tmp_path / "nowhere")
    found = records(folder)
    assert [record.captions for record in found] == [(), (), ()]
    elsewhere = "its path leaves the folder of its source"
    assert found[0].flaw == f"its caption cannot be read: {elsewhere}"
    assert found[1].flaw.startswith("its caption cannot be read: ")
    assert found[2].flaw == ""
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "metadata.jsonl").write_text('{"file_name": "link.png", "text": "a"}\n')
    assert records(folder / "metadata.jsonl")[0].flaw == elsewhere
    for name in ("metadata.jsonl", "a.txt", "b.txt"):
        (folder / name).unlink()
    paths = ["../secret.png", str(tmp_path / "secret.png"), "a\0b.png", "link.png", "a.png", "."]
    put_parquet(folder / "rows.parquet", {"path": paths, "text": ["x"] * 6})
    flaws = [record.flaw for record in records(folder)]
    assert [flaws[place] for place in (0, 1, 3, 4, 5)] == [elsewhere] * 3 + ["", "it is no ordinary file"]
    assert flaws[2].startswith("there is no file")


def test_a_saved_data_set_reads_files_of_its_folder_alone(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    (tmp_path / "secret.png").write_bytes(png(9))
    place = tmp_path / "saved"
    inner = place / "files" / "a.png"
    datasets.Dataset.from_dict(
        {"image": [str(inner), str(tmp_path / "secret.png"), "../secret.png"], "text": ["x", "y", "z"]}
    ).save_to_disk(str(place))
    inner.parent.mkdir()
    inner.write_bytes(png(3))
    opened = kind("huggingface").open(look_at(str(place)), "saved", Reading())
    found = list(opened.records())
    assert shades(found[:1]) == [3]
    for record in found[1:]:
        with pytest.raises(OSError, match="leaves the folder"):
            record.read()


def test_a_wrong_row_is_a_flaw_of_its_picture(tmp_path: Path) -> None:
    deep = b'{"text":' + b"[" * 100_000
    put_tar(
        tmp_path / "a.tar",
        *(("a.png", png(0)), ("a.json", b'{"text": 5}')),
        *(("b.png", png(1)), ("b.json", b'{"size": 5}')),
        *(("c.png", png(2)), ("c.json", deep)),
        *(("d.png", b""), ("d.txt", b"empty")),
        *(("e.png", png(4)), ("e.json", b"")),
        *(("f.png", png(5)), ("f.txt", b"fine")),
    )
    found = records(tmp_path / "a.tar")
    assert [record.key for record in found] == list("abcdef")
    assert found[0].flaw == "its 'text' is a int, no caption or list of captions"
    assert found[1].flaw == "its .json has no column of captions (text, caption, captions)"
    assert "cannot be read" in found[2].flaw
    assert "cannot be read" in found[4].flaw
    assert (found[3].flaw, found[3].captions, found[3].read()) == ("", ("empty",), b"")
    assert (found[5].flaw, found[5].captions) == ("", ("fine",))


def test_a_damaged_page_is_a_flaw_of_its_pictures(tmp_path: Path) -> None:
    pictures = [png(shade) for shade in range(4)]
    path = tmp_path / "a.parquet"
    put_parquet(path, {"image": pictures, "text": [f"caption {n}" for n in range(4)]})
    whole = path.read_bytes()

    def damaged(column: int) -> list[Record]:
        """The file with the pages of its first group's column overwritten."""
        from pyarrow import parquet

        meta = parquet.ParquetFile(io.BytesIO(whole)).metadata.row_group(0).column(column)
        start = meta.dictionary_page_offset or meta.data_page_offset
        path.write_bytes(whole[:start] + b"\xff" * 40 + whole[start + 40 :])
        return records(path)

    found = damaged(0)
    for record in (found[0], found[1]):
        with pytest.raises(OSError, match="its row cannot be read"):
            record.read()
    assert shades(found[2:]) == [2, 3]
    found = damaged(1)
    assert [record.flaw.startswith("its row cannot be read") for record in found] == [
        True,
        True,
        False,
        False,
    ]
    assert found[2].captions == ("caption 2",)


def test_pictures_beside_another_kind_of_source_are_not_lost(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(png(number))
    put_tar(tmp_path / "old.tar", ("a.png", png(7)))
    with pytest.raises(InputError, match="holds tar shards and 3 pictures in files of their own"):
        open_sources([str(tmp_path)])
    (tmp_path / "old.tar").unlink()
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "./1.png", "text": "one"}\n')
    assert [(record.key, record.flaw) for record in records(tmp_path)] == [
        ("./1.png", ""),
        ("0.png", "metadata.jsonl does not list it"),
        ("2.png", "metadata.jsonl does not list it"),
    ]
    source = open_sources([str(tmp_path)])[0].source
    assert len(source) == 3
    assert [record.key for record in source.records(2)] == ["2.png"]
    assert len(records(tmp_path / "metadata.jsonl")) == 1
    (tmp_path / "metadata.jsonl").unlink()
    put_parquet(tmp_path / "old.parquet", {"image": [png(7)], "text": ["x"]})
    with pytest.raises(InputError, match="holds parquet files and 3 pictures"):
        open_sources([str(tmp_path)])


def test_names_with_several_dots_in_a_tar_are_refused(tmp_path: Path) -> None:
    put_tar(tmp_path / "a.tar", ("a.png", png(0)), ("._a.png", b"of a Mac"), ("IMG.2020.01.png", png(1)))
    with pytest.raises(InputError, match=r"has a picture 'IMG\.2020\.01\.png'"):
        open_sources([str(tmp_path / "a.tar")])


def test_texts_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(0))
    (tmp_path / "a.TXT").write_text("an apple")
    assert records(tmp_path)[0].captions == ("an apple",)
    (tmp_path / "b.Txt").write_text("nobody")
    with pytest.raises(InputError, match=r"not there: b\.Txt"):
        open_sources([str(tmp_path)])


def test_only_what_is_asked_for_on_the_hub_is_sought_there() -> None:
    hub = kind("huggingface")
    assert hub.finds(look_at("hf:pictures/cast"))
    assert not hub.finds(look_at("pictures/cast"))
    with pytest.raises(InputError, match="there is no folder or file pictures/cast"):
        open_sources(["pictures/cast"])


def kind(name: str) -> Kind:
    return all_kinds()[name]
