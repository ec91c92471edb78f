"""Networks that make a picture of one vector of standard normal numbers.

The temperature multiplies the numbers: below 1 pictures come from the middle of what was learnt, typical and
alike (truncation, Brock et al. 2019, arXiv:1809.11096), and at 0 there is one picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pictor.core.noise import picture_noise
from pictor.core.pixels import to_picture
from pictor.core.plan import Defaults, Traits
from pictor.families.parts.files import read_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Drawing, Pixels


@dataclass(frozen=True, kw_only=True)
class VectorDecoder:
    """Pictures of vectors."""

    module: Module
    takes: str
    """The name of its one input, [1, D]."""
    numbers: int
    """D."""
    size: int
    """Side of the pictures in pixels."""

    def decode(self, vector_D: NDArray[np.float32]) -> Pixels:
        """The picture [H, W, 3] of a vector.

        One at a time: in batches of other sizes processors sum in other orders.

        Raises:
            PictorError: the network's numbers are no picture.
        """
        return to_picture(self.module.run(**{self.takes: vector_D[None]})["image"], self.size)

    def draw(self, drawing: Drawing, seeds: Sequence[int], watch: Callable[[int, int], None]) -> list[Pixels]:
        """A picture of each seed's numbers; see `pictor.families.bundle.Drawer`."""
        pictures: list[Pixels] = []
        watch(0, len(seeds))
        for seed in seeds:
            vector_D = picture_noise(seed, (self.numbers,)) * np.float32(drawing.temperature)
            pictures.append(self.decode(vector_D))
            watch(len(pictures), len(seeds))
        return pictures


def vector_traits(folder: Path, size: int) -> Traits:
    """Of a model that draws pictures of one size, and reads no words."""
    sheet = folder / "pictor.json"
    own = read_json(sheet) if sheet.is_file() else {}
    return Traits(
        name=str(own.get("name") or folder.resolve().name),
        abilities=frozenset({"whole", "draw"}),
        stride=size,
        min_side=size,
        max_side=size,
        max_tokens=0,
        defaults=Defaults(num_steps=0, guidance_scale=1.0, solver="", spacing="", size=(size, size)),
    )
