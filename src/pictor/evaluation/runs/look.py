"""How pages of runs look, and the pieces that they are made of."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from pictor.core.errors import InputError
from pictor.engine.files import read_picture
from pictor.evaluation.runs.reading import Preview

_THUMB = 104
"""Most pixels of a preview's side."""
_LONG = 90
"""Letters of a setting beyond which it is folded."""

COLORS = 6

_STYLE = Path(__file__).with_name("page.css")


def document(title: str, body: str) -> str:
    """A page that needs nothing besides itself."""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>\n<body><main>{body}</main></body></html>\n"
    )


def cards(values: Sequence[tuple[str, str, str]]) -> str:
    """Name, value, and a remark below it, of what is to be seen first."""
    inner = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}<small>{escape(remark)}</small></dd></div>"
        for name, value, remark in values
    )
    return f"<dl class='cards'>{inner}</dl>"


def section(title: str, inner: str, note: str = "") -> str:
    """A heading and what stands below it; nothing where that is nothing."""
    if not inner:
        return ""
    words = f"<p class='note'>{escape(note)}</p>" if note else ""
    return f"<section><h2>{escape(title)}</h2>{words}{inner}</section>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str]) -> str:
    """A table whose cells are HTML already.

    Args:
        head: the columns' names.
        rows: of as many cells.
        classes: one a column.
    """
    top = "".join(f"<th class='{kind}'>{escape(name)}</th>" for name, kind in zip(head, classes, strict=True))
    inner = "".join(
        "<tr>"
        + "".join(f"<td class='{kind}'>{cell}</td>" for cell, kind in zip(row, classes, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<div class='panel scroll'><table><tr>{top}</tr>{inner}</table></div>"


def settings(values: Mapping[str, object]) -> str:
    """Names and values; long values are folded."""
    inner = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{setting(value)}</dd></div>" for name, value in values.items()
    )
    return f"<div class='panel'><dl class='settings'>{inner}</dl></div>"


def setting(value: object) -> str:
    """A value as HTML."""
    text = plain(value)
    if len(text) <= _LONG:
        return escape(text)
    what = f"{len(value)} entries" if isinstance(value, list) else f"{len(text)} letters"
    return f"<details><summary>{what}</summary>{escape(text)}</details>"


def plain(value: object) -> str:
    """A value of a recipe in words."""
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(plain(one) for one in value) or "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def strip(columns: Sequence[tuple[str, Preview]]) -> str:
    """Previews side by side: a row a prompt, a column each.

    Args:
        columns: heading and preview.
    """
    prompts = list(dict.fromkeys(prompt for _, preview in columns for prompt in preview.prompts))
    cut = [pictures(preview) for _, preview in columns]
    if not any(cut):
        return ""
    head = "".join(f"<th>{escape(heading)}</th>" for heading, _ in columns)
    rows = "".join(
        f"<tr><td class='prompt'>{escape(prompt)}</td>"
        + "".join(f"<td>{_img(found.get(prompt), prompt)}</td>" for found in cut)
        + "</tr>"
        for prompt in prompts
    )
    return f"<div class='panel scroll'><table class='strip'><tr><th></th>{head}</tr>{rows}</table></div>"


def pictures(preview: Preview) -> dict[str, Image.Image]:
    """The pictures of a sheet by their prompts; none where the sheet is damaged."""
    try:
        whole, _ = read_picture(preview.file)
    except InputError:
        return {}
    width, height = preview.size
    if not 0 < width <= whole.width or not 0 < height <= whole.height:
        return {}
    columns = round(whole.width / width)
    # A gap between neighbours, none at the edges.
    gap = (whole.width - columns * width) // (columns - 1) if columns > 1 else 0
    found = {}
    for index, prompt in enumerate(preview.prompts):
        row, column = divmod(index, columns)
        left, top = column * (width + gap), row * (height + gap)
        found[prompt] = whole.crop((left, top, left + width, top + height))
    return found


def _img(image: Image.Image | None, words: str) -> str:
    if image is None:
        return ""
    image.thumbnail((_THUMB, _THUMB), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    return (
        f"<img alt='{escape(words, quote=True)}' width='{image.width}' height='{image.height}'"
        f" src='data:image/webp;base64,{data}'>"
    )
