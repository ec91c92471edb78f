"""Several runs beside each other: what they share, where their recipes differ, and one page of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

import numpy as np

from pictor.evaluation.runs.charts import Curve, chart
from pictor.evaluation.runs.figures import best, flat, lower_is_better, progress, short, span, thousands
from pictor.evaluation.runs.look import COLORS, document, section, setting, strip, table
from pictor.evaluation.runs.reading import Run
from pictor.evaluation.runs.trace import smooth
from pictor.training.recipe import WATCHING

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """A key of recipes that are not alike in it; None in a run that does not have it, or as its value."""

    key: str
    values: tuple[object, ...]
    """One a run."""


def differences(runs: Sequence[Run]) -> list[Difference]:
    """Where the recipes differ in what decides the runs, in the order of their keys."""
    tables = [flat({key: value for key, value in run.recipe.items() if key not in WATCHING}) for run in runs]
    keys = dict.fromkeys(key for table in tables for key in table)
    return [
        Difference(key, tuple(table.get(key) for table in tables))
        for key in keys
        if any(table.get(key, _MISSING) != tables[0].get(key, _MISSING) for table in tables)
    ]


def final_figures(runs: Sequence[Run]) -> dict[str, list[float | None]]:
    """The newest validation's figures by name, one a run; None where a run has no such figure."""
    newest = [dict(run.validations[-1].figures) if run.validations else {} for run in runs]
    names = dict.fromkeys(name for figures in newest for name in figures)
    return {name: [figures.get(name) for figures in newest] for name in names}


def alike(runs: Sequence[Run]) -> bool:
    """Whether their losses mean the same."""
    return len({run.kind for run in runs}) == 1


def compare_page(runs: Sequence[Run]) -> str:
    """The whole page."""
    names = " ".join(_named(runs))
    kinds = ", ".join(dict.fromkeys(run.kind for run in runs))
    body = [
        f"<header><p class='over'>Training runs · {escape(kinds)}</p><h1>{names}</h1></header>",
        _overview(runs),
        _curves(runs),
        section(
            "Final figures",
            _figures(runs),
            "Of each run's newest validation. Bold is the best of those that have the figure.",
        ),
        section(
            "Previews",
            strip(
                [
                    (f"{r.name}, {thousands(r.previews[-1].samples)}", r.previews[-1])
                    for r in runs
                    if r.previews
                ]
            ),
            "The newest of each run.",
        ),
        section("Recipes", _recipes(runs), "The keys in which they differ."),
        f"<footer>As it was on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC</footer>",
    ]
    return document(f"{', '.join(run.name for run in runs)}: comparison", "\n".join(body))


def _named(runs: Sequence[Run]) -> list[str]:
    return [
        f"<span class='c{i % COLORS}'><span class='swatch'></span>{escape(run.name)}</span>"
        for i, run in enumerate(runs)
    ]


def _overview(runs: Sequence[Run]) -> str:
    rows = []
    for name, run in zip(_named(runs), runs, strict=True):
        told = best(run)
        rows.append(
            [
                name,
                escape(run.kind),
                escape(progress(run)),
                thousands(run.samples),
                short(run.loss),
                f"{short(told[1])} <small>{escape(told[0])}</small>" if told else "-",
                short(run.speed),
                "-" if run.seconds is None else span(run.seconds),
            ]
        )
    head = ["run", "kind", "state", "samples", "loss", "best validation", "samples/s", "time"]
    return table(head, rows, ["name", "name", "name", "number", "number", "name", "number", "number"])


def _curves(runs: Sequence[Run]) -> str:
    note, main = "Losses of different objectives mean different things and are not drawn together.", ""
    if alike(runs):
        note = "Smoothed. Where batch sizes differ, so does how far one line scatters."
        main = chart("Loss", [_curve(run, i, "loss", smoothed=True) for i, run in enumerate(runs)], tall=True)
    small = [
        chart(title, [_curve(run, i, key) for i, run in enumerate(runs)], from_zero=True)
        for title, key in (("Learning rate", "rate"), ("Samples a second", "speed"))
    ]
    inner = f"{main}<div class='charts'>{''.join(small)}</div>" if main or any(small) else ""
    return section("Curves", inner, note)


def _curve(run: Run, index: int, key: str, *, smoothed: bool = False) -> Curve:
    told = [(p.samples, getattr(p, key)) for p in run.points if getattr(p, key) is not None]
    x, y = (np.array([pair[i] for pair in told], np.float64) for i in (0, 1))
    return Curve(name=run.name, x=x, y=smooth(y) if smoothed and len(y) else y, color=index % COLORS)


def _figures(runs: Sequence[Run]) -> str:
    rows = []
    for name, values in final_figures(runs).items():
        told = [value for value in values if value is not None]
        winner = (min if lower_is_better(name) else max)(told) if len(told) > 1 else None
        cells = [
            f"<b>{short(value)}</b>" if value is not None and value == winner else short(value)
            for value in values
        ]
        better = "lower is better" if lower_is_better(name) else "higher is better"
        rows.append([f"{escape(name)} <small>{better}</small>", *cells])
    if not rows:
        return ""
    return table(["figure", *(run.name for run in runs)], rows, ["name", *["number"] * len(runs)])


def _recipes(runs: Sequence[Run]) -> str:
    rows = [[escape(one.key), *(setting(value) for value in one.values)] for one in differences(runs)]
    if not rows:
        return "<div class='panel'><p>They are the same in every key.</p></div>"
    return table(["key", *(run.name for run in runs)], rows, ["name", *["words"] * len(runs)])
