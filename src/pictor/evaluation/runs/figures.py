"""Figures of runs: which of them tells most, which direction is better, and how they are written."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping

from pictor.evaluation.runs.reading import Run

_GOOD_HIGH = {"psnr", "ssim", "accuracy", "retrieval", "recall", "precision"}
_GOOD_LOW = {"mse", "mae", "l1", "loss", "error", "nll", "kl", "fd", "kid", "distance"}
_TIME = re.compile(r"_t[0-9.]+$")


def lower_is_better(name: str) -> bool:
    """By the words of a figure's name: errors are good low; all else, shares and scores, is good high."""
    words = set(name.lower().split("_"))
    return bool(words & _GOOD_LOW) and not words & _GOOD_HIGH


def headline(figures: Mapping[str, float]) -> tuple[str, float] | None:
    """The figure that stands for a validation: its first, or the mean of one figure at several times."""
    if not figures:
        return None
    name, members = next(iter(by_stem(figures).items()))
    return name, sum(figures[member] for member in members) / len(members)


def by_stem(names: Iterable[str]) -> dict[str, list[str]]:
    """Names of figures by what they are of, whose times, as in held_out_mse_t0.3, differ alone."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(_TIME.sub("", name), []).append(name)
    return found


def best(run: Run) -> tuple[str, float, int] | None:
    """Name, value and samples of the best headline of a run's validations."""
    told = [(found, one.samples) for one in run.validations if (found := headline(one.figures))]
    if not told:
        return None
    name = told[-1][0][0]
    mine = [(value, samples) for (stem, value), samples in told if stem == name]
    value, samples = (min if lower_is_better(name) else max)(mine, key=lambda pair: pair[0])
    return name, value, samples


def progress(run: Run) -> str:
    """Where a run stands, in words."""
    at = thousands(run.samples)
    if run.state == "finished":
        return "finished"
    if run.state == "ended" or run.planned is None:
        return f"{run.state} at {at}"
    return f"{run.state} at {at} of {thousands(run.planned)}"


def thousands(number: float) -> str:
    """1234567 as "1.23M", 273664 as "274k"."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:  # what rounds up to it is written in it
            return f"{float(f'{number / size:.3g}'):g}{letter}"
    return f"{number:g}"


def short(value: float | None) -> str:
    """Four digits, or a dash."""
    return "-" if value is None else f"{value:.4g}"


def span(seconds: float) -> str:
    """A length of time in its two largest units."""
    minutes = int(max(0.0, seconds) // 60)
    if minutes < 1:
        return f"{max(0.0, seconds):.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes:02} min"
    return f"{hours // 24} d {hours % 24} h"


def age(run: Run) -> str:
    """How long ago its last sign of life was."""
    return span(time.time() - run.updated)


def flat(table: Mapping[str, object], before: str = "") -> dict[str, object]:
    """Nested tables under dotted names."""
    found: dict[str, object] = {}
    for key, value in table.items():
        name = f"{before}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found
