"""What a model draws before it is taught, so that it goes on drawing that: prior preservation.

Ruiz et al. 2023, arXiv:2208.12242, section 3.2.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictor.backends.kept import cache_folder
from pictor.engine.studio import load
from pictor.training.checkpoints import publish
from pictor.training.pictures import Pictures, Shown, StillPictures, View

_AT_ONCE = 8
_PURPOSE = 37
"""Number of the random stream that times and noise are drawn from."""


@dataclass(frozen=True)
class PriorPictures:
    """Pictures that a model drew of prompts, as a source of samples."""

    folder: Path
    seed: int
    has_held_out: bool = False

    @cached_property
    def _prompts(self) -> list[str]:
        told: list[str] = json.loads((self.folder / "prompts.json").read_text("utf-8"))
        return told

    @cached_property
    def _pixels(self) -> list[NDArray[np.uint8]]:
        return [np.asarray(Image.open(self.folder / f"{n:04}.png")) for n in range(len(self._prompts))]

    @property
    def still(self) -> StillPictures:
        return self

    @cached_property
    def captions(self) -> Sequence[str]:
        return sorted(set(self._prompts))

    @cached_property
    def _contents(self) -> list[str]:
        files = [self.folder / f"{number:04}.png" for number in range(len(self._prompts))]
        width, height = self.sizes[0]
        return [f"{hashlib.sha256(file.read_bytes()).hexdigest()}-{width}x{height}" for file in files]

    def views(self) -> list[View]:
        return [View(content, row) for row, content in enumerate(self._contents)]

    def view(self, number: int) -> View:
        row = number % len(self._prompts)
        return View(self._contents[row], row)

    def look(self, view: View) -> NDArray[np.uint8]:
        return self._pixels[view.row]

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"prior": sorted(set(self._prompts))}

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        height, width = self._pixels[0].shape[:2]
        return ((width, height),)

    def in_batches(self, size: int) -> Pictures:
        return self  # all are of one size

    def shown(self, number: int, held_out: bool) -> Shown:
        which = number % len(self._prompts)
        rng = np.random.Generator(np.random.Philox(key=[self.seed, _PURPOSE], counter=[0, 0, 0, number]))
        return Shown(self._pixels[which], self._prompts[which], rng)


def drawn_by(base: Path, prompts: Sequence[str], count: int, size: int, seed: int) -> PriorPictures:
    """The pictures of a model, as it draws when its user says nothing but the prompt.

    They are kept in Pictor's cache folder, by the model's weights and what was asked for: a run that goes on,
    or another one that is taught from the same model, does not draw them again.

    Args:
        base: the model's folder.
        prompts: taken in turn.
        count: of pictures.
        size: their side in pixels.
        seed: of the first; each has one more.
    """
    studio = load(base)
    wish = [studio.bundle.model_hash, list(prompts), count, size, seed]
    name = hashlib.sha256(json.dumps(wish).encode()).hexdigest()[:16]
    folder = cache_folder() / "prior" / name
    if not (folder / "prompts.json").is_file():
        told = [prompts[number % len(prompts)] for number in range(count)]
        draft = folder.with_name(f".{name}-{uuid4().hex}")
        draft.mkdir(parents=True)
        try:
            for first in range(0, count, _AT_ONCE):
                some = told[first : first + _AT_ONCE]
                made = studio.generate(some, seed=(seed + first) % 2**32, size=(size, size))
                for number, picture in enumerate(made, first):
                    picture.image.save(draft / f"{number:04}.png")
            (draft / "prompts.json").write_text(json.dumps(told, ensure_ascii=False), "utf-8")
            if not folder.exists():
                publish(draft, folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return PriorPictures(folder, seed)
