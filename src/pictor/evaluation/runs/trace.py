"""What can be said of a run's course, computed: smoothed curves, and a line for each tenth of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pictor.evaluation.runs.reading import Point, Run
from pictor.evaluation.runs.rivals import rivalry

_WIDTH = 50
"""The smoothing window's width as a share of the curve: one of so many."""
_PARTS = 10
_SURE = 2.0
"""Standard errors that a change must exceed to be told as one."""
_ODD_SPEED = 0.15

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tenth of a run."""

    number: int
    """From 1."""
    first: int
    last: int
    """Samples that it begins and ends with; it may not be full yet."""
    lines: int
    loss: float
    """Mean of its lines."""
    figures: dict[str, float]
    """Means."""
    rate: float | None
    """Learning rate at its end."""
    speed: float | None
    """Median samples a second."""
    observation: str


def smooth(values: Numbers) -> Numbers:
    """A Gaussian mean over neighbouring lines, with what there is at the ends.

    Args:
        values: [N].
    """
    deviation = len(values) / _WIDTH
    if deviation < 1:
        return values
    reach = int(3 * deviation)
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    total = np.convolve(values, window, "full")[reach : reach + len(values)]
    weight = np.convolve(np.ones(len(values)), window, "full")[reach : reach + len(values)]
    return np.asarray(total / weight, np.float64)


def parts(run: Run) -> list[Part]:
    """The tenths of the run that have lines, with what changed from each to the next."""
    whole = max(run.planned or 0, run.points[-1].samples if run.points else 0)
    usual = run.speed
    found: list[Part] = []
    before: list[Point] = []
    for number in range(_PARTS):
        low, high = (whole * edge / _PARTS for edge in (number, number + 1))
        here = [point for point in run.points if low < point.samples <= high]
        if not here:
            continue
        speeds = [point.speed for point in here if point.speed is not None]
        speed = float(np.median(speeds)) if speeds else None
        remarks = [_change(before, here), *_remarks(before, here)]
        if speed is not None and usual is not None and abs(speed / usual - 1) > _ODD_SPEED:
            word = "slower" if speed < usual else "faster"
            remarks.append(f"{100 * abs(speed / usual - 1):.0f}% {word} than the run's median")
        names = list(dict.fromkeys(name for point in here for name in point.figures))
        told = {name: [p.figures[name] for p in here if name in p.figures] for name in names}
        figures = {name: float(np.mean(values)) for name, values in told.items()}
        remarks += rivalry(figures)
        found.append(
            Part(
                number=number + 1,
                first=round(low),
                last=here[-1].samples,
                lines=len(here),
                loss=float(np.mean([point.loss for point in here])),
                figures=figures,
                rate=here[-1].rate,
                speed=speed,
                observation="; ".join(remark for remark in remarks if remark),
            )
        )
        before = here
    return found


def _change(before: list[Point], here: list[Point]) -> str:
    """How the mean loss moved, and whether that is more than its scatter."""
    now, now_error = _mean(here)
    if not before:
        return f"begins at {here[0].loss:.4g}"
    then, then_error = _mean(before)
    if then <= 0:
        return f"from {then:.4g} to {now:.4g}"
    change = 100 * (now / then - 1)
    word = "falling" if change < 0 else "rising"
    if now_error is None or then_error is None:
        return f"{word} {abs(change):.2g}%, by few lines"
    noise = 100 * _SURE * float(np.hypot(now_error, then_error)) / then
    if abs(change) <= noise:
        return f"flat: {change:+.2g}%, within ±{noise:.2g}"
    return f"{word} {abs(change):.2g}% (±{noise:.2g})"


def _mean(points: list[Point]) -> tuple[float, float | None]:
    """Mean loss and its standard error round a straight trend; no error of fewer than four lines."""
    losses = np.array([point.loss for point in points])
    if len(losses) < 4:
        return float(losses.mean()), None
    places = np.arange(len(losses)) - (len(losses) - 1) / 2
    slope = float(places @ losses / (places @ places))
    rest = losses - losses.mean() - slope * places
    return float(losses.mean()), float(np.sqrt(rest @ rest / (len(losses) - 2) / len(losses)))


def _remarks(before: list[Point], here: list[Point]) -> list[str]:
    rates = [point.rate for point in ([*before[-1:], *here]) if point.rate is not None]
    if len(rates) < 2 or rates[0] == rates[-1]:
        return []
    if rates[-1] > rates[0]:
        return ["learning rate rises"]
    share = 100 * rates[-1] / max(rates)
    return [f"learning rate falls {f'by {100 - share:.0f}%' if share >= 1 else 'to zero'}"]
