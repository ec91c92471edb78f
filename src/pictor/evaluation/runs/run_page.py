"""One run as one HTML page that needs nothing besides itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from html import escape

import numpy as np

from pictor.evaluation.runs.charts import Curve, chart
from pictor.evaluation.runs.figures import (
    age,
    best,
    by_stem,
    flat,
    lower_is_better,
    progress,
    short,
    span,
    thousands,
)
from pictor.evaluation.runs.look import COLORS, cards, document, section, setting, settings, strip, table
from pictor.evaluation.runs.reading import Call, Run
from pictor.evaluation.runs.trace import Part, parts, smooth

_SHOWN = 8
"""Previews of a strip, the first and the last among them."""
_TRACED = 5
"""Figures beside the loss that the trace shows."""


def run_page(run: Run) -> str:
    """The whole page."""
    traced = parts(run)
    body = [
        _header(run),
        cards(_facts(run, traced)),
        _charts(run),
        section("Previews", _previews(run), "Always the same prompts and noise, by the averaged network."),
        section("Validation", _validation(run)),
        section(
            "Course",
            _trace(run, traced),
            "Each tenth beside the one before; a change counts where it exceeds two standard errors.",
        ),
        section("Problems", _problems(run)),
        section("Recipe", settings(flat(run.recipe)) if run.recipe else ""),
        section("Calls", _calls(run)),
        f"<footer>As it was on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC</footer>",
    ]
    return document(f"{run.name}: training run", "\n".join(body))


def _header(run: Run) -> str:
    share = 100 * run.samples / run.planned if run.planned else 0.0
    bar = f"<div class='bar'><b style='width:{min(100.0, share):.1f}%'></b></div>" if run.planned else ""
    reason = f": {run.reason}" if run.reason else ""
    return (
        f"<header style='--tone:var(--{run.state})'><p class='over'>Training run · {escape(run.kind)}</p>"
        f"<h1>{escape(run.name)}</h1><span class='pill'>{escape(progress(run) + reason)}</span>{bar}</header>"
    )


def _facts(run: Run, traced: list[Part]) -> list[tuple[str, str, str]]:
    of = f"of {thousands(run.planned)}" if run.planned else "length not known"
    found = [("Samples", thousands(run.samples), of)]
    found.append(
        ("Loss", short(run.loss), traced[-1].observation.split(";")[0] if traced else "no lines yet")
    )
    if told := best(run):
        name, value, samples = told
        found.append(("Best validation", short(value), f"{name}, at {thousands(samples)}"))
    found.append(("Samples a second", short(run.speed), "median"))
    left = (run.planned - run.samples) / run.speed if run.planned and run.speed else None
    if run.seconds is not None:
        found.append(
            ("Training time", span(run.seconds), f"{len(run.calls)} calls" if len(run.calls) > 1 else "")
        )
    if run.memory_gb is not None:
        found.append(("Memory", f"{run.memory_gb:.2f} GB", "at most"))
    if run.state == "running" and left is not None:
        found.append(("Left", span(left), "at the median speed"))
    found.append(("Last line", f"{age(run)} ago", ""))
    return found


def _charts(run: Run) -> str:
    if not run.points:
        return ""
    x = np.array([point.samples for point in run.points], np.float64)
    loss = np.array([point.loss for point in run.points])
    end = float(run.planned or 0)
    main = chart(
        "Loss",
        [Curve(name="batch", x=x, y=loss, kind="faint"), Curve(name="smoothed", x=x, y=smooth(loss))],
        tall=True,
        end=end,
    )
    speed = "Samples a second" if run.seconds is not None else "Samples a second, since the call began"
    small = [
        chart(title, [_curve(run, title, [getattr(p, key) for p in run.points])], end=end, from_zero=True)
        for title, key in (("Learning rate", "rate"), (speed, "speed"))
    ]
    for name in dict.fromkeys(name for point in run.points for name in point.figures):
        raw = _curve(run, "batch", [point.figures.get(name) for point in run.points], "faint")
        curves = [raw, Curve(name="smoothed", x=raw.x, y=smooth(raw.y), color=2)]
        small.append(chart(name, curves, end=end))
    return f"{section('Curves', main)}<div class='charts'>{''.join(small)}</div>"


def _curve(run: Run, name: str, values: list[float | None], kind: str = "line") -> Curve:
    told = [(p.samples, value) for p, value in zip(run.points, values, strict=True) if value is not None]
    x, y = (np.array([pair[i] for pair in told], np.float64) for i in (0, 1))
    return Curve(name=name, x=x, y=y, color=2, kind="faint" if kind == "faint" else "line")


def _previews(run: Run) -> str:
    count = len(run.previews)
    chosen = sorted({round(i) for i in np.linspace(0, count - 1, min(_SHOWN, count))}) if count else []
    return strip([(thousands(run.previews[i].samples), run.previews[i]) for i in chosen])


def _validation(run: Run) -> str:
    if not run.validations:
        return ""
    if len(run.validations) == 1:
        found = run.validations[0]
        rows = [[escape(name), short(value)] for name, value in found.figures.items()]
        return table(["figure", f"at {thousands(found.samples)} samples"], rows, ["name", "number"])
    charts = []
    for stem, members in by_stem(
        dict.fromkeys(name for one in run.validations for name in one.figures)
    ).items():
        curves = []
        for number, name in enumerate(members):
            told = [(one.samples, one.figures[name]) for one in run.validations if name in one.figures]
            x, y = (np.array([pair[i] for pair in told], np.float64) for i in (0, 1))
            label = name.removeprefix(f"{stem}_")
            curves.append(Curve(name=label, x=x, y=y, color=number % COLORS))
        if len(curves) == 1:
            curves.append(replace(curves[0], kind="dots"))
        good = "lower is better" if lower_is_better(stem) else "higher is better"
        charts.append(chart(f"{stem} ({good})", curves, end=float(run.planned or 0)))
    return f"<div class='charts'>{''.join(charts)}</div>"


def _trace(run: Run, traced: list[Part]) -> str:
    if not traced:
        return ""
    names = list(traced[-1].figures)[:_TRACED]
    rows = [
        [
            f"{thousands(part.first)} - {thousands(part.last)}",
            short(part.loss),
            *(short(part.figures.get(name)) for name in names),
            "-" if part.rate is None else f"{part.rate:.2g}",
            short(part.speed),
            escape(part.observation),
        ]
        for part in traced
    ]
    head = ["samples", "loss", *names, "rate", "samples/s", "what happened"]
    return table(head, rows, ["name", *["number"] * (len(head) - 2), "words"])


def _problems(run: Run) -> str:
    if not run.problems:
        return ""
    items = "".join(f"<li>{escape(problem)}</li>" for problem in run.problems)
    return f"<div class='panel'><ul class='problems'>{items}</ul></div>"


def _calls(run: Run) -> str:
    rows = [
        [
            _when(call),
            _how(call, run.state == "running" and call is run.calls[-1]),
            _machine(call),
            _versions(call),
        ]
        for call in run.calls
    ]
    return (
        table(["when", "ended", "machine", "versions"], rows, ["name", "", "words", "words"]) if rows else ""
    )


def _when(call: Call) -> str:
    begun = f"{call.started:%Y-%m-%d %H:%M} UTC" if call.started else "?"
    if call.started and call.ended:
        begun += f"<br>{span((call.ended - call.started).total_seconds())}"
    return begun


def _how(call: Call, runs: bool) -> str:
    if call.ended is None:
        return "goes on" if runs else "killed"
    at = f" at {thousands(call.samples)}" if call.samples is not None else ""
    return escape(
        {"return": "by itself", "stop": "on request"}.get(call.ended_by or "", str(call.ended_by)) + at
    )


def _machine(call: Call) -> str:
    facts = call.facts
    gpus = facts.get("gpus")
    told = [
        *([str(gpu) for gpu in gpus] if isinstance(gpus, list) else []),
        f"{facts.get('cpu', 'unknown processor')}, {facts.get('cores', '?')} cores",
        f"{facts.get('memory_gib', '?')} GiB of memory",
        f"device {facts.get('device', '?')}, processes {facts.get('processes', '?')},"
        f" drawers {facts.get('drawers', '?')}",
        str(facts.get("system", "")),
    ]
    return "<br>".join(escape(line) for line in told if line)


def _versions(call: Call) -> str:
    versions = call.facts.get("versions")
    if not isinstance(versions, dict):
        return ""
    return setting(", ".join(f"{name} {version}" for name, version in versions.items()))
