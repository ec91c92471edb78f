"""Finished pictures with their recipes, and the sheets and films that are made of them."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pictor.core.errors import InputError
from pictor.engine.files import check_path, check_writable, gif_bytes, png_bytes, write_file

if TYPE_CHECKING:
    from PIL import Image

    from pictor.core.recipe import Recipe

_STRIP_WIDTH = 8192
"""Pixels after which a strip continues in a further row; wider pictures are refused by many viewers."""


@dataclass(frozen=True)
class Picture:
    """A picture and what it was made from."""

    image: Image.Image
    recipe: Recipe
    frames: Sequence[Image.Image] = field(default=(), repr=False)
    """The clean picture as it was estimated at each step, where frames were asked for."""

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write it as PNG with its recipe, over whatever is there.

        Raises:
            InputError: the name does not end in .png, or the system refuses; nothing is left behind then.
        """
        place = check_png(Path(path))
        return write_file(place, png_bytes(self.image, self.recipe), overwrite=True)

    def film(self) -> bytes:
        """The frames as an animated GIF.

        Raises:
            InputError: the picture was made without frames.
        """
        return gif_bytes(self._frames(), self.recipe)

    def strip(self) -> Picture:
        """The frames side by side, first to last.

        Raises:
            InputError: the picture was made without frames.
        """
        frames = self._frames()
        strip = tile(frames, _columns(frames), gap=0)
        return Picture(strip, dataclasses.replace(self.recipe, layout="strip"))

    def _frames(self) -> Sequence[Image.Image]:
        if not self.frames:
            raise InputError(
                "the picture has no frames", remedy="Generate it with frames=True.", param="frames"
            )
        return self.frames


def sheet(pictures: Sequence[Picture]) -> Picture:
    """All pictures of one call on one sheet, about square; its recipe makes the whole sheet again."""
    images = [picture.image for picture in pictures]
    columns = math.ceil(math.sqrt(len(images)))
    recipe = dataclasses.replace(pictures[0].recipe, layout="grid", count=len(images))
    prompts = list(dict.fromkeys(picture.recipe.prompt for picture in pictures))
    if len(prompts) > 1:
        several = {**recipe.parameters, "prompt": prompts, "count": len(images) // len(prompts)}
        recipe = dataclasses.replace(recipe, prompt=" | ".join(prompts), parameters=several)
    return Picture(tile(images, columns, gap=max(2, images[0].width // 32)), recipe)


def sequence(pictures: Sequence[Picture]) -> Picture:
    """The pictures of one way, first to last, side by side; its frames are they, for `film`."""
    images = [picture.image for picture in pictures]
    recipe = dataclasses.replace(
        pictures[0].recipe,
        layout="sequence",
        count=len(images),
        parameters={key: value for key, value in pictures[0].recipe.parameters.items() if key != "only"},
    )
    return Picture(tile(images, _columns(images), gap=0), recipe, images)


def _columns(images: Sequence[Image.Image]) -> int:
    """As many in a row as viewers show."""
    return max(1, min(len(images), _STRIP_WIDTH // images[0].width))


def tile(images: Sequence[Image.Image], columns: int, *, gap: int) -> Image.Image:
    """Images of one size in rows on white, with a gap between them in pixels."""
    from PIL import Image

    width, height = images[0].size
    rows = math.ceil(len(images) / columns)
    size = (columns * (width + gap) - gap, rows * (height + gap) - gap)
    canvas = Image.new("RGB", size, "white")
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        canvas.paste(image, (column * (width + gap), row * (height + gap)))
    return canvas


def check_png(path: Path) -> Path:
    """The path itself, when a PNG can be written there.

    Raises:
        InputError: it has another ending, or its folder is missing or refuses.
    """
    if path.suffix.lower() != ".png":
        raise InputError(
            f"cannot write {path}: pictures are PNG files", expected="a name in .png", param="out"
        )
    check_path(path)
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder", expected="a name for a file", param="out")
    if not path.parent.is_dir():
        raise InputError(
            f"cannot write {path}: there is no folder {path.parent}",
            expected="a folder that exists",
            param="out",
        )
    check_writable(path.parent)
    return path
