"""Pictures and files: what is written is whole or not there, and what is read is not trusted."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pictor.core.errors import InputError
from pictor.core.recipe import RECIPE_KEY

if TYPE_CHECKING:
    from PIL import Image

    from pictor.core.recipe import Recipe

PARAMETERS_KEY = "parameters"
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
"""What pictures with recipes come as; some of Pillow's other readers start programs."""
_USER_COMMENT = 0x9286
_EXIF_IFD = 0x8769


def png_bytes(image: Image.Image, recipe: Recipe) -> bytes:
    """A PNG with its recipe; the same picture and recipe give the same bytes."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(RECIPE_KEY, recipe.to_json())
    info.add_text(PARAMETERS_KEY, recipe.to_parameters())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def gif_bytes(frames: Sequence[Image.Image], recipe: Recipe) -> bytes:
    """A GIF that shows the frames in turn and rests on the last."""
    durations = [120] * (len(frames) - 1) + [1500]
    buffer = io.BytesIO()
    frames[0].save(
        buffer,
        "GIF",
        save_all=True,
        append_images=list(frames[1:]),
        duration=durations if len(frames) > 1 else 1500,
        loop=0,
        comment=recipe.to_parameters().encode(),
    )
    return buffer.getvalue()


def write_file(path: Path, data: bytes, *, overwrite: bool) -> Path:
    """Write a file so that it is there as a whole or not at all.

    Args:
        path: where to. Its folder must exist. A link is followed: the file that it leads to is written.
        data: the contents.
        overwrite: replace a file that is there; else the first free of NAME, NAME-2, NAME-3, ... is taken.

    Returns:
        The path that was written.

    Raises:
        InputError: the system refuses; nothing is left behind.
    """
    target = Path(os.path.realpath(path)) if overwrite else path
    try:
        with _draft(target.parent) as (draft, stream):
            stream.write(data)
            stream.close()
            if overwrite:
                draft.replace(target)
                return path
            return _link_free(draft, path)
    except OSError as error:
        raise InputError(f"cannot write {path} ({error.strerror})", param="out") from None


def check_path(path: Path) -> None:
    """Make sure that the system can look at a path, whether or not something is there.

    Raises:
        InputError: it cannot: the name is too long, or a folder on the way is closed.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"cannot write {path} ({reason})", expected="a name that the system takes", param="out"
        ) from None


def check_writable(folder: Path) -> None:
    """Make sure that files can be written into a folder, or that it can be made, before any work is done.

    Raises:
        InputError: they cannot.
    """
    check_path(folder)
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise InputError(f"cannot write into {folder}: {place} is no folder", param="out")
    try:
        with _draft(place):
            pass
    except OSError as error:
        raise InputError(f"cannot write into {place} ({error.strerror})", param="out") from None


def read_picture(path: str | os.PathLike[str]) -> tuple[Image.Image, dict[str, str]]:
    """A picture's pixels in RGB, and the texts that its file carries.

    Texts of PNG chunks come under their keywords; EXIF user comments and GIF comments as `parameters`.

    Raises:
        InputError: there is no such file, or it is no picture, or a damaged one.
    """
    from PIL import Image

    place = Path(path)
    if not os.path.isfile(place):  # False, and no error, for names that cannot be
        raise InputError(f"there is no file {str(path)!r}", expected="a picture", param="file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(place, formats=_FORMATS) as image:
                image.load()
                texts = _texts(image)
                return image.convert("RGB"), texts
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"cannot read {place} as a picture ({reason})", expected="a whole PNG", param="file"
        ) from None


def _texts(image: Image.Image) -> dict[str, str]:
    texts = {key: str(value) for key, value in getattr(image, "text", {}).items()}
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    if comment is None:
        comment = image.info.get("comment")
    if comment and PARAMETERS_KEY not in texts:
        texts[PARAMETERS_KEY] = comment if isinstance(comment, str) else _comment_text(bytes(comment))
    return texts


def _comment_text(comment: bytes) -> str:
    """An EXIF user comment or a GIF comment; writers disagree on UTF-16's byte order, so both are tried."""
    if comment.startswith(b"UNICODE\0"):
        body = comment.removeprefix(b"UNICODE\0")
        tries = [body.decode(order, "replace") for order in ("utf-16-be", "utf-16-le")]
        # Read in the wrong order, the line breaks and spaces of a text become other planes' letters.
        return max(tries, key=lambda text: sum(letter.isascii() for letter in text))
    return comment.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace")


@contextmanager
def _draft(folder: Path) -> Iterator[tuple[Path, io.BufferedWriter]]:
    """An open file beside the target, gone at the end whatever happens."""
    draft = folder / f".pictor-{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with draft.open("xb") as stream:
            yield draft, stream
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _link_free(draft: Path, path: Path) -> Path:
    """Give the draft the first free name, without a moment in which another writer's file could be lost."""
    number = 1
    while True:
        target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            os.link(draft, target)
            return target
        except FileExistsError:
            number += 1
        except OSError:  # a file system without hard links
            if not target.exists():
                os.replace(draft, target)
                return target
            number += 1
