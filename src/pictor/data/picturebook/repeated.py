"""A picturebook whose first pictures come again and again, each drawn once and kept in a file.

Drawing a picture takes milliseconds and a fast network learns from it in a tenth of one. Captions, times and
noise go on being new, since they follow the sample's number and not the picture's.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.data.picturebook.scene import Scene
from pictor.data.picturebook.scenes import Mix, Picturebook


class RepeatedPicturebook(Picturebook):
    """Picture n is picture n modulo `count`; held-out compositions are drawn anew each time.

    Any number of processes may read and fill one folder at once: a picture is marked as drawn after it was
    written, and two that draw the same one write the same bytes.

    Args:
        size: side of the pictures in pixels, 16 to 512.
        seed: of the whole book.
        font: a colour emoji font; None finds Noto Color Emoji on the system.
        mix: which kinds of scene it holds.
        count: number of different pictures.
        folder: where drawn pictures are kept, in a folder of the book's identity; `count` times 3 size^2
            bytes when it is full. None draws them again each time.

    Raises:
        InputError: count is below 1.
    """

    def __init__(
        self,
        size: int,
        seed: int = 0,
        font: Path | None = None,
        mix: Mix | None = None,
        *,
        count: int,
        folder: Path | None = None,
    ) -> None:
        super().__init__(size, seed, font, mix)
        if count < 1:
            raise InputError(f"pictures is {count}", expected="at least 1", param="objective.pictures")
        self.count = count
        self.folder = folder
        self._kept: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Sent to other processes, which open the files and draw sprites for themselves.
        return self.__dict__ | {"_kept": None, "_drawings": {}, "_views": {}}

    def _files(self, folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Pictures [count, size, size, 3], and [count] bytes that tell which are drawn."""
        if self._kept is None:
            font = hashlib.sha256(self.font.read_bytes()).hexdigest()[:8]
            place = folder / f"{self.identity}-{font}"
            place.mkdir(parents=True, exist_ok=True)
            shape = (self.count, self.size, self.size, 3)
            self._kept = _mapped(place / "pictures", shape), _mapped(place / "drawn", (self.count,))
        return self._kept

    def scene(self, index: int, *, held_out: bool = False) -> Scene:
        """The record of picture `index`; see `Picturebook.scene`."""
        return super().scene(index if held_out else index % self.count, held_out=held_out)

    def draw(self, scene: Scene, index: int = 0) -> NDArray[np.uint8]:
        """The picture of a scene, [size, size, 3]; kept if it is picture `index` of this book."""
        number = index % self.count
        if self.folder is None or scene != super().scene(number):
            return super().draw(scene, number)
        pictures, drawn = self._files(self.folder)
        if not drawn[number]:
            pictures[number] = super().draw(scene, number)
            drawn[number] = 1
        return np.array(pictures[number])


def _mapped(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """A file as an array of bytes, zeros where nothing was written; grows if it is smaller."""
    size = int(np.prod(shape))
    with path.open("ab") as file:
        if file.tell() < size:
            file.truncate(size)
    return np.memmap(path, np.uint8, "r+", shape=shape)
