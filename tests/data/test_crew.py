"""Workers may crash or hang at any picture: that one is named, and every other is worked on once."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pictor.core.errors import Cancelled, InputError, PictorError
from pictor.data.crew import Crew, Part, Terms, parts
from pictor.data.quarantine import Finding, Quarantine, extended
from pictor.data.sources.registry import open_sources
from pictor.data.sources.source import FileBytes, Record


@dataclass(frozen=True)
class Trying:
    """Does to some pictures what their captions say."""

    def __call__(self, part: Part, at) -> list[str]:  # type: ignore[no-untyped-def]
        return [
            part.bad.get(index) or self._try(index, record, at) for index, record in enumerate(part.records)
        ]

    def _try(self, index: int, record: Record, at) -> str:  # type: ignore[no-untyped-def]
        at(index)
        match record.captions:
            case ("crash",):
                os._exit(3)
            case ("hang",):
                time.sleep(60)
            case ("fail",):
                raise PictorError("it failed")
            case ("break",):
                raise ZeroDivisionError("by nothing")
            case ("between",):
                at(-1)
                os._exit(4)
        return "done"


def made(*wishes: str, size: int = 3) -> list[Part]:
    records = [
        Record("pics", f"{number}.png", (wish,), "", FileBytes("", 0, 0))
        for number, wish in enumerate(wishes)
    ]
    return [
        Part(number, first, records[first : first + size])
        for number, first in enumerate(range(0, len(records), size))
    ]


def test_crashes_and_hangs_are_blamed_on_their_pictures() -> None:
    wishes = ["", "crash", "", "hang", "crash", "", "", ""]
    found, blamed = {}, {}
    for part, answer in Crew(Trying(), Terms(workers=2, patience=1.0)).results(iter(made(*wishes))):
        found[part.number], blamed[part.number] = answer, part.blamed
    assert blamed == {0: {1}, 1: {0, 1}, 2: set()}
    crashed, hung = "crashed the process that decoded it", "was not decoded within 1 s"
    assert [found[number] for number in range(3)] == [
        ["done", crashed, "done"],
        [hung, crashed, "done"],
        ["done", "done"],
    ]


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ("fail", "it failed"),
        ("break", r"picture 1 failed: ZeroDivisionError\('by nothing'\)"),
        ("between", "ended with code 4"),
    ],
)
def test_what_no_picture_is_to_blame_for_ends_the_work(wish: str, message: str) -> None:
    with pytest.raises(PictorError, match=message):
        list(Crew(Trying(), Terms(workers=1)).results(made("", wish)))


def test_stopping_ends_the_workers_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(Cancelled):
        list(Crew(Trying(), Terms(workers=1, should_stop=lambda: True)).results(made("hang")))
    assert time.monotonic() - started < 20
    assert list(Crew(Trying(), Terms(workers=1)).results([])) == []
    with pytest.raises(InputError, match="workers is 0"):
        Terms(workers=0)


def test_parts_mark_what_is_flawed_or_quarantined(tmp_path: Path) -> None:
    folder = tmp_path / "pics"
    folder.mkdir()
    for name in "abcde":
        (folder / f"{name}.png").touch()
        (folder / f"{name}.txt").write_text(name)
    (folder / "d.txt").write_bytes(b"\xff")
    listing = tmp_path / "bad.jsonl"
    place = str(folder)
    found = [Finding(place, "b.png", "small", "is small"), Finding(place, "b.png", "narrow", "is narrow")]
    assert extended(listing, [*found, Finding("elsewhere", "a.png", "small", "is small")]) == 2
    assert extended(listing, [Finding(place, "z\udcff.png", "small", "has a strange name")]) == 1
    quarantine = Quarantine(listing)
    made_parts = list(parts(open_sources([place]), quarantine, size=2))
    assert [(part.number, part.first, len(part.records)) for part in made_parts] == [
        (0, 0, 2),
        (1, 2, 2),
        (2, 4, 1),
    ]
    assert [part.bad for part in made_parts] == [
        {1: "is small"},
        {1: "its caption is no UTF-8 (byte 0)"},
        {},
    ]
    assert quarantine.unmet == ["a.png", "z\udcff.png"]
    strange = Finding(place, "a\u2028b.png", "small", "is\x85small")
    assert extended(listing, [strange]) == 1
    assert Quarantine(listing).reason(place, strange.key) == "is\x85small"
    listing.write_text("{}\n")
    with pytest.raises(InputError, match="line 1 of"):
        Quarantine(listing)
