"""What an autoencoder's codes tell: sheets of pictures, and distances of sets of pictures.

    python -m pictor.evaluation.latents MODEL --out DIR

MODEL is what the objective "vae", "autoencoder_kl" or "autoencoder" wrote, or a folder of diffusers' classes
of these names. Pictures are held-out ones of the picturebook that it learnt (of the whole one, where its
folder names none), or with --data of a prepared folder. DIR gets reconstructions.png and latents.json; of an
autoencoder with a prior to draw from also prior.png, traversals.png and ways.png.

Legend of array shapes: D numbers of a code, H, W pixels.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS
from pictor.core.errors import InputError, PictorError
from pictor.core.pixels import from_pixels, to_pixels
from pictor.core.plan import Drawing
from pictor.data.picturebook import Picturebook
from pictor.data.prepared import Variation
from pictor.engine.pictures import tile
from pictor.evaluation.judge import Judge, default_judge
from pictor.evaluation.metrics import frechet_distance
from pictor.evaluation.training_book import SHEET, TrainingBook, training_book
from pictor.families.bundle import Opening
from pictor.families.parts.files import read_json
from pictor.families.parts.opening import open_parts
from pictor.families.variational import PIPELINE, Coder, open_with_coder
from pictor.training.pictures import BookPictures, FolderPictures

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    from pictor.core.plan import Pixels
    from pictor.training.pictures import Pictures

_AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")
_COUNT = 512
"""Pictures of each set whose distance is taken; the figure depends on it."""
_COLUMNS = 8
_REACH = 3.0
"""Deviations of the prior that a traversal goes to either side."""
_ROWS = 10
"""Numbers that are traversed."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was measured."""

    pictures: int
    """Of each set."""
    frechet: dict[str, float]
    """Distance in the judge's space from held-out pictures: of `real` others, of `reconstructions`, and where
    there is a prior of draws from it as `prior`."""
    divergence: list[float]
    """KL of each number of a code from the prior, in nats, by size; empty for grids."""


def survey(model: Path, out: Path, data: Path | None = None, font: Path | None = None) -> Findings:
    """Measure an autoencoder and draw its sheets.

    Args:
        model: its folder.
        out: folder for the sheets and latents.json.
        data: prepared folder with the pictures to look at; None for the model's own picturebook.
        font: of the picturebook, where the system has none.

    Raises:
        ModelError: the folder holds no such autoencoder, or a file of it is damaged.
        InputError: it learnt pictures of elsewhere and `data` is None.
    """
    held_out = _pictures(model, data, font)
    width, height = held_out.sizes[0]
    real = [held_out.shown(number, held_out=True).pixels for number in range(2 * _COUNT)]
    reference, others = real[:_COUNT], real[_COUNT:]
    coder, rebuild = _opened(model)
    rebuilt = [rebuild(pixels) for pixels in reference]
    sets = {"real": others, "reconstructions": rebuilt}
    sheets = {"reconstructions": pairs(reference, rebuilt)}
    divergence = np.zeros(0)
    if coder is not None:
        sets["prior"] = coder.draw(
            Drawing(size=(width, height), conditions=()), range(_COUNT), lambda done, total: None
        )
        codes = [coder.encode(pixels) for pixels in reference]
        means, log_variances = (np.stack(told) for told in zip(*codes, strict=True))
        divergence = divergences(means, log_variances).mean(0)
        telling = np.argsort(-divergence)[:_ROWS]
        sheets["prior"] = _sheet(sets["prior"][: _COLUMNS**2], _COLUMNS)
        sheets["traversals"] = traversals(coder, means[0], telling)
        sheets["ways"] = ways(coder, reference, means)
    judge = Judge(default_judge())
    seen = judge.look(reference).features
    found = Findings(
        pictures=_COUNT,
        frechet={name: frechet_distance(judge.look(made).features, seen) for name, made in sets.items()},
        divergence=sorted((float(nats) for nats in divergence), reverse=True),
    )
    out.mkdir(parents=True, exist_ok=True)
    for name, image in sheets.items():
        image.save(out / f"{name}.png")
    (out / "latents.json").write_text(json.dumps(dataclasses.asdict(found), indent=1) + "\n", "utf-8")
    return found


def divergences(mean: NDArray[Any], log_variance: NDArray[Any]) -> NDArray[Any]:
    """KL(N(mean, variance) | N(0, 1)) of each number in nats (Kingma and Welling 2013, appendix B)."""
    nats: NDArray[Any] = (np.square(mean) + np.exp(log_variance) - 1 - log_variance) / 2
    return nats


def pairs(real: Sequence[Pixels], rebuilt: Sequence[Pixels], rows: int = 3) -> Image.Image:
    """Rows of pictures, below each what its code is decoded to."""
    shown: list[Pixels] = []
    for first in range(0, rows * _COLUMNS, _COLUMNS):
        shown += [*real[first : first + _COLUMNS], *rebuilt[first : first + _COLUMNS]]
    return _sheet(shown, _COLUMNS)


def traversals(
    coder: Coder, code_D: NDArray[np.float32], numbers: Sequence[int] | NDArray[np.intp], steps: int = 9
) -> Image.Image:
    """A row for each of these numbers of a code: the number goes from -3 to 3 and all others stay."""
    shown = []
    for number in numbers:
        for value in np.linspace(-_REACH, _REACH, steps, dtype=np.float32):
            moved = code_D.copy()
            moved[number] = value
            shown.append(coder.decode(moved))
    return _sheet(shown, steps)


def ways(
    coder: Coder, real: Sequence[Pixels], means: NDArray[np.float32], rows: int = 5, steps: int = 8
) -> Image.Image:
    """Rows from one real picture to another, between them what the line between both codes is decoded to."""
    shown = []
    for first in range(0, 2 * rows, 2):
        begin, end = means[first], means[first + 1]
        between = (begin + (end - begin) * np.float32(t) for t in np.linspace(0, 1, steps))
        shown += [real[first], *(coder.decode(code) for code in between), real[first + 1]]
    return _sheet(shown, steps + 2)


def _sheet(pictures: Sequence[Pixels], columns: int) -> Image.Image:
    from PIL import Image

    return tile([Image.fromarray(pixels) for pixels in pictures], columns, gap=2)


def _pictures(model: Path, data: Path | None, font: Path | None) -> Pictures:
    if data is not None:
        return FolderPictures(data, 0, Variation())
    sheet = read_json(model / SHEET) if (model / SHEET).is_file() else {}
    if "data" in sheet:
        raise InputError(
            f"{model} learnt the pictures of {sheet.get('name')!r}",
            expected="pictures like those it learnt",
            remedy="Pass --data with the prepared folder.",
            param="data",
        )
    book = training_book(model) or TrainingBook()
    size = sheet.get("defaults", {}).get("size", [64])[0]
    return BookPictures(Picturebook(size, book.seed, font, book.mix))


def _opened(model: Path) -> tuple[Coder | None, Callable[[Pixels], Pixels]]:
    """What tells and takes codes that are vectors; and from a picture to what its code is decoded to."""
    if (model / "model_index.json").is_file():
        index = read_json(model / "model_index.json")
        if index.get("_class_name") == PIPELINE:
            _, coder = open_with_coder(model, index, Opening())
            return coder, lambda pixels: coder.decode(coder.encode(pixels)[0])
    config = read_json(model / "config.json")
    if config.get("_class_name") not in _AUTOENCODERS:
        raise InputError(
            f"{model} is no autoencoder",
            expected=f"{PIPELINE} in model_index.json, or {' or '.join(_AUTOENCODERS)} in config.json",
            param="model",
        )
    bare = [dataclasses.replace(PARTS[name], subfolder="") for name in ("decoder", "encoder")]
    parts = open_parts(model, bare, Opening()).parts

    def rebuild(pixels: Pixels) -> Pixels:
        latent = parts["encoder"].run(image=from_pixels(pixels[None]))["latent"]
        made: Pixels = to_pixels(parts["decoder"].run(latent=latent)["image"])[0]
        return made

    return None, rebuild


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the head of this file."""
    from pictor.engine.studio import model_folder

    parser = argparse.ArgumentParser(prog="python -m pictor.evaluation.latents", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--font", type=Path, metavar="FILE")
    options: Any = parser.parse_args(arguments)
    try:
        found = survey(model_folder(options.model), options.out, options.data, options.font)
    except PictorError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(dataclasses.asdict(found), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
