"""What was measured of a model that reads no words, as one HTML page that needs nothing besides itself."""

from __future__ import annotations

from html import escape

from pictor.evaluation.page import html, html_table, picture_cell, table_row
from pictor.evaluation.unprompted import (
    Unprompted,
    about_missed,
    about_pictures,
    set_rows,
    thing_rows,
)


def unprompted_page(found: Unprompted) -> str:
    """The whole report."""
    pictures = "".join(picture_cell(picture) for picture in found.samples)
    return html(
        found.model,
        [
            f"<h1>{escape(found.model)}</h1><p class='note'>{escape(about_pictures(found))}. "
            f"Model {escape(found.model_hash[:12])}.</p>",
            "<h2>Sets of pictures</h2><p class='note'>Each set beside as many other real renders, in the "
            "judge's own space. The figures compare with the row of real renders here.</p>",
            _table(set_rows(found)),
            f"<h2>What they show</h2><p class='note'>In per cent; {about_missed(found)}.</p>",
            _table(thing_rows(found)),
            f"<h2>Samples</h2><p class='note'>The first {len(found.samples)}, not chosen.</p>"
            f"<div class='row'>{pictures}</div>",
            *(f"<p class='note'>{escape(note)}</p>" for note in found.notes),
        ],
    )


def _table(rows: list[list[str]]) -> str:
    head, *below = rows
    return html_table(head, [table_row(row[0], row) for row in below])
