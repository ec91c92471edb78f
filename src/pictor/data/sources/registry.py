"""The kinds of sources, each in a file of its own, and how those that the user names are opened.

A kind's file ends with `KIND = Kind(...)`; nothing else has to be edited to add one.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache

from pictor.core.errors import InputError
from pictor.data import sources
from pictor.data.sources.source import SUFFIXES, Reading, Record, Source

_WEIGHTED = re.compile(r"(.+):(\d+(?:\.\d+)?)")
_MAX_WEIGHT = 100


@dataclass(frozen=True, kw_only=True)
class Look:
    """What lies at a place, seen once for all kinds."""

    place: str
    """An absolute path, or the user's words where there is no such path."""
    exists: bool
    top: frozenset[str] = frozenset()
    """Names directly in the folder, or the file's own."""
    suffixes: Counter[str] = field(default_factory=Counter)
    """Of all files beneath it in small letters; hidden files and folders do not count."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What the registry needs to know of a kind of source."""

    name: str
    holds: str
    """By what it is told from others, for errors ("tar shards")."""
    finds: Callable[[Look], bool]
    open: Callable[[Look, str, Reading], Source]
    """Opens what was found under a name; checks it as a whole, and reads no picture."""
    takes: frozenset[str] = frozenset()
    """Fields of `Reading` that mean something to it, besides the licence."""
    last: bool = False
    """Asked only where no other kind finds anything."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A source that the user named."""

    name: str
    place: str
    kind: str
    source: Source
    weight: Fraction = Fraction(1)
    """How often each picture is seen in a pass over the data."""


@cache
def all_kinds() -> dict[str, Kind]:
    """Every kind of source by name."""
    found: dict[str, Kind] = {}
    for module in pkgutil.iter_modules(sources.__path__):
        kind = getattr(importlib.import_module(f"{sources.__name__}.{module.name}"), "KIND", None)
        if isinstance(kind, Kind):
            found[kind.name] = kind
    return found


def open_sources(given: Sequence[str], reading: Reading | None = None) -> list[Opened]:
    """Open sources by what lies at their places.

    Args:
        given: paths, or `hf:` and the id of a data set on the Hugging Face Hub; each may end with a
            weight (`cats:2.5`).
        reading: columns, split and licence.

    Raises:
        InputError: there is nothing, or nothing known, or several kinds at once; two are one; a column that
            no source has.
        MissingExtraError: a kind needs an extra that is not installed.
    """
    reading = reading or Reading()
    if not given:
        raise InputError("no source is given", expected="a folder or file of pictures", param="source")
    looks, weights = [], []
    for text in given:
        place, weight = _weighed(text)
        looks.append(look_at(place))
        weights.append(weight)
    if twice := [place for place, count in Counter(look.place for look in looks).items() if count > 1]:
        raise InputError(
            f"{twice[0]} is given twice",
            expected="each source once",
            remedy=f"Give {twice[0]}:2 for twice the weight.",
            param="source",
        )
    kinds = [_kind_of(look) for look in looks]
    for name, flag in (("image", "image-column"), ("captions", "caption-column"), ("split", "split")):
        if getattr(reading, name) and not any(name in kind.takes for kind in kinds):
            raise InputError(
                f"--{flag} is given, but {' and '.join(sorted({kind.name for kind in kinds}))} has none",
                expected="it to mean something to a source",
                remedy="Leave it out.",
                param=flag,
            )
    names = _names([look.place for look in looks])
    return [
        Opened(
            name=name, place=look.place, kind=kind.name, source=kind.open(look, name, reading), weight=weight
        )
        for look, kind, name, weight in zip(looks, kinds, names, weights, strict=True)
    ]


def all_records(opened: Sequence[Opened]) -> Iterator[Record]:
    """The records of all sources, one source after the other."""
    for entry in opened:
        yield from entry.source.records()


def look_at(place: str) -> Look:
    """See what lies at a place, without reading it."""
    path = os.path.abspath(place)
    if os.path.isfile(path):
        name = os.path.basename(path)
        return Look(
            place=path,
            exists=True,
            top=frozenset([name]),
            suffixes=Counter([os.path.splitext(name)[1].lower()]),
        )
    if not os.path.isdir(path):
        return Look(place=place, exists=False)
    suffixes: Counter[str] = Counter()
    for _, names in visible_files(path):
        suffixes.update(os.path.splitext(name)[1].lower() for name in names)
    top = frozenset(name for name in os.listdir(path) if not name.startswith("."))
    return Look(place=path, exists=True, top=top, suffixes=suffixes)


def visible_files(path: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder beneath a path, in the order of names, and the names of its files; hidden ones left out."""
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield folder, sorted(name for name in names if not name.startswith("."))


def files_under(look: Look, suffix: str) -> list[str]:
    """Paths of a place's files with a suffix, in the order of names."""
    if os.path.isfile(look.place):
        return [look.place]
    return [
        os.path.join(folder, name)
        for folder, names in visible_files(look.place)
        for name in names
        if name.lower().endswith(suffix)
    ]


def _weighed(text: str) -> tuple[str, Fraction]:
    match = None if os.path.exists(text) else _WEIGHTED.fullmatch(text)
    if match is None:
        return text, Fraction(1)
    weight = Fraction(match[2])
    if not 0 < weight <= _MAX_WEIGHT or (weight * 10).denominator != 1:
        raise InputError(
            f"the weight of {match[1]} is {match[2]}",
            expected=f"tenths from 0.1 to {_MAX_WEIGHT}",
            param="source",
        )
    return match[1], weight


def _kind_of(look: Look) -> Kind:
    found = [kind for kind in all_kinds().values() if not kind.last and kind.finds(look)]
    found = found or [kind for kind in all_kinds().values() if kind.last and kind.finds(look)]
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(look, [kind.holds for kind in found])
    if not look.exists:
        raise InputError(
            f"there is no folder or file {look.place}",
            expected="one of pictures, or hf: and the id of a data set on the Hugging Face Hub",
            param="source",
        )
    expected = "; ".join(kind.holds for kind in all_kinds().values())
    if not look.suffixes:
        raise InputError(f"{look.place} is empty", expected=expected, param="source")
    counts = [f"{count} of {suffix or 'no suffix'}" for suffix, count in look.suffixes.most_common(5)]
    raise InputError(
        f"{look.place} holds no pictures that are known: it has {', '.join(counts)}",
        expected=expected,
        param="source",
    )


def _several(look: Look, held: Sequence[str]) -> InputError:
    return InputError(
        f"{look.place} holds {' and '.join(held)}",
        expected="one of them",
        remedy="Name the file or the folder that you mean.",
        param="source",
    )


def refuse_pictures(look: Look, kind: Kind) -> None:
    """Refuse files of pictures beside a kind that does not read them, and would leave them out unsaid."""
    if count := sum(look.suffixes[suffix] for suffix in SUFFIXES):
        raise _several(look, [kind.holds, f"{count} pictures in files of their own"])


def _names(places: Sequence[str]) -> list[str]:
    """The last parts of the places, as many as it takes to tell them apart."""
    parts = [[part for part in re.split(r"[/\\]", place) if part] or [place] for place in places]
    depth = 1
    while len({tuple(part[-depth:]) for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]
