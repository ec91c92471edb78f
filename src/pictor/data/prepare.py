"""Pictures of any sources to a folder that training reads: decoded, upright, RGB, at their buckets' sizes.

    prepared.json      what the folder is, and what became of how many pictures; written last
    manifest.parquet   a row a picture: names, hashes, captions, and where its pixels lie
    left-out.jsonl     a line for each picture that is not in the manifest, and why
    shards/00012.rgb   uint8 RGB pixels, row by row, one picture after the other
    parts/00012.jsonl  what is in that shard; the manifest and a resumed run go by them

Pixels are stored as they are. A 64x64 picture is 12 KB, a few times its JPEG; a read at a known place gives
any of them in microseconds, where decoding would take many times as long, in each epoch, beside the training.
At the sizes that Pictor trains (100,000 pictures are 1.2 GB at 64 pixels, 20 GB at 256) disk is cheaper.

A part is 500 records of the sources in their order. Its shard and its list are written whole or not at all,
by one process, and depend on nothing else; the list names the records that it was made of. So any number of
workers, interruptions and repetitions ends with the same bytes, and after a change of the sources only the
parts that differ are made again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictor.core.errors import Cancelled, InputError, MissingExtraError
from pictor.data import lock
from pictor.data.buckets import Buckets, bucket_name
from pictor.data.crew import IDLE, PART, At, Part, Terms, parts
from pictor.data.decoding import Pixels, Unusable, decode_to
from pictor.data.engines import Results, results_of
from pictor.data.manifest import as_text, write_manifest
from pictor.data.quarantine import Quarantine
from pictor.data.sources.registry import Opened
from pictor.data.sources.source import Record
from pictor.data.whole_files import json_line, json_text, whole_file

FORMAT = 1
"""Of the folder; counts up when what is in it changes its meaning."""
SETTINGS = "settings.json"
SUMMARY = "prepared.json"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides the pixels, and which split a picture is in."""

    buckets: Buckets
    margin: int = 0
    """Pixels by which pictures are stored wider and higher than their bucket, to be cut at a random place."""
    val: float = 0.01
    """Share of the pictures that only validate, chosen by their content."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 512:
            raise InputError(f"margin is {self.margin}", expected="0 to 512 pixels", param="margin")
        if not 0 <= self.val < 1:
            raise InputError(f"val is {self.val:g}", expected="a share from 0 to below 1", param="val")

    def record(self) -> dict[str, Any]:
        sizes = [list(size) for size in self.buckets.sizes]
        return {"format": FORMAT, "buckets": sizes, "margin": self.margin, "val": self.val}

    def split(self, content: str) -> str:
        """Of a picture with a SHA-256 in hexadecimal: equal files are never in two splits."""
        return "val" if int(content[:8], 16) < self.val * 2**32 else "train"


def prepare(
    opened: Sequence[Opened],
    out: Path,
    settings: Settings,
    terms: Terms | None = None,
    quarantine: Quarantine | None = None,
    engine: str = "local",
) -> dict[str, Any]:
    """Write a folder of prepared pictures, or go on with one.

    Args:
        opened: the sources.
        out: a folder of its own; made if it does not exist.
        settings: sizes, margin and split.
        terms: how the work is done.
        quarantine: pictures that are left out.
        engine: where the work is done; see `pictor.data.engines`. The folder's bytes are the same by any.

    Returns:
        What `prepared.json` holds.

    Raises:
        InputError: the folder holds something else, another process prepares it, the disk is too small, or
            there is no such engine.
        MissingExtraError: pyarrow is not installed, or what the engine needs.
        Cancelled: stopped on request; the same call goes on.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError("writing the manifest needs pyarrow", extra="data") from None
    results = results_of(engine)
    _refuse_strange(out)
    busy = InputError(
        f"{out} is being prepared by another process",
        expected="a folder that nobody works on",
        remedy="Wait for it, or give another folder.",
        param="out",
    )
    with lock.held(out / lock.LOCK, busy):
        return _prepared(opened, out, settings, terms or Terms(), quarantine, results)


def _prepared(
    opened: Sequence[Opened],
    out: Path,
    settings: Settings,
    terms: Terms,
    quarantine: Quarantine | None,
    results: Results,
) -> dict[str, Any]:
    """`prepare`, where nobody else works on the folder."""
    total = sum(len(entry.source) for entry in opened)
    _claim(out, settings)
    _check_space(out, settings, total)
    progress = _Progress(out, total, terms)
    try:
        for part, _ in results(_Prepare(str(out), settings), progress.left(parts(opened, quarantine)), terms):
            progress.add(len(part.records))
    except Cancelled:
        raise Cancelled(
            f"stopped after {progress.done} of {total} pictures in {out}",
            remedy="Run the same command to go on.",
        ) from None
    count = -(-total // PART)
    _forget_from(out, count)
    counts = write_manifest(out, count)
    summary = {
        **settings.record(),
        "sources": [
            {
                "name": as_text(entry.name),
                "place": entry.place,
                "kind": entry.kind,
                "weight": str(entry.weight),
            }
            for entry in opened
        ],
        **counts,
    }
    with whole_file(out / SUMMARY) as file:
        file.write(json_text(summary, indent=1))
    if not summary["prepared"]:
        raise InputError(
            f"none of {total} pictures can be used",
            expected="pictures that can be read",
            remedy=f"{out / 'left-out.jsonl'} says what is wrong with each.",
            param="sources",
        )
    return summary


class _Progress:
    """Which parts are still to be made."""

    def __init__(self, out: Path, total: int, terms: Terms) -> None:
        self._out, self._total, self._terms = out, total, terms
        self.done = 0

    def left(self, every: Iterator[Part]) -> Iterator[Part]:
        for part in every:
            if _is_made(self._out, part):
                self.add(len(part.records))
            else:
                # From here on the folder is not what its manifest says.
                (self._out / SUMMARY).unlink(missing_ok=True)
                yield part

    def add(self, count: int) -> None:
        self.done += count
        self._terms.report(self.done, self._total)


@dataclass(frozen=True)
class _Prepare:
    """Makes a part's shard and list; runs in the workers."""

    out: str
    settings: Settings

    def __call__(self, part: Part, at: At) -> None:
        rows: list[dict[str, Any]] = []
        size = 0
        with whole_file(shard_path(Path(self.out), part.number)) as shard:
            for index, record in enumerate(part.records):
                at(index)
                row, pixels = self._picture(record, part.bad.get(index))
                if pixels is not None:
                    row |= {"shard": part.number, "offset": size}
                    size += shard.write(pixels.tobytes())
                rows.append(row)
            at(IDLE)  # the disk may take its time
        head = {"identity": _identity(part), "bytes": size}
        with whole_file(list_path(Path(self.out), part.number)) as file:
            for line in (head, *rows):
                file.write(json_line(line))

    def _picture(self, record: Record, bad: str | None) -> tuple[dict[str, Any], Pixels | None]:
        """The row of a picture in the list, and its pixels; without pixels the row says why."""
        name = {"source": record.source, "key": record.key}
        if bad is not None:
            return {**name, "left_out": bad}, None
        try:
            data = record.read()
            pixels, look = decode_to(data, self._stored_size)
        except (OSError, Unusable) as error:
            return {**name, "left_out": str(error)}, None
        content = hashlib.sha256(data).hexdigest()
        margin = self.settings.margin
        height, width = pixels.shape[0] - margin, pixels.shape[1] - margin
        return {
            **name,
            "sha256": content,
            "split": self.settings.split(content),
            "width": look.width,
            "height": look.height,
            "bucket": bucket_name((width, height)),
            "captions": record.captions,
            "licence": record.licence,
            "notes": look.notes,
        }, pixels

    def _stored_size(self, width: int, height: int) -> tuple[int, int]:
        across, down = self.settings.buckets.sizes[self.settings.buckets.assign(width, height)]
        return across + self.settings.margin, down + self.settings.margin


def shard_path(folder: Path, number: int) -> Path:
    return folder / "shards" / f"{number:05d}.rgb"


def list_path(folder: Path, number: int) -> Path:
    return folder / "parts" / f"{number:05d}.jsonl"


def _identity(part: Part) -> str:
    """Hash over all that decides a part, but for the settings: names, captions, files and their changes."""
    digest = hashlib.sha256()
    for record in part.records:
        digest.update(repr(record).encode("utf-8", "surrogateescape"))
    known = sorted((place, why) for place, why in part.bad.items() if place not in part.blamed)
    digest.update(repr(known).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _is_made(out: Path, part: Part) -> bool:
    """Whether a part's files are there, whole, and of these records."""
    try:
        with list_path(out, part.number).open("rb") as file:
            head = json.loads(file.readline())
        size = shard_path(out, part.number).stat().st_size
    except (OSError, ValueError):
        return False
    return bool(head == {"identity": _identity(part), "bytes": size})


def _refuse_strange(out: Path) -> None:
    """Refuse a folder that holds something else, before anything is written into it."""
    if (out / SETTINGS).is_file() or not out.exists():
        return
    if not out.is_dir() or any(path.name != lock.LOCK for path in out.iterdir()):
        raise InputError(
            f"{out} is not empty",
            expected="a folder of its own for the prepared pictures",
            remedy="Give a folder that does not exist yet.",
            param="out",
        )


def _claim(out: Path, settings: Settings) -> None:
    """Take the folder for these settings, or refuse one of others."""
    stored = out / SETTINGS
    if stored.is_file() and json.loads(stored.read_text(encoding="utf-8")) != settings.record():
        raise InputError(
            f"{out} was prepared with other settings",
            expected=f"those in {stored}",
            remedy="Give those to go on with it, or another folder.",
            param="out",
        )
    for name in ("shards", "parts"):
        (out / name).mkdir(parents=True, exist_ok=True)
        for leftover in (out / name).glob(".*"):  # of a run that was killed
            leftover.unlink()
    with whole_file(stored) as file:
        file.write((json.dumps(settings.record(), indent=1) + "\n").encode())


def _check_space(out: Path, settings: Settings, total: int) -> None:
    largest = max((w + settings.margin) * (h + settings.margin) for w, h in settings.buckets.sizes)
    there = sum(path.stat().st_size for path in (out / "shards").iterdir())
    needed, free = 3 * largest * total - there, shutil.disk_usage(out).free
    if needed > free:
        raise InputError(
            f"{total} pictures need about {needed / 1e9:.1f} GB and {out} has {free / 1e9:.1f} GB left",
            expected="room for all of them",
            remedy="Give a smaller --size, or a folder on another disk.",
            param="out",
        )


def _forget_from(out: Path, count: int) -> None:
    """Delete parts beyond the last, of sources that were longer."""
    for path in (*(out / "shards").iterdir(), *(out / "parts").iterdir()):
        if path.name.startswith("."):  # of a writer that was killed
            path.unlink()
        elif int(path.stem) >= count:
            (out / SUMMARY).unlink(missing_ok=True)
            path.unlink()
