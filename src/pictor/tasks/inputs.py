"""Given pictures: read, checked, and brought to a size; each defect is one error that names the parameter."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.errors import InputError
from pictor.core.plan import Traits
from pictor.core.recipe import RECIPE_KEY, Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from pictor.core.plan import Pixels

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
"""What pictures may come as; some of Pillow's other readers start programs."""
MAX_PIXELS = 64_000_000
MIN_SIDE = 8


def read_pixels(given: Any, param: str) -> Pixels:
    """The pixels [H, W, 3] of a picture that the user gave, turned upright as its camera says.

    Args:
        given: a file's name, a PIL image, or uint8 pixels [H, W, 3] or [H, W].
        param: what the user calls it.

    Raises:
        InputError: it cannot be read; is transparent, animated, CMYK or of 16 bits, where the user must say
            what is meant; is below 8 or beyond 64 million pixels.
    """
    with _opened(given, param) as image:
        return np.ascontiguousarray(np.asarray(_upright(_checked(image, param), param).convert("RGB")))


def is_picture(given: Any) -> bool:
    """Whether a wish that may also be words or a number is a picture: the name of a file, or pixels."""
    from PIL import Image

    if isinstance(given, str):
        return os.path.isfile(given)
    return isinstance(given, os.PathLike | np.ndarray | Image.Image)


def recipe_in(given: Any, param: str) -> Recipe | None:
    """The recipe that a given picture carries, None where it carries none that can be read."""
    try:
        with _opened(given, param) as image:
            return Recipe.from_json(str(image.info[RECIPE_KEY]))
    except (InputError, KeyError):
        return None


def read_mask(given: Any, size: tuple[int, int], param: str) -> NDArray[np.float32]:
    """A mask [H, W] from 0 to 1, where 1 (white) is to be repainted.

    Args:
        given: a picture; its brightness counts.
        size: width and height of the picture that it belongs to.
        param: what the user calls it.

    Raises:
        InputError: as in `read_pixels`; it has another size, or nothing in it is white.
    """
    with _opened(given, param) as image:
        grey = np.asarray(_upright(_checked(image, param), param).convert("L"))
    if grey.shape != size[::-1]:
        raise InputError(
            f"the {param} is {grey.shape[1]}x{grey.shape[0]} and the picture {size[0]}x{size[1]}",
            expected="two of one size",
            param=param,
        )
    if grey.max() < 128:
        raise InputError(
            f"nothing in the {param} is white, so nothing would be painted",
            expected="white where the picture is to be painted anew, and black elsewhere",
            param=param,
        )
    return grey.astype(np.float32) / 255.0


def digest(array: NDArray[Any]) -> str:
    """SHA-256 over an array's shape and bytes."""
    whole = np.ascontiguousarray(array)
    return hashlib.sha256(repr(whole.shape).encode() + whole.tobytes()).hexdigest()


def resized(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The whole picture at another width and height (Lanczos)."""
    from PIL import Image

    if pixels.shape[1::-1] == size:
        return pixels
    image = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(image))


def covering(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The largest middle part of a picture that has the size's proportions, at this size."""
    height, width = pixels.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    part_width = min(width, round(size[0] / scale))
    part_height = min(height, round(size[1] / scale))
    left, top = (width - part_width) // 2, (height - part_height) // 2
    return resized(pixels[top : top + part_height, left : left + part_width], size)


def fitting(width: int, height: int, traits: Traits) -> tuple[int, int]:
    """The size that the model can paint whose proportions and area are nearest to those given.

    A picture within the model's limits keeps its size but for rounding to the stride.
    """
    low = -(-traits.min_side // traits.stride) * traits.stride
    high = traits.max_side // traits.stride * traits.stride
    scale = min(1.0, high / max(width, height))
    scale = max(scale, low / min(width, height)) if min(width, height) * scale < low else scale
    return _nearest(width * scale, low, high, traits.stride), _nearest(
        height * scale, low, high, traits.stride
    )


def _nearest(side: float, low: int, high: int, stride: int) -> int:
    return min(max(round(side / stride) * stride, low), high)


@contextmanager
def _opened(given: Any, param: str) -> Iterator[Image.Image]:
    """The image, whose file is closed after its use; one that the user opened stays open."""
    from PIL import Image

    if isinstance(given, Image.Image):
        yield given
        return
    if isinstance(given, np.ndarray):
        if given.dtype != np.uint8 or given.ndim not in (2, 3) or (given.ndim == 3 and given.shape[2] != 3):
            raise InputError(
                f"the {param} is an array of {given.dtype} {list(given.shape)}",
                expected="uint8 pixels [H, W, 3]",
                param=param,
            )
        yield Image.fromarray(given)
        return
    if not isinstance(given, str | os.PathLike):
        raise InputError(
            f"the {param} is a {type(given).__name__}",
            expected="a file's name, a PIL image or uint8 pixels",
            param=param,
        )
    if not os.path.isfile(given):  # False, and no error, for names that cannot be
        raise InputError(f"there is no file {os.fspath(given)!r}", expected="a picture", param=param)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # `_checked` has a limit of its own
            image = Image.open(given, formats=FORMATS)
    except Exception as error:  # Pillow's readers raise nearly anything
        raise _unreadable(given, param, error) from None
    with image:
        yield image


def _unreadable(given: Any, param: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(
        f"cannot read the {param} {str(given)[:200]!r} as a picture ({reason})",
        expected=f"a whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} file",
        param=param,
    )


def _checked(image: Image.Image, param: str) -> Image.Image:
    """The image itself where its pixels mean one thing."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"the {param} has {width}x{height} pixels",
            expected=f"at most {MAX_PIXELS // 1_000_000} million",
            remedy="Make it smaller first.",
            param=param,
        )
    if min(width, height) < MIN_SIDE:
        raise InputError(
            f"the {param} is {width}x{height}", expected=f"sides of at least {MIN_SIDE} pixels", param=param
        )
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(
            f"the {param} is animated, {image.n_frames} pictures",  # type: ignore[attr-defined]
            expected="one picture",
            remedy="Save the frame that you mean as a PNG.",
            param=param,
        )
    if image.mode == "CMYK":
        raise InputError(
            f"the {param} is in CMYK, inks for paper",
            expected="RGB",
            remedy="Convert it with its colour profile first.",
            param=param,
        )
    if image.mode.startswith(("I", "F")):
        raise InputError(
            f"the {param} has more than 8 bits a channel ({image.mode})",
            expected="8 bits a channel",
            remedy="Convert it to 8 bits first.",
            param=param,
        )
    return image


def _upright(image: Image.Image, param: str) -> Image.Image:
    """Decoded, opaque, and turned as the camera was held."""
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            image = ImageOps.exif_transpose(image)
    except Exception as error:  # damaged files
        raise _unreadable(getattr(image, "filename", param), param, error) from None
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    if transparent and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise InputError(
            f"the {param} is partly transparent, so some of it has no colour",
            expected="an opaque picture",
            remedy="Flatten it onto a background first.",
            param=param,
        )
    return image
