"""Find a colour emoji font, and draw from it."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pictor.core.errors import InputError

STRIKE = 109
"""Pixel size of the only bitmap strike that Noto Color Emoji holds."""

_KNOWN = "🍎"
"""What a font must draw in colour to be taken for a colour emoji font."""
_COLOURFUL = 60
"""Difference of a pixel's channels, 0 to 255, from which on it is a colour; empty boxes have none."""

_PLACES = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "~/Library/Fonts",
)


def find_font(path: Path | None = None) -> Path:
    """The colour emoji font to draw with.

    Args:
        path: a font file; None looks for NotoColorEmoji.ttf in the system's font folders.

    Raises:
        InputError: no such font, or one that draws no emoji in colour.
    """
    found = _named(path) if path is not None else _systems()
    _check_colour(found)
    return found


@cache
def font_digest(path: Path) -> str:
    """SHA-256 of a font's file: other versions draw other pictures."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _named(path: Path) -> Path:
    if not path.is_file():
        raise InputError(
            f"font {path} does not exist",
            expected="a colour emoji font file",
            remedy="give the path of NotoColorEmoji.ttf",
            param="font",
        )
    return path


def _systems() -> Path:
    for place in _PLACES:
        found = sorted(Path(place).expanduser().rglob("NotoColorEmoji.ttf"))
        if found:
            return found[0]
    raise InputError(
        "no colour emoji font was found",
        expected="NotoColorEmoji.ttf in a font folder",
        remedy="apt-get install fonts-noto-color-emoji, or give its path with font = ...",
        param="font",
    )


@cache
def _check_colour(path: Path) -> None:
    """Refuse a font of letters, which has an empty box for each emoji."""
    drawing = draw_emoji(_KNOWN, path, 32)
    colour = np.ptp(drawing[..., :3].astype(np.int16), axis=2) * (drawing[..., 3] > 0)
    if colour.max() < _COLOURFUL:
        raise InputError(
            f"the font {path} draws {_KNOWN} without colour",
            expected="a colour emoji font",
            remedy="use NotoColorEmoji.ttf",
            param="font",
        )


@lru_cache(maxsize=4)
def _font(path: Path) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(str(path), STRIKE)
    except OSError as error:
        raise InputError(
            f"{path} cannot be opened as a colour emoji font ({error})",
            expected=f"a bitmap emoji font with a {STRIKE} px strike",
            remedy="use NotoColorEmoji.ttf",
            param="font",
        ) from error


def draw_emoji(emoji: str, path: Path, size: int) -> NDArray[np.uint8]:
    """One emoji, centred on a transparent square.

    Args:
        emoji: the character, with its variation selector if it has one.
        path: the font file.
        size: side of the square in pixels; the drawing fills it up to a border of one pixel.

    Returns:
        [size, size, 4] RGBA.

    Raises:
        InputError: the font has no drawing for this emoji.
    """
    canvas = Image.new("RGBA", (STRIKE * 3, STRIKE * 2))
    ImageDraw.Draw(canvas).text((STRIKE // 2, STRIKE // 2), emoji, font=_font(path), embedded_color=True)
    box = canvas.getchannel("A").getbbox()
    if box is None:
        raise InputError(
            f"the font {path.name} has no drawing for {emoji!r}",
            expected="every emoji of the vocabulary",
            remedy="use a recent NotoColorEmoji.ttf",
            param="font",
        )
    drawing = canvas.crop(box)
    scale = (size - 2) / max(drawing.size)
    width, height = (max(1, round(side * scale)) for side in drawing.size)
    drawing = drawing.resize((width, height), Image.Resampling.LANCZOS)
    square = Image.new("RGBA", (size, size))
    square.paste(drawing, ((size - width) // 2, (size - height) // 2))
    return np.asarray(square)
