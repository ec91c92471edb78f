"""Captions for pictures that have none, as a metadata.jsonl of the imagefolder convention."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import Cancelled, InputError
from pictor.data.decoding import Unusable, decode
from pictor.data.lock import held
from pictor.data.sources.registry import Opened
from pictor.data.sources.source import Record
from pictor.data.whole_files import json_line, whole_file

_KINDS = ("folder", "imagefolder")
Say = Callable[[NDArray[np.uint8]], str]
"""From a picture [H, W, 3] to a caption."""


@dataclass
class Captioned:
    """What became of the pictures."""

    kept: int = 0
    """Had captions already."""
    said: int = 0
    left_out: dict[str, str] = field(default_factory=dict)
    """Name of a picture -> why it cannot be read."""


def caption(
    opened: Opened,
    out: Path,
    say: Say,
    *,
    by: str,
    again: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Captioned:
    """Write a row for each picture: its own captions, or else one that is made.

    Rows go to a file beside `out` as they are made, which takes its name when all are there; the same call
    goes on with one that was interrupted. The source is not changed.

    Args:
        opened: a folder of pictures.
        out: a file that is not there yet.
        say: makes a caption; its InputError leaves the picture out.
        by: who says it, so that no other goes on with the work.
        again: make captions also for pictures that have some, and leave those away.
        on_progress: called after each picture with how many are done, of how many.
        should_stop: asked after each picture.

    Raises:
        InputError: `out` is there, the source is no folder, or others' work lies beside `out`.
        Cancelled: stopped on request.
    """
    if opened.kind not in _KINDS:
        raise InputError(
            f"{opened.place} is of the kind {opened.kind}",
            expected="a folder with a file for each picture, which a metadata.jsonl can name",
            param="source",
        )
    if out.exists():
        raise InputError(
            f"{out} is there already",
            expected="a name that is free",
            remedy="Move it away, or pass another --out.",
            param="out",
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.part")
    total, found = len(opened.source), Captioned()
    busy = InputError(
        f"{out} is being written by another process", expected="one that writes it", param="out"
    )
    with held(out.with_name(f".{out.name}.lock"), busy):
        done = _begun(draft, {"source": opened.place, "by": by, "again": again})
        with draft.open("ab") as file:
            for number, record in enumerate(opened.source.records(), start=1):
                if record.key not in done:
                    _row(record, file, say, found, again)
                elif done[record.key]:
                    found.said += 1
                else:
                    found.kept += 1
                if on_progress is not None:
                    on_progress(number, total)
                if should_stop is not None and should_stop() and number < total:
                    raise Cancelled(
                        f"stopped after {number} of {total} pictures", remedy="Run the same command to go on."
                    )
        with whole_file(out) as file, draft.open("rb") as made:
            made.readline()  # of whose work it is
            shutil.copyfileobj(made, file)
        draft.unlink()
    out.with_name(f".{out.name}.lock").unlink(missing_ok=True)
    return found


def _row(record: Record, file: IO[bytes], say: Say, found: Captioned, again: bool) -> None:
    made = again or not record.captions
    captions = list(record.captions)
    if record.flaw:
        found.left_out[record.key] = record.flaw
        return
    if made:
        try:
            image, _ = decode(record.read())
            captions = [say(np.asarray(image))]
        except (Unusable, OSError, InputError) as error:
            found.left_out[record.key] = str(error)
            return
        found.said += 1
    else:
        found.kept += 1
    licence = {"license": record.licence} if record.licence else {}
    text = captions[0] if len(captions) == 1 else captions
    file.write(json_line({"file_name": record.key, "text": text, **licence, "captioned": made}))
    file.flush()


def _begun(draft: Path, work: dict[str, Any]) -> dict[str, bool]:
    """Pictures that have a row, and whether their caption was made; a row that was cut short is dropped.

    Raises:
        InputError: the draft is of other work.
    """
    whole = draft.read_bytes() if draft.exists() else b""
    whole = whole[: whole.rfind(b"\n") + 1]
    rows = [json.loads(line) for line in whole.splitlines()]
    if not rows:
        draft.write_bytes(json_line(work))
        return {}
    if rows[0] != work:
        raise InputError(
            f"{draft} was begun for {rows[0]}",
            expected=f"work for {work}",
            remedy="Give the same options to go on, or delete that file to begin anew.",
            param="out",
        )
    with draft.open("r+b") as file:
        file.truncate(len(whole))
    return {row["file_name"]: row["captioned"] for row in rows[1:]}
