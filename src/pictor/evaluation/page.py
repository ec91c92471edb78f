"""An evaluation as one HTML page that needs nothing besides itself."""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
from PIL import Image

from pictor.evaluation.evaluate import MODEL, SOURCES, Evaluation, Memory, Pixels
from pictor.evaluation.prompts import LANGUAGES
from pictor.evaluation.report import (
    COLUMNS,
    LANGUAGE_NAMES,
    SET_COLUMNS,
    SPLITS,
    cell,
    distribution_cells,
    percent,
)
from pictor.evaluation.scoring import Share

_SHOWN = 6
"""Samples of each kind, split and language."""
_NEIGHBOURS = 16
_SIDE = 128

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #4a8fe7; --soft: #8882 }
:root { --bad: #d9534a; --good: #35a06a }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1180px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: 0 } h2 { margin-top: 2.5rem }
h3 { margin: 1.5rem 0 .3rem; font-size: 1rem }
.note { opacity: .75; max-width: 75ch }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; white-space: nowrap }
tr { border-bottom: 1px solid var(--line) }
th { font-weight: 600 } tr.model td { font-weight: 600 }
.bar { position: relative; height: 5px; width: 92px; background: var(--soft); border-radius: 3px }
.bar b { position: absolute; top: 0; bottom: 0; left: 0; background: var(--bar); border-radius: 3px }
.bar i { position: absolute; top: 2px; height: 1px; background: currentColor }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(268px, 1fr)); gap: 1rem }
figure { margin: 0 } figure img { width: 128px; height: 128px; image-rendering: auto; border-radius: 4px }
figure .two { display: flex; gap: 4px }
figcaption { font-size: .85rem; line-height: 1.35; overflow-wrap: anywhere }
.yes { color: var(--good) } .no { color: var(--bad); font-weight: 600 }
.row { display: flex; gap: 4px; flex-wrap: wrap; margin-bottom: .6rem }
.row img { width: 104px; height: 104px; border-radius: 4px }
"""

_ABOUT_ACCURACY = """<h2>What is right</h2><p class='note'>Per cent of pictures in which the
judge finds what the prompt says, with 95% Wilson intervals. Real renders of the same scenes are the
ceiling, since the judge errs too; the autoencoder's row shows the same renders after its round trip.
Retrieval answers with the training picture that shares most with the prompt. Shuffled captions judge
the model's pictures by another prompt: the floor.</p>"""
_ABOUT_SETS = """<h2>Sets of pictures</h2><p class='note'>Each set beside as many other real renders
of the same kinds, in the judge's own space. The figures compare with the row of real renders here, and not
with other papers' numbers.</p>"""
_ABOUT_SAMPLES = """<h2>Samples</h2><p class='note'>Left the model's picture, right a real render of the
scene. The first prompts of each kind, not chosen.</p>"""


def page(found: Evaluation) -> str:
    """The whole report."""
    settings = ", ".join(f"{name} {value}" for name, value in found.settings.items())
    name = escape(found.model)
    parts = [
        f"<h1>{name}</h1><p class='note'>{len(found.pictures)} pictures of {found.size[0]}×{found.size[1]}, "
        f"{escape(settings)}, seed {found.wish.seed}. Model {escape(found.model_hash[:12])}.</p>",
        _ABOUT_ACCURACY,
    ]
    for split in SPLITS:
        for language in LANGUAGES:
            parts.append(f"<h3>{split.capitalize()} compositions, {LANGUAGE_NAMES[language]}</h3>")
            parts.append(_accuracy(found, split, language))
    parts += [_kinds(found), _sets(found), _samples(found)]
    if found.memory is not None:
        parts.append(_memory(found, found.memory))
    parts.append(_diversity(found))
    if found.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
        parts.append(f"<h2>Notes</h2><ul>{items}</ul>")
    return html(found.model, parts)


def html(model: str, parts: list[str]) -> str:
    """One page of these parts about a model of this name."""
    body = "\n".join(parts)
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(model)}: evaluation</title><style>{_STYLE}</style></head>\n"
        f"<body>{body}</body></html>\n"
    )


def _bar(share: Share | None) -> str:
    if share is None:
        return "<td>-</td>"
    low, high = share.interval
    return (
        f"<td>{percent(share)}<div class='bar'><b style='width:{100 * share.share:.1f}%'></b>"
        f"<i style='left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%'></i></div></td>"
    )


def table_row(source: str, texts: list[str]) -> str:
    """One row of plain cells; the model's own is marked."""
    mark = " class='model'" if source == MODEL else ""
    return f"<tr{mark}>" + "".join(f"<td>{escape(text)}</td>" for text in texts) + "</tr>"


def html_table(head: list[str], rows: list[str]) -> str:
    """Rows below their head; it scrolls by itself where it is wide."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    return f"<div class='scroll'><table><tr>{cells}</tr>{''.join(rows)}</table></div>"


def _accuracy(found: Evaluation, split: str, language: str) -> str:
    rows = []
    for source in SOURCES:
        shares = cell(found, source, split=split, language=language)
        cells = (
            f"<td colspan='{len(COLUMNS)}'>not measured</td>"
            if shares is None
            else "".join(_bar(shares.get(name)) for name in COLUMNS)
        )
        mark = " class='model'" if source == MODEL else ""
        rows.append(f"<tr{mark}><td>{escape(source)}</td>{cells}</tr>")
    return html_table(["", *COLUMNS], rows)


def _kinds(found: Evaluation) -> str:
    rows = []
    for kind in found.wish.kinds:
        for split in SPLITS:
            shares = cell(found, MODEL, split=split, kind=kind) or {}
            cells = "".join(_bar(shares.get(name)) for name in COLUMNS)
            rows.append(f"<tr><td>{kind}, {split}</td>{cells}</tr>")
    return "<h3>The model by kind of prompt, both languages</h3>" + html_table(["", *COLUMNS], rows)


def _sets(found: Evaluation) -> str:
    rows = []
    for one in found.distributions:
        texts = [one.split, one.source, str(one.pictures), *distribution_cells(one)]
        rows.append(table_row(one.source, texts))
    return _ABOUT_SETS + html_table(["", "", "pictures", *SET_COLUMNS], rows)


def _samples(found: Evaluation) -> str:
    parts = [_ABOUT_SAMPLES]
    for kind in found.wish.kinds:
        for split in SPLITS:
            figures = []
            for language in LANGUAGES:
                mine = [
                    p
                    for p in found.prompts
                    if p.kind == kind and p.held_out == (split == "held out") and p.language == language
                ]
                for prompt in mine[:_SHOWN]:
                    told = found.marks[MODEL][prompt.number]
                    marks = " ".join(
                        f"<span class='{'yes' if right else 'no'}'>{'✓' if right else '✗'} {name}</span>"
                        for name, right in told.items()
                    )
                    figures.append(
                        f"<figure><div class='two'>{picture_cell(found.pictures[prompt.number])}"
                        f"{picture_cell(found.real[prompt.number])}</div>"
                        f"<figcaption>{escape(prompt.text)}<br>{marks}</figcaption></figure>"
                    )
            parts.append(f"<h3>{kind}, {split}</h3><div class='grid'>{''.join(figures)}</div>")
    return "".join(parts)


def _memory(found: Evaluation, memory: Memory) -> str:
    figures = []
    for index in (int(i) for i in np.argsort(memory.made, kind="stable")[:_NEIGHBOURS]):
        prompt = found.prompts[index]
        split = "held out" if prompt.held_out else "seen"
        two = picture_cell(found.pictures[index]) + picture_cell(memory.nearest[index])
        words = f"{escape(prompt.text)} ({split}), distance {memory.made[index]:.3f}"
        figures.append(f"<figure><div class='two'>{two}</div><figcaption>{words}</figcaption></figure>")
    note = f"""Distances to the nearest of {memory.pool} training pictures ({memory.among}), those whose
    captions are nearest to the prompts among them. Median {np.median(memory.made):.3f}, of new real
    renders of the same prompts {np.median(memory.fresh):.3f}. A picture of the model is nearer than a
    new render with probability {memory.nearer:.2f}; {100 * memory.suspicious:.0f}% are nearer than 95%
    of new renders are, where equals would have 5%. Below, the nearest: left the model's, right the
    training picture."""
    return f"<h2>Memory</h2><p class='note'>{note}</p><div class='grid'>{''.join(figures)}</div>"


def _diversity(found: Evaluation) -> str:
    one = found.diversity
    rows = "".join(
        f"<div>{escape(text)}</div><div class='row'>{''.join(map(picture_cell, pictures))}</div>"
        for text, pictures in one.rows
    )
    note = f"""Vendi scores, the effective number of different pictures: {one.made:.1f} of {one.pictures}
    (real renders {one.real:.1f}); of {one.same_prompt_pictures} pictures of one prompt
    {one.same_prompt_made:.2f} (real renders {one.same_prompt_real:.2f})."""
    return f"<h2>Diversity</h2><p class='note'>{note}</p>{rows}"


def picture_cell(pixels: Pixels) -> str:
    """A picture as part of the page, shrunk where it is large."""
    image = Image.fromarray(pixels)
    if max(image.size) > _SIDE:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f"<img alt='' src='data:image/png;base64,{data}'>"
