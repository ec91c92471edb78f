"""One pass over the pictures of sources by several processes: what each is, and why one cannot be used."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pictor.data.crew import At, Crew, Part, Terms, parts
from pictor.data.decoding import Look, Unusable, decode, decode_to, look
from pictor.data.duplicates import Print, print_of, thumb_size
from pictor.data.quarantine import Quarantine
from pictor.data.sources.registry import Opened
from pictor.data.sources.source import Record

Depth = Literal["head", "print", "whole"]
"""What of a picture is read: its size; also its bytes and a small version; all of its pixels."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a picture is, or why nobody knows."""

    look: Look | None = None
    content: bytes = b""
    """SHA-256 of its file's bytes, where they are read."""
    print: Print | None = None
    flaw: str = ""


@dataclass(frozen=True)
class Survey:
    """Reads parts to a depth; runs in the workers."""

    depth: Depth

    def __call__(self, part: Part, at: At) -> list[Facts]:
        return [self._facts(part, index, at) for index in range(len(part.records))]

    def _facts(self, part: Part, index: int, at: At) -> Facts:
        if index in part.bad:
            return Facts(flaw=part.bad[index])
        at(index)
        try:
            data = part.records[index].read()
        except OSError as error:
            return Facts(flaw=f"cannot be read: {error}")
        if self.depth == "head":
            return _look(data)
        content = hashlib.sha256(data).digest()
        try:
            if self.depth == "whole":
                return Facts(decode(data)[1], content)
            pixels, seen = decode_to(data, thumb_size)
            return Facts(seen, content, print_of(pixels))
        except Unusable as error:
            return Facts(content=content, flaw=str(error))


def _look(data: bytes) -> Facts:
    try:
        return Facts(look(data))
    except Unusable as error:
        return Facts(flaw=str(error))


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A picture of a source, and what it is."""

    number: int
    """Among those of all sources."""
    place: str
    record: Record
    facts: Facts


def survey(
    opened: Sequence[Opened],
    depth: Depth,
    terms: Terms | None = None,
    quarantine: Quarantine | None = None,
) -> Iterator[Surveyed]:
    """Every picture of all sources, in whatever order they are done.

    Args:
        opened: the sources.
        depth: how much is read.
        terms: how the work is done.
        quarantine: pictures that are not read; they count as flawed.

    Raises:
        Cancelled: stopped on request.
    """
    terms = terms or Terms()
    total = sum(len(entry.source) for entry in opened)
    places = {entry.name: entry.place for entry in opened}
    done = 0
    for part, found in Crew(Survey(depth), terms).results(parts(opened, quarantine)):
        for index, (record, facts) in enumerate(zip(part.records, found, strict=True)):
            yield Surveyed(part.first + index, places[record.source], record, facts)
        done += len(found)
        terms.report(done, total)


def records_at(opened: Sequence[Opened], numbers: Iterable[int]) -> dict[int, tuple[str, Record]]:
    """The places and the records of numbers among those of all sources, in one pass over these."""
    found: dict[int, tuple[str, Record]] = {}
    wanted = np.unique(np.fromiter(numbers, np.int64))
    before = 0
    for entry in opened:
        end = before + len(entry.source)
        here = wanted[(wanted >= before) & (wanted < end)].tolist()
        if here:
            records = enumerate(entry.source.records(here[0] - before), here[0])
            for number in here:
                found[number] = entry.place, next(record for at, record in records if at == number)
        before = end
    return found
