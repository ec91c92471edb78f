"""The judge as the evaluation uses it: pictures in, what they show out. Runs on the base installation.

Legend of array shapes: N pictures, D features, H, W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import pictor
from pictor.backends.onnx import OnnxModule
from pictor.core.errors import ModelError
from pictor.core.pixels import from_pixels
from pictor.training.judge_views import CLASSES, shrunk

if TYPE_CHECKING:
    from pictor.backends.base import Array

_CHUNK = 64
_REMEDY = "Train one with `pictor train recipes/judge/judge.toml`, and pass its folder with --judge."
_WHOLE = ("layout", "place", "night", "style")
_EACH = ("thing", "colour")


def default_judge() -> Path:
    """The folder of the judge that comes with Pictor."""
    return Path(pictor.__file__).parent / "embedded" / "judge"


@dataclass(frozen=True)
class Sight:
    """What the judge sees in N pictures."""

    logits: dict[str, NDArray[np.float32]]
    """By name, [N, classes]: layout, place, night, style, and thing1, thing2, colour1, colour2, where 1 is
    the object that comes first in reading order."""
    features: NDArray[np.float32]
    """[N, D], for distances."""
    classes: dict[str, list[str]]
    """Names of the classes, by the logits' names without their number."""

    def __len__(self) -> int:
        return len(self.features)

    def best(self, name: str) -> list[str]:
        """The most likely class of each picture."""
        names = self.classes[name.rstrip("12")]
        return [names[int(i)] for i in self.logits[name].argmax(1)]

    def odds(self, name: str, index: int, wanted: str) -> float:
        """Logarithm of the probability that picture `index` is `wanted`."""
        row = self.logits[name][index].astype(np.float64)
        row = row - row.max()
        return float(row[self.classes[name.rstrip("12")].index(wanted)] - np.log(np.exp(row).sum()))

    def part(self, indices: Sequence[int]) -> Sight:
        """Of some of the pictures, in the order of `indices`."""
        rows = np.asarray(indices, np.intp)
        return Sight(
            {n: logits[rows] for n, logits in self.logits.items()}, self.features[rows], self.classes
        )


class Judge:
    """A judge's folder, opened.

    Args:
        folder: config.json, model.safetensors and judge.onnx, as the objective "judge" writes them.

    Raises:
        ModelError: the folder is missing or damaged, or speaks of another vocabulary than this version.
    """

    def __init__(self, folder: Path) -> None:
        file = folder / "config.json"
        if not file.is_file():
            raise ModelError(
                f"{folder} holds no judge",
                expected="a folder with config.json",
                remedy=_REMEDY,
                param="judge",
            )
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            if config["kind"] != "pictor judge":
                raise ValueError(f"kind is {config['kind']!r}")
            self.size = int(config["size"])
            self.classes: dict[str, list[str]] = {
                name: [str(entry) for entry in config["classes"][name]] for name in (*_WHOLE, *_EACH)
            }
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{file} is damaged ({error!r})",
                expected="a judge's config.json",
                remedy=_REMEDY,
                param="judge",
            ) from None
        for name, known in CLASSES.items():
            if missing := sorted(set(known) - set(self.classes[name])):
                raise ModelError(
                    f"the judge in {folder} does not know the {name} {missing[0]!r}"
                    + (f" and {len(missing) - 1} more" if len(missing) > 1 else ""),
                    expected="a judge of this version's picturebook",
                    remedy=_REMEDY,
                    param="judge",
                )
        self.folder = folder
        self._network = OnnxModule(folder / "judge.onnx")
        self._network.load()

    def look(self, pictures: Sequence[NDArray[np.uint8]]) -> Sight:
        """See what pictures show.

        Args:
            pictures: each [H, W, 3], square, of any size; they are brought to the judge's own by area.

        Raises:
            ModelError: the graph does not give what its config.json promises.
        """
        chunks: list[dict[str, Array]] = []
        for first in range(0, len(pictures), _CHUNK):
            part = [shrunk(picture, self.size) for picture in pictures[first : first + _CHUNK]]
            chunks.append(self._network.run(image=from_pixels(np.stack(part))))
        names = [*_WHOLE, *(f"{name}{number}" for name in _EACH for number in (1, 2))]
        try:
            found = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in (*names, "feature")}
        except KeyError as error:
            raise ModelError(f"{self.folder / 'judge.onnx'} has no output {error}", param="judge") from None
        for name in names:
            if found[name].shape[1] != len(self.classes[name.rstrip("12")]):
                raise ModelError(
                    f"{self.folder / 'judge.onnx'} tells {found[name].shape[1]} classes of {name}",
                    expected=f"the {len(self.classes[name.rstrip('12')])} that config.json names",
                    remedy=_REMEDY,
                    param="judge",
                )
        return Sight({name: found[name] for name in names}, found["feature"], self.classes)
