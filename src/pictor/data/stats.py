"""What is in sources: how many pictures of which sizes and proportions, their captions and licences."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from pictor.data.buckets import Buckets, part_kept
from pictor.data.crew import Terms
from pictor.data.sources.registry import Opened
from pictor.data.survey import Surveyed, survey

_SIDES = (64, 128, 256, 512, 1024, 2048)
"""Where the classes of the shorter side begin, in pixels."""


@dataclass
class Stats:
    """Counts over all sources."""

    buckets: Buckets
    pictures: Counter[str] = field(default_factory=Counter)
    """By source."""
    unreadable: int = 0
    """Pictures whose head cannot be read; they have no size."""
    formats: Counter[str] = field(default_factory=Counter)
    sides: Counter[str] = field(default_factory=Counter)
    """By the class of the shorter side."""
    in_bucket: Counter[int] = field(default_factory=Counter)
    enlarged: Counter[int] = field(default_factory=Counter)
    """Those of a bucket that are smaller than it."""
    kept: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Sum over the pictures of a bucket of the share that is not cut off."""
    licences: Counter[str] = field(default_factory=Counter)
    captions_each: Counter[int] = field(default_factory=Counter)
    """Pictures by how many captions they have."""
    letters: Counter[int] = field(default_factory=Counter)
    """Captions by their length."""

    def note(self, seen: Surveyed) -> None:
        """Count a picture."""
        record, look = seen.record, seen.facts.look
        self.pictures[record.source] += 1
        self.licences[record.licence] += 1
        self.captions_each[len(record.captions)] += 1
        self.letters.update(len(text) for text in record.captions)
        if look is None:
            self.unreadable += 1
            return
        self.formats[look.format] += 1
        self.sides[_side_class(min(look.width, look.height))] += 1
        bucket = self.buckets.assign(look.width, look.height)
        across, down = self.buckets.sizes[bucket]
        self.in_bucket[bucket] += 1
        self.enlarged[bucket] += look.width < across or look.height < down
        self.kept[bucket] += part_kept(look.width, look.height, (across, down))

    def document(self) -> dict[str, Any]:
        """All of it, for machines; shares and lengths are rounded."""
        return {
            "pictures": sum(self.pictures.values()),
            "sources": dict(sorted(self.pictures.items())),
            "unreadable": self.unreadable,
            "formats": dict(self.formats.most_common()),
            "shorter_side": {name: self.sides[name] for name in _class_names() if self.sides[name]},
            "buckets": [
                {
                    "bucket": name,
                    "pictures": self.in_bucket[number],
                    "enlarged": self.enlarged[number],
                    "kept": round(self.kept[number] / max(self.in_bucket[number], 1), 4),
                }
                for number, name in enumerate(self.buckets.names())
                if self.in_bucket[number]
            ],
            "captions": {
                "total": sum(self.letters.values()),
                "pictures_without": self.captions_each[0],
                "pictures_with_several": sum(n for each, n in self.captions_each.items() if each > 1),
                "letters": _quantiles(self.letters),
            },
            "licences": dict(self.licences.most_common()),
        }


def stats(opened: Sequence[Opened], buckets: Buckets, terms: Terms | None = None) -> Stats:
    """Count what is there. Of the pictures only the heads are decoded.

    Args:
        opened: the sources.
        buckets: sizes that they would be prepared to.
        terms: how the work is done.

    Raises:
        Cancelled: stopped on request.
    """
    counted = Stats(buckets)
    for seen in survey(opened, "head", terms):
        counted.note(seen)
    return counted


def _class_names() -> list[str]:
    between = [f"{low} to {high - 1}" for low, high in pairwise(_SIDES)]
    return [f"below {_SIDES[0]}", *between, f"{_SIDES[-1]} and more"]


def _side_class(side: int) -> str:
    return _class_names()[int(np.searchsorted(_SIDES, side, side="right"))]


def _quantiles(counted: Counter[int]) -> dict[str, int]:
    """Least, median, 95th percentile and most of counted numbers."""
    if not counted:
        return {}
    values = np.array(sorted(counted))
    below = np.cumsum([counted[value] for value in values.tolist()])
    shares = {"least": 0.0, "median": 0.5, "p95": 0.95, "most": 1.0}
    return {
        name: int(values[np.searchsorted(below, max(share * below[-1], 1))]) for name, share in shares.items()
    }
