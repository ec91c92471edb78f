"""Where pictures go: names, folders, and what may be overwritten."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pictor.core.errors import InputError
from pictor.engine.files import check_path, check_writable, png_bytes, write_file
from pictor.engine.pictures import Picture, check_png

_SLUG_LENGTH = 40


@dataclass
class Destination:
    """A file, which is overwritten, or a folder, in which nothing is.

    Args:
        folder: where names are made up from prompt and seed.
        file: the wish for one file; further ones are named after it.
        name: what pictures without words are called.
    """

    folder: Path
    file: Path | None = None
    name: str = "picture"
    written: list[dict[str, str | int]] = field(default_factory=list)
    """What was written, in order: path, kind, seed."""

    @classmethod
    def of(cls, out: str | None, name: str = "picture") -> "Destination":
        """What `--out` means, checked before any work is done.

        Raises:
            InputError: nothing can be written there.
        """
        path = Path(out or ".")
        check_path(path)
        if path.suffix and not path.is_dir() and not (out or "").endswith(("/", "\\")):
            return cls(path.parent, check_png(path), name)
        check_writable(path)
        return cls(path, name=name)

    def save(self, picture: Picture, *, kind: str, alone: bool) -> None:
        """Write a picture or a sheet.

        Args:
            picture: with its recipe.
            kind: "picture" or "sheet".
            alone: nothing else is written, so that a wished-for file gets its very name.
        """
        recipe = picture.recipe
        mark = "-grid" if kind == "sheet" and self.file is None else ""
        self._write(self._name(picture, alone), mark, png_bytes(picture.image, recipe), kind, recipe.seed)

    def save_frames(self, picture: Picture, *, alone: bool) -> None:
        """Write a picture's frames as a strip and as a film."""
        strip, seed = picture.strip(), picture.recipe.seed
        name = self._name(picture, alone)
        self._write(name, "-frames", png_bytes(strip.image, strip.recipe), "strip", seed)
        self._write(name.with_suffix(".gif"), "-frames", picture.film(), "film", seed)

    def save_sequence(self, pictures: Sequence[Picture], strip: Picture) -> None:
        """Write a sequence: its strip, its film, and each of its pictures with a number."""
        name, seed = self._name(strip, alone=True), strip.recipe.seed
        self._write(name, "", png_bytes(strip.image, strip.recipe), "strip", seed)
        self._write(name.with_suffix(".gif"), "", strip.film(), "film", seed)
        for index, picture in enumerate(pictures):
            data = png_bytes(picture.image, picture.recipe)
            self._write(name, f"-{index:03}", data, "picture", picture.recipe.seed)

    def _name(self, picture: Picture, alone: bool) -> Path:
        if self.file is None:
            return self.folder / f"{slug(picture.recipe.prompt) or self.name}-{picture.recipe.seed}.png"
        return self.file if alone else self.file.with_stem(f"{self.file.stem}-{picture.recipe.seed}")

    def _write(self, name: Path, mark: str, data: bytes, kind: str, seed: int) -> None:
        if self.file is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(
                    f"cannot make the folder {self.folder} ({error.strerror})", param="out"
                ) from None
        path = write_file(name.with_stem(name.stem + mark), data, overwrite=self.file is not None)
        self.written.append({"path": str(path), "kind": kind, "seed": seed})


def slug(prompt: str) -> str:
    """A short name for files: letters and digits of any language, joined by hyphens."""
    words = re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")
    return words[:_SLUG_LENGTH].strip("-")
