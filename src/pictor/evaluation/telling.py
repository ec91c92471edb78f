"""Whether what `describe` says of a picture is what was drawn, or asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pictor.data.picturebook import Scene
from pictor.engine.describe import Description
from pictor.evaluation.scoring import Marks

_SIDE, _WORDS, _EDGE = 64, 250, 4
"""Pixels of a picture, of the column of texts, and between things."""
_INK, _PAPER = (24, 24, 27), (255, 255, 255)
_SURE = (37, 99, 235)
"""The colour of certainty; doubt is paper."""


def told(description: Description, scene: Scene) -> Marks:
    """Which attributes of a scene a description names as they are.

    Args:
        description: of a picture, in words of the picturebook.
        scene: of one object, or of several alike.
    """
    item = scene.subject
    night = " at night" if scene.night else ""
    return {
        "object": description.thing == item.thing,
        "colour": description.colour == item.colour,
        "count": description.count == scene.count,
        "background": description.place == f"{scene.place}{night}",
        "style": (description.style or "plain") == scene.style,
    }


def similarity_matrix(
    pictures: Sequence[NDArray[np.uint8]], texts: Sequence[str], probabilities: NDArray[np.floating]
) -> Image.Image:
    """How likely each text is true of each picture: pictures above their columns, texts before their rows.

    Args:
        pictures: each [H, W, 3].
        texts: as long as a line of 30 letters or so.
        probabilities: [texts, pictures].
    """
    step = _SIDE + _EDGE
    sheet = Image.new("RGB", (_WORDS + step * len(pictures), step * (1 + len(texts))), _PAPER)
    pen, letters = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for column, picture in enumerate(pictures):
        small = Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        sheet.paste(small, (_WORDS + step * column, 0))
    for row, text in enumerate(texts):
        top = step * (1 + row)
        pen.text((_WORDS - 2 * _EDGE, top + _SIDE // 2), text, _INK, letters, anchor="rm")
        for column in range(len(pictures)):
            likely = float(probabilities[row, column])
            shade = tuple(round(p + (s - p) * likely) for p, s in zip(_PAPER, _SURE, strict=True))
            left = _WORDS + step * column
            pen.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), shade, (228, 228, 231))
            ink = _PAPER if likely > 0.5 else _INK
            middle = (left + _SIDE // 2, top + _SIDE // 2)
            pen.text(middle, f"{100 * likely:.0f}", ink, letters, anchor="mm")
    return sheet
