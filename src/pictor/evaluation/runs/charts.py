"""Curves over samples as inline SVG, which stretches with the page while its labels, in HTML, do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pictor.evaluation.runs.figures import short, thousands

_SIDE = 1000.0
"""Of the drawing, in its own units."""
_MOST = 600
"""Points of a curve that are drawn."""
_TIPS = 80
"""Places that tell their numbers when they are pointed at."""
_LOGARITHMIC = 8.0
"""Ratio of the greatest to the smallest number from which the axis is logarithmic."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Numbers over samples."""

    name: str
    x: Numbers
    y: Numbers
    color: int = 0
    """Which of the page's colours."""
    kind: Literal["line", "faint", "dots"] = "line"
    """`faint` for raw numbers behind a smoothed line."""


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    logarithmic: bool = False

    def place(self, values: Numbers) -> Numbers:
        """0 at the low end, 1 at the high end."""
        low, high = self.low, self.high
        if self.logarithmic:
            values, low, high = np.log(np.maximum(values, low / 100)), math.log(low), math.log(high)
        return np.asarray((values - low) / (high - low or 1.0), np.float64)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            found = _logarithmic_ticks(self.low, self.high)
            if len(found) >= 2:
                return found
        step = 10.0 ** math.floor(math.log10((self.high - self.low) / 4))
        step *= next(factor for factor in (1, 2, 2.5, 5, 10) if (self.high - self.low) / (step * factor) <= 5)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [factor * 10.0**decade for decade in decades for factor in factors]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) >= 3:
            break
    return ticks


def chart(
    title: str,
    curves: Sequence[Curve],
    *,
    tall: bool = False,
    end: float | None = None,
    from_zero: bool = False,
) -> str:
    """A figure of one or more curves; nothing where there are no numbers.

    Args:
        title: what the numbers are.
        curves: drawn in their order.
        tall: the page's main chart.
        end: samples at which the axis ends, None for the last point.
        from_zero: of numbers that are shares of something.
    """
    curves = [curve for curve in curves if len(curve.x)]
    if not curves:
        return ""
    x = _Axis(0.0, max([end or 0.0, *(float(curve.x.max()) for curve in curves)]) or 1.0)
    y, clipped = (_from_zero(curves), False) if from_zero else _value_axis(curves)
    drawn = "".join(_drawn(curve, x, y) for curve in curves)
    grid = "".join(f"<path class='grid' d='M0 {_down(y, t):.1f}H1000'/>" for t in y.ticks())
    left = "".join(f"<span style='top:{_down(y, t) / 10:.2f}%'>{short(t)}</span>" for t in y.ticks())
    below = "".join(_x_label(x, tick) for tick in x.ticks())
    remarks = [
        *(["logarithmic"] if y.logarithmic else []),
        *(["the first values lie above"] if clipped else []),
    ]
    note = f"<small>{', '.join(remarks)}</small>" if remarks else ""
    return (
        f"<figure class='chart{' tall' if tall else ''}'><figcaption><b>{escape(title)}</b>{note}"
        f"{_legend(curves)}</figcaption><div class='plot'><div class='left'>{left}</div>"
        f"<svg viewBox='0 0 1000 1000' preserveAspectRatio='none' role='img' aria-label='{escape(title)}'>"
        f"{grid}{drawn}{_tips(curves, x)}</svg><div class='below'>{below}</div></div></figure>"
    )


def _from_zero(curves: Sequence[Curve]) -> _Axis:
    return _Axis(0.0, 1.08 * max(float(curve.y.max()) for curve in curves) or 1.0)


def _value_axis(curves: Sequence[Curve]) -> tuple[_Axis, bool]:
    """An axis that shows what matters, and whether a curve's beginning lies above it.

    The first values of a loss are often many times the rest: the axis is made for lines from a fiftieth of
    their length on, and for nearly all of the raw numbers behind them.
    """
    lines = [curve for curve in curves if curve.kind != "faint"] or list(curves)
    settled = np.concatenate([curve.y[len(curve.y) // 50 :] for curve in lines])
    raw = [curve.y[len(curve.y) // 50 :] for curve in curves if curve.kind == "faint"]
    ends = [np.percentile(values, (0.5, 99.5)) for values in raw]
    low = min([float(settled.min()), *(float(end[0]) for end in ends)])
    high = max([float(settled.max()), *(float(end[1]) for end in ends)])
    clipped = any(float(curve.y[: max(1, len(curve.y) // 50)].max()) > high * 1.02 for curve in lines)
    if low > 0 and high / low > _LOGARITHMIC:
        return _Axis(low / 1.1, high * 1.1, logarithmic=True), clipped
    gap = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    floor = 0.0 if 0 <= low < 0.35 * high else low - gap
    return _Axis(floor, high + gap), clipped


def _down(axis: _Axis, value: float) -> float:
    return _SIDE * (1 - float(axis.place(np.array([value]))[0]))


def _x_label(axis: _Axis, tick: float) -> str:
    share = 100 * tick / axis.high
    side = " class='last'" if share > 96 else ""
    return f"<span{side} style='left:{share:.2f}%'>{thousands(tick)}</span>"


def _drawn(curve: Curve, x: _Axis, y: _Axis) -> str:
    across, down = _SIDE * x.place(curve.x), _SIDE * (1 - y.place(curve.y))
    if curve.kind == "dots" or len(curve.x) == 1:
        dots = "".join(f"M{a:.1f} {b:.1f}h.01" for a, b in zip(across, down, strict=True))
        return f"<path class='dots c{curve.color}' d='{dots}'/>"
    across, down = _thinned(across, down)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, np.clip(down, -500, 1500), strict=True))
    return f"<polyline class='{curve.kind} c{curve.color}' points='{points}'/>"


def _thinned(across: Numbers, down: Numbers) -> tuple[Numbers, Numbers]:
    """At most so many points; of each stretch the lowest and the highest, so that no peak is lost."""
    if len(across) <= _MOST:
        return across, down
    keep: list[int] = []
    for part in np.array_split(np.arange(len(across)), _MOST // 2):
        keep += sorted({int(part[down[part].argmin()]), int(part[down[part].argmax()])})
    return across[keep], down[keep]


def _legend(curves: Sequence[Curve]) -> str:
    if len({curve.name for curve in curves}) < 2:
        return ""
    items = "".join(
        f"<span class='key {curve.kind} c{curve.color}'>{escape(curve.name)}</span>" for curve in curves
    )
    return f"<span class='legend'>{items}</span>"


def _tips(curves: Sequence[Curve], x: _Axis) -> str:
    """Invisible columns whose titles browsers show to who points at them."""
    places = np.unique(np.concatenate([curve.x for curve in curves]))
    if len(places) > _TIPS:
        places = places[np.linspace(0, len(places) - 1, _TIPS).round().astype(int)]
    centres = _SIDE * x.place(places)
    edges = np.concatenate([[0.0], (centres[1:] + centres[:-1]) / 2, [_SIDE]])
    tips = []
    for index, samples in enumerate(places):
        told = [f"{thousands(samples)} samples"]
        for curve in curves:
            if float(curve.x.min()) <= samples <= float(curve.x.max()):
                value = curve.y[int(np.abs(curve.x - samples).argmin())]
                told.append(f"{curve.name}: {short(float(value))}")
        width = edges[index + 1] - edges[index]
        tips.append(
            f"<rect x='{edges[index]:.1f}' width='{width:.1f}' height='1000'>"
            f"<title>{escape(chr(10).join(dict.fromkeys(told)))}</title></rect>"
        )
    return f"<g class='tips'>{''.join(tips)}</g>"
