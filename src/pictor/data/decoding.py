"""Encoded pictures to upright, opaque RGB, for data sets.

Where `tasks.inputs` refuses a picture that may mean several things, thousands need one rule: transparent ones
are laid on white, animations give their first frame, CMYK is converted without a profile, 16 bits are cut to
8, and photographs are turned as their camera says. All of it is noted.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pictor.tasks.inputs import FORMATS, MAX_PIXELS

NOTES = ("transparent", "animated", "CMYK", "16 bits", "turned")
"""What may have been converted."""
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Exif 2.32, 4.6.4 A: what turns a picture upright."""
_GAP = 2.0
"""A JPEG is decoded at the smallest of its scales that is this many times the wanted size, or larger."""

Pixels = NDArray[np.uint8]
T = TypeVar("T")


class Unusable(Exception):  # noqa: N818 - a finding about a picture, which is reported and no failure
    """Why a picture cannot be used."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture is, upright, before it is converted."""

    width: int
    height: int
    format: str
    notes: tuple[str, ...]
    """Of `NOTES`."""


def look(data: bytes) -> Look:
    """What the file's head says; its pixels are not decoded.

    Raises:
        Unusable: it is no picture, or too large.
    """
    return _guarded(lambda: _open(data)[1])


def decode(data: bytes) -> tuple[Image.Image, Look]:
    """The whole picture in RGB.

    Raises:
        Unusable: it is damaged, no picture, or too large.
    """

    def work() -> tuple[Image.Image, Look]:
        image, seen, turn = _open(data)
        image, transparent = _flat(_plain(image))
        return _turned(image, turn), _noted(seen, transparent)

    return _guarded(work)


def decode_to(data: bytes, choose: Callable[[int, int], tuple[int, int]]) -> tuple[Pixels, Look]:
    """The picture at a size: the largest middle part with the size's proportions, by Lanczos.

    Equal to `decode` and a resize but for the rounding of JPEG's own scales, and several times faster.

    Args:
        data: the encoded picture.
        choose: the wanted width and height for the picture's own.

    Returns:
        uint8 pixels [height, width, 3], and what the picture was.

    Raises:
        Unusable: as of `decode`.
    """

    def work() -> tuple[Pixels, Look]:
        image, seen, turn = _open(data)
        across, down = choose(seen.width, seen.height)
        if _exchanges(turn):
            across, down = down, across
        image.draft(None, (round(across * _GAP), round(down * _GAP)))
        image = _plain(image)
        width, height = image.size
        if (width, height) != (across, down):
            scale = min(width / across, height / down)
            left, top = (width - across * scale) / 2, (height - down * scale) / 2
            box = (left, top, width - left, height - top)
            image = image.resize((across, down), Image.Resampling.LANCZOS, box, reducing_gap=_GAP)
        image, transparent = _flat(image)
        return np.asarray(_turned(image, turn)), _noted(seen, transparent)

    return _guarded(work)


def _guarded(work: Callable[[], T]) -> T:
    try:
        return work()
    except Unusable:
        raise
    except Exception as error:  # Pillow's readers raise nearly anything
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise Unusable(f"cannot be read: {reason[:200]}") from None


def _open(data: bytes) -> tuple[Image.Image, Look, Image.Transpose | None]:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Unusable(f"has {width}x{height} pixels, more than {MAX_PIXELS // 1_000_000} million")
    notes = []
    if getattr(image, "is_animated", False):
        notes.append("animated")
    if image.mode == "CMYK":
        notes.append("CMYK")
    if image.mode.startswith("I"):
        notes.append("16 bits")
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1)) if image.format != "GIF" else None
    if turn is not None:
        notes.append("turned")
    if image.format == "TIFF":
        turn = None  # Pillow turns these itself, their size as it opens them
    if _exchanges(turn):
        width, height = height, width
    return image, Look(width, height, str(image.format), tuple(notes)), turn


def _turned(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return image if turn is None else image.transpose(turn)


def _exchanges(turn: Image.Transpose | None) -> bool:
    """Whether width and height change places."""
    return turn in (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])


def _plain(image: Image.Image) -> Image.Image:
    """Decoded, as L, RGB or RGBA."""
    image.load()
    mode = image.mode
    if mode == "F":
        raise Unusable("has floating-point pixels, whose range nobody knows")
    if mode.startswith("I"):
        wide = np.asarray(image)
        return Image.fromarray((np.clip(wide, 0, 65535) >> 8).astype(np.uint8))
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image if mode in ("L", "RGB") else image.convert("RGB")


def _flat(image: Image.Image) -> tuple[Image.Image, bool]:
    """In RGB, laid on white; and whether any white shows through."""
    if image.mode != "RGBA":
        return (image if image.mode == "RGB" else image.convert("RGB")), False
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("RGB"), False
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB"), True


def _noted(seen: Look, transparent: bool) -> Look:
    if not transparent:
        return seen
    return Look(seen.width, seen.height, seen.format, ("transparent", *seen.notes))
