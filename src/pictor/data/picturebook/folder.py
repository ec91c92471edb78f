"""The picturebook as a folder of pictures with metadata.jsonl, as the imagefolder convention has it.

Pictures are drawn in parts of a thousand. A part is drawn into a hidden folder and renamed when it is whole,
so that an interrupted run leaves only whole parts, and goes on where it stopped.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from pictor.core.errors import Cancelled, InputError
from pictor.data.picturebook.captions import Said, caption
from pictor.data.picturebook.font import find_font, font_digest
from pictor.data.picturebook.hold_out import HOLD_OUT_RULE
from pictor.data.picturebook.scenes import Mix, Picturebook

_PART = 1000
"""Pictures in a part, which is a folder of its own: no folder grows beyond what file browsers bear."""
_RECORD = "picturebook.json"
_LINES = ".lines.jsonl"
_FONT = "font_sha256"
_CAPTION = 41
"""Number of the random stream that the captions are drawn from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlan:
    """What decides every byte of the folder, but for how many pictures it holds."""

    size: int
    seed: int
    held_out: bool
    mix: Mix
    font: str

    def record(self) -> dict[str, object]:
        book = _book(self)
        return {
            "corpus": book.identity,
            "hold_out_rule": HOLD_OUT_RULE,
            "size": self.size,
            "seed": self.seed,
            "held_out": self.held_out,
            "mix": asdict(self.mix),
            _FONT: font_digest(Path(self.font)),
        }


@cache
def _book(plan: FolderPlan) -> Picturebook:
    """One book a process and plan: its drawings are kept from part to part."""
    return Picturebook(plan.size, plan.seed, Path(plan.font), plan.mix)


def _row(book: Picturebook, index: int, held_out: bool, name: str) -> tuple[dict[str, object], Image.Image]:
    scene = book.scene(index, held_out=held_out)
    rng = book.rng(index, _CAPTION)
    words = book.caption(scene, rng)
    row: dict[str, object] = {
        "file_name": name,
        "text": words.text,
        "language": words.language,
        "text_en": caption(scene, Said(), rng, language="en").text,
        "text_zh": caption(scene, Said(), rng, language="zh").text,
        "objects": [asdict(item) for item in scene.items],
        "relation": scene.relation,
        "place": scene.place,
        "night": scene.night,
        "style": scene.style,
    }
    return row, Image.fromarray(book.draw(scene, index))


def _draw_part(plan: FolderPlan, out: str, part: int, count: int) -> int:
    """Draw pictures part * 1000 and on, `count` of them; returns `count`."""
    book, name = _book(plan), f"{part:05d}"
    final, hidden = Path(out) / name, Path(out) / f".{name}.{os.getpid()}"
    hidden.mkdir()
    try:
        with (hidden / _LINES).open("w", encoding="utf-8") as lines:
            for index in range(part * _PART, part * _PART + count):
                file = f"{index:07d}.png"
                row, picture = _row(book, index, plan.held_out, f"{name}/{file}")
                picture.save(hidden / file, compress_level=1)
                lines.write(json.dumps(row, ensure_ascii=False) + "\n")
        if final.exists():  # a shorter part of an earlier, smaller run
            shutil.rmtree(final)
        hidden.rename(final)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return count


def _whole(out: Path, part: int, count: int) -> bool:
    lines = out / f"{part:05d}" / _LINES
    if not lines.is_file():
        return False
    with lines.open("rb") as file:
        return sum(1 for _ in file) == count


def _held(out: Path) -> int:
    """Pictures up to the last one that the folder holds."""
    most = 0
    for lines in out.glob(f"[0-9]*/{_LINES}"):
        with lines.open("rb") as file:
            most = max(most, int(lines.parent.name) * _PART + sum(1 for _ in file))
    return most


def _check_same(out: Path, record: dict[str, object], count: int) -> None:
    """Refuse to go on with a folder of other settings, or of more pictures than are asked for."""
    stored = json.loads((out / _RECORD).read_text(encoding="utf-8"))
    # Compared as JSON, where tuples have become lists. A record that names no font is of any.
    if {_FONT: record[_FONT]} | stored != json.loads(json.dumps(record)):
        raise InputError(
            f"{out} holds another picturebook",
            expected=f"the settings and the font in {out / _RECORD}",
            remedy="Give those to go on with it, or another folder.",
            param="out",
        )
    if (held := _held(out)) > count:
        raise InputError(
            f"{out} holds {held} pictures, and count is {count}",
            expected=f"a count of at least {held}",
            remedy="Raise the count, or give another folder.",
            param="count",
        )


def _claim(out: Path, plan: FolderPlan, count: int) -> None:
    """Take the folder for this plan, or refuse one that holds something else, or more than is asked for."""
    record, stored = plan.record(), out / _RECORD
    going_on = stored.is_file()
    if going_on:
        _check_same(out, record, count)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} is not empty",
            expected="a folder of its own for the pictures",
            remedy="Give a folder that does not exist yet.",
            param="out",
        )
    out.mkdir(parents=True, exist_ok=True)
    for leftover in out.glob(".[0-9]*.[0-9]*"):  # of a run that was killed
        shutil.rmtree(leftover)
    if not going_on:
        stored.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _write_metadata(out: Path, parts: list[int]) -> None:
    hidden = out / ".metadata.jsonl"
    with hidden.open("w", encoding="utf-8") as whole:
        for part in parts:
            whole.write((out / f"{part:05d}" / _LINES).read_text(encoding="utf-8"))
    hidden.replace(out / "metadata.jsonl")


def write_folder(
    out: Path,
    count: int,
    *,
    size: int = 128,
    seed: int = 0,
    held_out: bool = False,
    mix: Mix | None = None,
    font: Path | None = None,
    workers: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Write `count` pictures as PNG files, and what they show as metadata.jsonl.

    The same arguments give the same files, whatever the number of workers; a folder that holds fewer pictures
    of the same settings and font is added to.

    Args:
        out: a folder of its own; made if it does not exist.
        count: pictures in all, at least 1.
        size: side in pixels, 16 to 512.
        seed: of the book.
        held_out: only compositions that the rule keeps from training.
        mix: kinds of scene.
        font: a colour emoji font; None finds one.
        workers: processes that draw; None for one a core.
        on_progress: called with the pictures done, and `count`.
        should_stop: asked a few times a second; true ends with whole parts only.

    Returns:
        The path of metadata.jsonl.

    Raises:
        InputError: a number out of range, no font, a mix without such scenes, or a folder that holds
            something else or more pictures.
        Cancelled: stopped on request.
    """
    for name, value, low, high in (
        ("count", count, 1, 100_000_000),
        ("size", size, 16, 512),
        ("seed", seed, 0, 2**63 - 1),
        ("workers", 1 if workers is None else workers, 1, 1024),
    ):
        if not low <= value <= high:
            raise InputError(f"{name} is {value}", expected=f"{low} to {high}", remedy="Mend it.", param=name)
    plan = FolderPlan(size=size, seed=seed, held_out=held_out, mix=mix or Mix(), font=str(find_font(font)))
    _book(plan).scene(0, held_out=held_out)  # refuses a mix that holds no such scene, before any work
    _claim(out, plan, count)
    lengths = [min(_PART, count - first) for first in range(0, count, _PART)]
    left = [part for part, length in enumerate(lengths) if not _whole(out, part, length)]
    done = count - sum(lengths[part] for part in left)
    pool = ProcessPoolExecutor(
        min(workers or os.cpu_count() or 1, max(len(left), 1)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_leave_interrupts,
    )
    try:
        pending: set[Future[int]] = {
            pool.submit(_draw_part, plan, str(out), part, lengths[part]) for part in left
        }
        while pending:
            finished, pending = wait(pending, timeout=0.25, return_when=FIRST_COMPLETED)
            done += sum(future.result() for future in finished)
            if on_progress is not None:
                on_progress(done, count)
            if should_stop is not None and should_stop():
                raise Cancelled(
                    f"stopped after {done} of {count} pictures in {out}",
                    remedy="Run the same command to go on.",
                )
    finally:
        # What runs is a part of a thousand pictures, a few seconds: it is finished and kept.
        pool.shutdown(cancel_futures=True)
    _write_metadata(out, list(range(len(lengths))))
    return out / "metadata.jsonl"


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal; the first one alone decides what it means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
