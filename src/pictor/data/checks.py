"""What is wrong with the pictures and captions of sources, picture by picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.data.crew import Terms
from pictor.data.duplicates import MAX_DISTANCE, losers
from pictor.data.quarantine import Finding, Quarantine
from pictor.data.sources.registry import Opened
from pictor.data.survey import Surveyed, records_at, survey

KINDS = {
    "unreadable": "cannot be read, or only in part",
    "small": "has a side below the least",
    "narrow": "its proportions are too extreme",
    "no caption": "has no caption",
    "long caption": "has a caption that is too long",
    "duplicate": "has the same bytes as an earlier one",
}
"""What pictures are found to be."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is asked of pictures and captions."""

    min_side: int = 64
    max_aspect: float = 4.0
    """The longer side over the shorter."""
    max_caption: int = 2000
    """Letters."""

    def __post_init__(self) -> None:
        for name, value, low in (("min_side", self.min_side, 1), ("max_caption", self.max_caption, 1)):
            if value < low:
                raise InputError(f"{name} is {value}", expected=f"at least {low}", param=name)
        if not self.max_aspect >= 1:
            raise InputError(f"max_aspect is {self.max_aspect}", expected="at least 1", param="max_aspect")


@dataclass
class Report:
    """What a check found."""

    pictures: int = 0
    bad: int = 0
    """Pictures with at least one finding."""
    findings: list[Finding] = field(default_factory=list)
    """In the order of the sources."""
    notes: Counter[str] = field(default_factory=Counter)
    """Pictures that will be converted, by what they are."""

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind, those of `KINDS` that there are."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}


def check(
    opened: Sequence[Opened],
    limits: Limits | None = None,
    terms: Terms | None = None,
) -> Report:
    """Decode every picture, and hold all against the limits.

    Args:
        opened: the sources.
        limits: what is asked of them.
        terms: how the work is done.

    Raises:
        Cancelled: stopped on request.
    """
    limits = limits or Limits()
    report = Report()
    numbered: list[tuple[int, Finding]] = []
    contents = _Contents(sum(len(entry.source) for entry in opened))
    for seen in survey(opened, "whole", terms):
        report.pictures += 1
        if seen.facts.look is not None:
            report.notes.update(seen.facts.look.notes)
        wrong = [Finding(seen.place, seen.record.key, kind, why) for kind, why in _wrong(seen, limits)]
        numbered += [(seen.number, finding) for finding in wrong]
        if not wrong:  # a copy that is left out anyway must not stand for the others
            contents.note(seen)
    numbered += contents.duplicates(opened)
    numbered.sort(key=lambda entry: entry[0])
    report.findings = [finding for _, finding in numbered]
    report.bad = len({number for number, _ in numbered})
    return report


def _wrong(seen: Surveyed, limits: Limits) -> Iterator[tuple[str, str]]:
    """Kinds and reasons."""
    facts = seen.facts
    if facts.look is None:
        yield "unreadable", facts.flaw
        return
    width, height = facts.look.width, facts.look.height
    if min(width, height) < limits.min_side:
        yield "small", f"is {width}x{height}, with a side below {limits.min_side}"
    if max(width, height) > limits.max_aspect * min(width, height):
        yield "narrow", f"is {width}x{height}, longer than {limits.max_aspect:g} to 1"
    if not seen.record.captions:
        yield "no caption", "has no caption"
    longest = max((len(text) for text in seen.record.captions), default=0)
    if longest > limits.max_caption:
        yield "long caption", f"has a caption of {longest} letters, more than {limits.max_caption}"


class _Contents:
    """Hashes of all files, 16 bytes each, to find equal ones however many there are."""

    def __init__(self, count: int) -> None:
        self._hashes = np.zeros((count, 2), np.uint64)
        self._known = np.zeros(count, bool)

    def note(self, seen: Surveyed) -> None:
        self._hashes[seen.number] = np.frombuffer(seen.facts.content, np.uint64, 2)
        self._known[seen.number] = True

    def duplicates(self, opened: Sequence[Opened]) -> Iterator[tuple[int, Finding]]:
        numbers = np.flatnonzero(self._known)
        _, first, back = np.unique(self._hashes[numbers], axis=0, return_index=True, return_inverse=True)
        originals = numbers[first[back.reshape(-1)]]
        copies = numbers != originals
        pairs = list(zip(numbers[copies].tolist(), originals[copies].tolist(), strict=True))
        for number, place, key, other in _named(opened, pairs):
            yield number, Finding(place, key, "duplicate", f"has the same bytes as {other}")


def dedupe(
    opened: Sequence[Opened],
    distance: int = 4,
    terms: Terms | None = None,
    quarantine: Quarantine | None = None,
) -> tuple[int, list[Finding]]:
    """Pictures that look like a larger one, or like an earlier one of the same size.

    Args:
        opened: the sources.
        distance: in how many of 64 bits two hashes may differ, 0 to 16.
        terms: how the work is done.
        quarantine: pictures that are left out, and must not stand for others.

    Returns:
        How many pictures were not compared, since they are left out or cannot be read; and the findings in
        the sources' order.

    Raises:
        InputError: distance is out of range.
        Cancelled: stopped on request.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise InputError(f"distance is {distance}", expected=f"0 to {MAX_DISTANCE} bits", param="distance")
    total = sum(len(entry.source) for entry in opened)
    hashes, areas = np.zeros(total, np.uint64), np.zeros(total, np.int64)
    colours = np.zeros((total, 192), np.uint8)
    known: NDArray[np.bool_] = np.zeros(total, bool)
    for seen in survey(opened, "print", terms, quarantine):
        look, mark = seen.facts.look, seen.facts.print
        if look is not None and mark is not None:
            known[seen.number] = True
            hashes[seen.number], areas[seen.number] = mark.gradients, look.width * look.height
            colours[seen.number] = np.frombuffer(mark.colours, np.uint8)
    numbers = np.flatnonzero(known)
    found = losers(hashes[numbers], colours[numbers], areas[numbers], distance)
    pairs = [(int(numbers[loser]), int(numbers[found[loser]])) for loser in sorted(found)]
    findings = [
        Finding(place, key, "look-alike", f"looks like {other}, which is kept")
        for _, place, key, other in _named(opened, pairs)
    ]
    return total - len(numbers), findings


def _named(opened: Sequence[Opened], pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, str, str, str]]:
    """For two pictures by number: the first one's number, place and key, and what it may call the second."""
    known = records_at(opened, chain.from_iterable(pairs))
    for number, other in pairs:
        place, record = known[number]
        there, second = known[other]
        yield number, place, record.key, second.key if there == place else f"{second.source}/{second.key}"
