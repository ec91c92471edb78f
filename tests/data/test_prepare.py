"""Prepared folders: every picture accounted for, the same bytes however often work was interrupted."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow")
from pyarrow import parquet

from pictor.cli import main
from pictor.core.errors import Cancelled, InputError
from pictor.data import crew
from pictor.data import prepare as prepare_module
from pictor.data.buckets import Buckets
from pictor.data.crew import Crew, Terms
from pictor.data.prepare import Settings, prepare
from pictor.data.prepared import Prepared, Sample, Variation
from pictor.data.quarantine import Finding, Quarantine
from pictor.data.sources.registry import open_sources

SETTINGS = Settings(buckets=Buckets.of_area(32, 8, 2.5), val=0.2)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of four, worked on in this process, which starts sooner."""

    def results(self, jobs):  # type: ignore[no-untyped-def]
        for part in jobs:
            yield part, self._work(part, lambda index: None)
            if self._terms.should_stop is not None and self._terms.should_stop():
                raise Cancelled

    monkeypatch.setattr(Crew, "results", results)
    monkeypatch.setattr(crew.parts, "__defaults__", (None, 4))
    monkeypatch.setattr(prepare_module, "PART", 4)


def picture(number: int) -> Image.Image:
    size = ((48, 48), (80, 40), (40, 64))[number % 3]
    coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def make(folder: Path, count: int, captions: str = "red, round, number {}\nthe picture {}") -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        picture(number).save(folder / f"{number:04d}.png")
        (folder / f"{number:04d}.txt").write_text(captions.format(number, number))
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def run(source: Path, out: Path, settings: Settings = SETTINGS, **terms: object):  # type: ignore[no-untyped-def]
    return prepare(open_sources([str(source)]), out, settings, Terms(**terms))  # type: ignore[arg-type]


@pytest.mark.usefixtures("here")
def test_what_is_written(tmp_path: Path) -> None:
    source = make(tmp_path / "pics", 10)
    (source / "0004.png").write_bytes(b"no picture")
    quarantine = Quarantine()
    quarantine.add([Finding(str(source), "0007.png", "small", "is ugly")])
    (source / "0008.txt").unlink()
    summary = prepare(open_sources([f"{source}:2"]), tmp_path / "out", SETTINGS, Terms(), quarantine)
    assert (summary["pictures"], summary["prepared"], summary["left_out"]) == (10, 8, 2)
    assert summary["in_bucket"] == {"24x40": 3, "32x32": 4, "40x24": 1}
    assert summary["without_caption"] == 1
    assert summary["sources"][0]["weight"] == "2"
    assert sum(summary["splits"].values()) == 8
    left_out = [json.loads(line) for line in (tmp_path / "out" / "left-out.jsonl").read_text().splitlines()]
    assert [(row["key"], row["reason"].split(":")[0]) for row in left_out] == [
        ("0004.png", "cannot be read"),
        ("0007.png", "is ugly"),
    ]
    rows = parquet.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    assert [row["key"] for row in rows] == [f"{number:04d}.png" for number in (0, 1, 2, 3, 5, 6, 8, 9)]
    for row in rows:
        number = int(row["key"][:4])
        whole = picture(number)
        assert (row["width"], row["height"]) == whole.size
        assert row["captions"] == (
            [] if number == 8 else [f"red, round, number {number}", f"the picture {number}"]
        )
        content = (source / row["key"]).read_bytes()
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["split"] == ("val" if int(row["sha256"][:8], 16) < 0.2 * 2**32 else "train")
        width, height = map(int, row["bucket"].split("x"))
        shard = np.fromfile(tmp_path / "out" / "shards" / f"{row['shard']:05d}.rgb", np.uint8)
        stored = shard[row["offset"] : row["offset"] + width * height * 3].reshape(height, width, 3)
        scale = min(whole.width / width, whole.height / height)
        left, top = (whole.width - width * scale) / 2, (whole.height - height * scale) / 2
        box = (left, top, whole.width - left, whole.height - top)
        wanted = np.asarray(whole.resize((width, height), Image.Resampling.LANCZOS, box))
        np.testing.assert_array_equal(stored, wanted)


@pytest.mark.usefixtures("here")
def test_interruptions_and_changes_end_with_the_same_bytes(tmp_path: Path) -> None:
    source = make(tmp_path / "pics", 14)
    run(source, tmp_path / "whole")
    done: list[int] = []
    for stop_at in (4, 8, 12):
        with pytest.raises(Cancelled, match=f"stopped after {stop_at} of 14"):
            run(
                source,
                tmp_path / "parts",
                on_progress=lambda count, total: done.append(count),
                should_stop=lambda stop_at=stop_at: done[-1] >= stop_at,
            )
        assert not (tmp_path / "parts" / "prepared.json").exists()
        with pytest.raises(InputError, match="not finished"):
            Prepared(tmp_path / "parts")
    assert done == [4, 4, 8, 4, 8, 12]
    (tmp_path / "parts" / "shards" / ".00003.rgb.77").write_bytes(b"of a killed run")
    run(source, tmp_path / "parts")
    assert digests(tmp_path / "parts") == digests(tmp_path / "whole")
    # A shard that was cut short, a caption and a picture that changed, pictures that came and went.
    shard = tmp_path / "parts" / "shards" / "00001.rgb"
    os.truncate(shard, 100)
    with pytest.raises(InputError, match="cut short"):
        Prepared(tmp_path / "parts")
    (source / "0001.txt").write_text("another caption")
    picture(99).save(source / "0009.png")
    for stem in ("0012", "0013"):
        (source / f"{stem}.png").unlink()
        (source / f"{stem}.txt").unlink()
    run(source, tmp_path / "parts")
    run(source, tmp_path / "fresh")
    assert digests(tmp_path / "parts") == digests(tmp_path / "fresh")
    untouched = (tmp_path / "parts" / "shards" / "00000.rgb").stat().st_mtime_ns
    run(source, tmp_path / "parts")
    assert (tmp_path / "parts" / "shards" / "00000.rgb").stat().st_mtime_ns == untouched


KILLED = """
import os, signal, sys
from pathlib import Path
from pictor.data.buckets import Buckets
from pictor.data.crew import Terms
from pictor.data.prepare import Settings, prepare
from pictor.data.sources.registry import open_sources
if __name__ == "__main__":
    kill = lambda done, total: os.kill(os.getpid(), signal.SIGKILL)
    settings, terms = Settings(buckets=Buckets.square(16)), Terms(workers=2, on_progress=kill)
    prepare(open_sources([sys.argv[1]]), Path(sys.argv[2]), settings, terms)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_run_is_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By real processes, whose parts have 500 pictures; a few seconds."""
    source = tmp_path / "pics"
    source.mkdir()
    for number in range(1800):
        Image.new("RGB", (16, 16), (number % 256, number // 256, 0)).save(source / f"{number}.bmp")
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    parts = tmp_path / "parts"
    for _ in range(2):
        ended = subprocess.run([sys.executable, script, source, parts], check=False, timeout=60)
        assert ended.returncode == -signal.SIGKILL
    assert 1 <= len(list((parts / "parts").glob("0*.jsonl"))) < 4
    assert not (parts / "manifest.parquet").exists()
    for out in (parts, tmp_path / "whole"):
        assert (
            main(["data", "prepare", str(source), "--out", str(out), "--size", "16", "--workers", "2"]) == 0
        )
    assert "1800 pictures: 1800 prepared" in capsys.readouterr().out
    assert digests(parts) == digests(tmp_path / "whole")
    assert len(Prepared(parts)) + len(Prepared(parts, split="val")) == 1800


@pytest.mark.usefixtures("here")
def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    source = make(tmp_path / "pics", 3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        run(source, tmp_path / "full")
    run(source, tmp_path / "out")
    before = digests(tmp_path / "out")
    with pytest.raises(InputError, match="other settings"):
        run(source, tmp_path / "out", Settings(buckets=Buckets.square(32)))
    assert digests(tmp_path / "out") == before
    assert digests(tmp_path / "full").keys() == {"mine.txt"}


@pytest.mark.skipif(os.name != "posix", reason="locks of other processes")
@pytest.mark.usefixtures("here")
def test_one_process_prepares_a_folder(tmp_path: Path) -> None:
    import fcntl

    source, out = make(tmp_path / "pics", 3), tmp_path / "out"
    run(source, out)
    shutil.copytree(out, tmp_path / "before")
    writing = out / "shards" / ".00000.rgb.7"
    writing.write_bytes(b"of the other process")
    with (out / ".lock").open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="is being prepared by another process"):
            run(source, out)
    assert writing.exists()
    run(source, out)
    assert digests(out) == digests(tmp_path / "before")


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are no text")
@pytest.mark.usefixtures("here")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    source = make(tmp_path / "b\udcff", 3)
    (source / "0000.png").rename(source / "\udcfe.png")
    (source / "0000.txt").rename(source / "\udcfe.txt")
    out = tmp_path / "out"
    settings = Settings(buckets=SETTINGS.buckets, val=0)
    assert run(source, out, settings)["prepared"] == 3
    rows = parquet.read_table(out / "manifest.parquet").to_pylist()
    assert {row["source"] for row in rows} == {"b\\udcff"}
    assert "\\udcfe.png" in {row["key"] for row in rows}
    assert len(Prepared(out)) == 3
    assert json.loads((out / "prepared.json").read_bytes())["sources"][0]["place"] == str(source)


@pytest.mark.usefixtures("here")
def test_a_part_with_a_picture_that_crashed_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def results(self, jobs):  # type: ignore[no-untyped-def]
        for part in jobs:
            worked.append(part.number)
            blamed = replace(part, bad={**part.bad, 1: "crashed"}, blamed=frozenset([1]))
            yield part, self._work(blamed, lambda index: None)

    worked: list[int] = []
    monkeypatch.setattr(Crew, "results", results)
    source = make(tmp_path / "pics", 6)
    for _ in range(2):
        assert run(source, tmp_path / "out")["left_out"] == 2
    assert worked == [0, 1]


@pytest.mark.usefixtures("here")
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = make(tmp_path / "pics", 6), tmp_path / "out"
    (tmp_path / "bad.jsonl").write_text('{"source": "elsewhere", "key": "a.png", "reason": "is gone"}\n')
    wish = ["data", "prepare", str(source), "--out", str(out), "--size", "32"]
    assert main([*wish, "--quarantine", str(tmp_path / "bad.jsonl"), "--json"]) == 0
    caught = capsys.readouterr()
    assert json.loads(caught.out)["in_bucket"] == {"32x32": 6}
    assert "1 pictures of" in caught.err
    assert main(wish) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    for extra in (["--size", "30"], ["--margin", "-1"], ["--val", "1"], ["--quarantine", "none.jsonl"]):
        assert main([*wish, *extra]) == 2


@pytest.fixture
def folder(tmp_path: Path, here: None) -> Path:
    out = tmp_path / "out"
    settings = Settings(buckets=Buckets.of_area(32, 8, 2.5), margin=8, val=0.2)
    run(make(tmp_path / "pics", 30), out, settings)
    return out


def same(left: Sample, right: Sample) -> bool:
    return np.array_equal(left.pixels, right.pixels) and left.__dict__ | {"pixels": 0} == right.__dict__ | {
        "pixels": 0
    }


VARIED = Variation(flip=0.5, empty_captions=0.1, shuffle_tags=True, drop_tags=0.2, keep_tags=1)


def test_samples_are_functions_of_their_numbers(folder: Path) -> None:
    data = Prepared(folder, batch_size=4, seed=5, variation=VARIED)
    batches = [data.batch(first, 4) for first in range(0, 120, 4)]
    assert all(len({sample.pixels.shape for sample in batch}) == 1 for batch in batches)
    assert len({batch[0].pixels.shape for batch in batches}) == 3
    other = pickle.loads(pickle.dumps(Prepared(folder, batch_size=4, seed=5, variation=VARIED)))
    for number in (117, 3, 64, 0):
        assert same(other.sample(number), batches[number // 4][number % 4])
    assert [sample.row for sample in other.batch(6, 2)] == [sample.row for sample in batches[1][2:]]
    elsewhere = Prepared(folder, batch_size=4, seed=6, variation=VARIED)
    assert [elsewhere.sample(n).row for n in range(40)] != [data.sample(n).row for n in range(40)]
    seen = {data.sample(number).row for number in range(4 * data.round_length)}
    assert seen == set(data.rows.tolist())
    assert not seen & set(Prepared(folder, split="val").rows.tolist())
    with pytest.raises(InputError, match="one batch"):
        data.batch(2, 4)


def test_pictures_are_cut_and_mirrored_and_captions_vary(folder: Path) -> None:
    data = Prepared(folder, variation=VARIED)
    keys = parquet.read_table(folder / "manifest.parquet")["key"].to_pylist()
    samples = [data.sample(number) for number in range(400)]
    for sample in samples[:50]:
        whole = Prepared(folder).plain(sample.row)
        assert whole.caption == f"red, round, number {int(keys[sample.row][:4])}"
        assert whole.original == picture(int(keys[sample.row][:4])).size
        left, top = sample.cut
        plain = data._cut(sample.row, "", (left, top), False).pixels
        np.testing.assert_array_equal(sample.pixels, plain[:, ::-1] if sample.flipped else plain)
        shift_x, shift_y = max(left - 4, 0), max(top - 4, 0)
        np.testing.assert_array_equal(
            plain[max(4 - top, 0) : plain.shape[0] - shift_y, max(4 - left, 0) : plain.shape[1] - shift_x],
            whole.pixels[
                shift_y : plain.shape[0] - max(4 - top, 0), shift_x : plain.shape[1] - max(4 - left, 0)
            ],
        )
    assert {sample.cut[0] for sample in samples} == {sample.cut[1] for sample in samples} == set(range(9))
    assert 150 < sum(sample.flipped for sample in samples) < 250
    assert 15 < sum(sample.caption == "" for sample in samples) < 75
    assert 120 < sum(sample.caption.startswith("the picture") for sample in samples) < 240
    tagged = [sample.caption for sample in samples if sample.caption.startswith("red")]
    assert {len(caption.split(", ")) for caption in tagged} == {1, 2, 3}
    assert any(caption.endswith(", round") and "number" in caption for caption in tagged)
    plain_words = {Prepared(folder).sample(number).caption.split(",")[0] for number in range(60)}
    assert plain_words >= {"red"}
    assert "" not in plain_words


def test_one_option_does_not_change_what_another_draws(folder: Path) -> None:
    one = [Prepared(folder, variation=Variation(flip=0.5)).sample(number) for number in range(40)]
    two = [Prepared(folder, variation=VARIED).sample(number) for number in range(40)]
    assert [sample.flipped for sample in one] == [sample.flipped for sample in two]
    assert [(sample.row, sample.cut) for sample in one] == [(sample.row, sample.cut) for sample in two]


@pytest.mark.usefixtures("here")
def test_weights_say_how_often_a_picture_is_seen(tmp_path: Path) -> None:
    few, many = make(tmp_path / "few", 2), make(tmp_path / "many", 6)
    for number in range(2):
        picture(50 + number).save(few / f"{number:04d}.png")
    settings = Settings(buckets=Buckets.square(32), val=0)
    prepare(open_sources([f"{few}:2.5", str(many)]), tmp_path / "out", settings)
    data = Prepared(tmp_path / "out", batch_size=2)
    assert len(data) == 8
    assert data.round_length == 2 * 5 + 6 * 2
    counts = np.bincount([data.sample(number).row for number in range(22)])
    assert counts.tolist() == [5, 5, 2, 2, 2, 2, 2, 2]
    # Other weights are taken up without preparing anew.
    prepare(open_sources([str(few), str(many)]), tmp_path / "out", settings)
    assert Prepared(tmp_path / "out").round_length == 8


def test_folders_that_are_none_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(InputError, match="no folder of prepared pictures"):
        Prepared(tmp_path)
    with pytest.raises(InputError, match="split is 'test'"):
        Prepared(folder, split="test")
    with pytest.raises(InputError, match="flip is 2"):
        Variation(flip=2)
    summary = json.loads((folder / "prepared.json").read_text())
    (folder / "prepared.json").write_text(json.dumps(summary | {"format": 0}))
    with pytest.raises(InputError, match="Prepare it anew"):
        Prepared(folder)


def test_what_needs_the_extra_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "pics", 2)
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["data", "prepare", str(source), "--out", str(tmp_path / "out"), "--size", "32"]) == 2
    assert 'pip install "pictor[data]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["data", "check", str(tmp_path / "rows")]) == 2
    assert 'pip install "pictor[data]"' in capsys.readouterr().err
