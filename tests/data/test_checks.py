"""Every kind of defect is found and named, no file crashes a check, and nothing of the user's changes."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictor.cli import main
from pictor.core.errors import InputError
from pictor.data.buckets import Buckets
from pictor.data.checks import Limits, check, dedupe
from pictor.data.crew import Crew, Terms
from pictor.data.prepare import Settings, prepare
from pictor.data.sources.folder import PictureFolder
from pictor.data.sources.registry import open_sources
from pictor.data.survey import records_at


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work is done in this process, which starts sooner."""

    def results(self, jobs):  # type: ignore[no-untyped-def]
        for part in jobs:
            yield part, self._work(part, lambda index: None)

    monkeypatch.setattr(Crew, "results", results)


def noise(seed: int, size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def put(
    folder: Path, name: str, image: Image.Image, caption: str | None = "a caption", **options: object
) -> None:
    image.save(folder / name, **options)
    if caption is not None:
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """One picture of every kind of defect, and what is converted."""
    folder = tmp_path / "pics"
    folder.mkdir()
    put(folder, "a-good.png", noise(0, (64, 64)))
    put(folder, "b-small.png", noise(1, (64, 16)), "small")
    put(folder, "c-narrow.png", noise(2, (170, 32)), "narrow")
    put(folder, "d-silent.png", noise(3, (64, 64)), None)
    put(folder, "e-talkative.png", noise(4, (64, 64)), "word " * 30)
    put(folder, "f-cut.jpg", noise(5, (96, 96)))
    (folder / "f-cut.jpg").write_bytes((folder / "f-cut.jpg").read_bytes()[:-300])
    (folder / "g-words.png").write_text("no picture")
    put(folder, "h-again.png", noise(0, (64, 64)), "the same bytes as the first")
    put(folder, "i-again.png", noise(3, (64, 64)), "the bytes of one that is bad")
    put(folder, "j-clear.png", noise(6, (64, 64)).convert("RGBA").rotate(30, expand=True))
    put(folder, "k-ink.jpg", noise(7, (64, 64)).convert("CMYK"))
    put(folder, "l-film.gif", noise(8, (64, 64)), save_all=True, append_images=[noise(9, (64, 64))])
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


FOUND = [
    ("b-small.png", "small"),
    ("c-narrow.png", "narrow"),
    ("d-silent.png", "no caption"),
    ("e-talkative.png", "long caption"),
    ("f-cut.jpg", "unreadable"),
    ("g-words.png", "unreadable"),
    ("h-again.png", "duplicate"),
]


@pytest.mark.usefixtures("here")
def test_all_that_is_wrong_is_named(pictures: Path) -> None:
    limits = Limits(min_side=32, max_aspect=5, max_caption=100)
    report = check(open_sources([str(pictures)]), limits)
    assert [(found.key, found.kind) for found in report.findings] == FOUND
    assert (report.pictures, report.bad) == (12, 7)
    assert report.counts["unreadable"] == 2
    assert dict(report.notes) == {"transparent": 1, "CMYK": 1, "animated": 1}
    assert report.findings[0].reason == "is 64x16, with a side below 32"
    assert report.findings[-1].reason == "has the same bytes as a-good.png"


@pytest.mark.usefixtures("here")
def test_the_commands(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, listing = contents(pictures), tmp_path / "bad.jsonl"
    limits = ["--min-side", "32", "--max-aspect", "5", "--max-caption", "100"]
    assert main(["data", "check", str(pictures), *limits, "--json", "--quarantine", str(listing)]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["pictures"], document["bad"]) == (12, 7)
    listed = [json.loads(line) for line in listing.read_text().splitlines()]
    assert [row["key"] for row in listed] == [row["key"] for row in document["findings"]]
    assert {row["source"] for row in listed} == {str(pictures)}
    assert main(["data", "check", str(pictures), *limits]) == 1
    out = capsys.readouterr().out
    assert "f-cut.jpg: cannot be read: " in out
    assert "12 pictures, 7 of them bad" in out
    # The silent original is listed, so that its captioned copy is kept.
    assert main(["data", "dedupe", str(pictures), "--quarantine", str(listing), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["findings"], document["not_compared"]) == ([], 7)
    (tmp_path / "good").mkdir()
    put(tmp_path / "good", "a.png", noise(0, (64, 64)))
    put(tmp_path / "good", "b.png", noise(0, (128, 128)))
    assert main(["data", "check", str(tmp_path / "good")]) == 0
    assert "2 pictures, 0 of them bad" in capsys.readouterr().out
    assert main(["data", "dedupe", str(tmp_path / "good"), "--quarantine", str(listing)]) == 0
    assert "a.png: looks like b.png, which is kept" in capsys.readouterr().out
    assert json.loads(listing.read_text().splitlines()[-1])["key"] == "a.png"
    assert contents(pictures) == before
    assert main(["data", "dedupe", str(pictures), "--distance", "17"]) == 2
    assert main(["data", "check", str(pictures), "--min-side", "0"]) == 2


@pytest.mark.usefixtures("here")
def test_stats(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "stats", str(pictures), "--size", "64", "--licence", "CC0", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["pictures"] == 12
    assert document["unreadable"] == 1
    assert document["formats"] == {"PNG": 8, "JPEG": 2, "GIF": 1}
    assert document["shorter_side"] == {"below 64": 2, "64 to 127": 9}
    assert document["licences"] == {"CC0": 12}
    buckets = {row["bucket"]: row for row in document["buckets"]}
    assert {name: row["pictures"] for name, row in buckets.items()} == {"64x64": 9, "80x48": 2}
    assert buckets["80x48"]["enlarged"] == 2
    assert buckets["80x48"]["kept"] == pytest.approx((80 / 48 / 4 + 80 / 48 * 32 / 170) / 2, abs=1e-4)
    assert document["captions"]["pictures_without"] == 2
    assert document["captions"]["letters"]["most"] == len("word " * 30) - 1
    assert main(["data", "stats", str(pictures)]) == 0
    assert "80x48" in capsys.readouterr().out


@pytest.mark.usefixtures("here")
def test_duplicates_are_named_across_sources(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        put(tmp_path / name, "a.png", noise(0, (64, 64)))
    opened = open_sources([str(tmp_path / "one"), str(tmp_path / "two")])
    report = check(opened)
    assert [(found.place, found.reason) for found in report.findings] == [
        (str(tmp_path / "two"), "has the same bytes as one/a.png")
    ]
    skipped, findings = dedupe(opened)
    assert skipped == 0
    assert [found.reason for found in findings] == ["looks like one/a.png, which is kept"]
    with pytest.raises(InputError, match="max_aspect"):
        Limits(max_aspect=0.5)


def test_a_thousand_damaged_files_are_survived(tmp_path: Path) -> None:
    """A few seconds: every file has bits flipped anywhere, many still decode, none ends the work."""
    folder = tmp_path / "pics"
    folder.mkdir()
    rng = np.random.default_rng(0)
    originals = []
    for kind, options in (("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("WEBP", {})):
        buffer = io.BytesIO()
        noise(1, (24, 24)).save(buffer, kind, **options)
        originals.append(buffer.getvalue())
    for number in range(1000):
        data = np.frombuffer(originals[number % 4], np.uint8).copy()
        places = rng.integers(0, len(data), rng.integers(1, 9))
        data[places] ^= np.uint8(1) << rng.integers(0, 8, len(places), np.uint8)
        (folder / f"{number:04d}.jpg").write_bytes(data.tobytes())
        (folder / f"{number:04d}.txt").write_text("damaged")
    report = check(open_sources([str(folder)]), Limits(min_side=1, max_aspect=1e9), Terms(workers=2))
    assert report.pictures == 1000
    assert 300 < report.counts["unreadable"] < 1000
    assert {found.kind for found in report.findings} <= {"unreadable", "duplicate"}
    assert all(found.reason.startswith(("cannot be read", "has ")) for found in report.findings)
    pytest.importorskip("pyarrow")
    settings = Settings(buckets=Buckets.square(16))
    summary = prepare(open_sources([str(folder)]), tmp_path / "out", settings, Terms(workers=2))
    assert summary["prepared"] + summary["left_out"] == 1000
    # JPEGs are decoded small, which meets fewer of their defects and never others.
    assert 0.8 * report.counts["unreadable"] < summary["left_out"] <= report.counts["unreadable"]


def test_findings_are_named_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for number in range(4):
            (tmp_path / name / f"{number}.png").touch()
    opened = open_sources([str(tmp_path / "one"), str(tmp_path / "two")])
    begun: list[int] = []
    records = PictureFolder.records

    def counted(self: PictureFolder, first: int = 0):  # type: ignore[no-untyped-def]
        begun.append(first)
        return records(self, first)

    monkeypatch.setattr(PictureFolder, "records", counted)
    found = records_at(opened, [6, 1, 3, 6, 5])
    assert {number: record.key for number, (_, record) in found.items()} == {
        1: "1.png",
        3: "3.png",
        5: "1.png",
        6: "2.png",
    }
    assert {found[1][0], found[5][0]} == {str(tmp_path / "one"), str(tmp_path / "two")}
    assert begun == [1, 1]
