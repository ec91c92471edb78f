"""Evaluate a model that reads no words: how its pictures lie beside real ones, in the judge's space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pictor.core.errors import InputError
from pictor.data.picturebook import Picturebook
from pictor.engine.execute import Progress
from pictor.engine.studio import Studio
from pictor.evaluation.evaluate import MODEL, REAL, Distribution, Pixels
from pictor.evaluation.judge import Judge, Sight
from pictor.evaluation.metrics import frechet_distance, kernel_distance, manifold, vendi_score
from pictor.evaluation.report import aligned, distribution_cells
from pictor.evaluation.training_book import TrainingBook

MIN_PICTURES, MAX_PICTURES = 16, 8192
_NEIGHBOURS = 5
_AT_ONCE = 64
"""Pictures asked of the model between two signs of life."""
_UNSEEN = 2**41
"""Number from which on the book's pictures are drawn: no run learns so many."""


@dataclass(frozen=True, kw_only=True)
class Unprompted:
    """Everything that was measured."""

    model: str
    model_hash: str
    judge: str
    size: tuple[int, int]
    pictures: int
    """Of each set."""
    seed: int
    settings: Mapping[str, str | int | float]
    """What the model was asked for, where that was not left to it."""
    distributions: list[Distribution]
    """The model's, and of as many other real renders: what nothing better than real ones gets."""
    vendi: dict[str, float]
    """Source -> effective number of different pictures."""
    shown: dict[str, dict[str, float]]
    """Source -> thing -> share of the pictures that show it, as the judge sees; the likeliest real ones
    first."""

    @property
    def missed(self) -> float:
        """Half the sum of the differences of both shares: 0 where each thing is drawn as often as it is
        real, 1 where no real thing is drawn."""
        real, made = self.shown[REAL], self.shown[MODEL]
        return sum(abs(real.get(name, 0) - made.get(name, 0)) for name in {*real, *made}) / 2


def check_pictures(count: int) -> None:
    """Before the work.

    Raises:
        InputError: too few pictures to compare sets by, or too many to wait for.
    """
    if not MIN_PICTURES <= count <= MAX_PICTURES:
        raise InputError(
            f"{count} pictures", expected=f"{MIN_PICTURES} to {MAX_PICTURES} of them", param="count"
        )


def evaluate_unprompted(
    studio: Studio,
    judge: Judge,
    *,
    pictures: int,
    seed: int = 0,
    settings: Mapping[str, str | int | float] = MappingProxyType({}),
    trained_on: TrainingBook,
    font: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Unprompted:
    """Measure a model by sets of pictures alone.

    Args:
        studio: the loaded model.
        judge: the judge to see by.
        pictures: in each set, the model's and two of real renders.
        seed: of the model's first picture.
        settings: what else `generate` takes.
        trained_on: the book that real renders are taken of.
        font: as in `Picturebook`.
        on_progress: called after each batch of pictures that the model makes.
        say: called with a line before each part of the work.

    Raises:
        InputError: a number out of range, a setting that the model would ignore, or no font; before any
            picture is made.
    """
    check_pictures(pictures)
    width, height = studio.traits.defaults.size
    book = Picturebook(min(width, height), trained_on.seed, font, trained_on.mix)
    say(f"making {pictures} pictures")
    made: list[Pixels] = []
    while len(made) < pictures:
        count = min(_AT_ONCE, pictures - len(made))
        drawn = studio.generate(seed=seed + len(made), count=count, **settings)
        made += [np.asarray(picture.image.convert("RGB")) for picture in drawn]
        if on_progress is not None:
            on_progress(Progress(len(made), pictures))
    say("drawing real renders")
    real = [book.draw(book.scene(n), n) for n in range(_UNSEEN, _UNSEEN + 2 * pictures)]
    say("judging")
    against, sights = (
        judge.look(real[:pictures]),
        {MODEL: judge.look(made), REAL: judge.look(real[pictures:])},
    )
    return Unprompted(
        model=studio.traits.name,
        model_hash=studio.bundle.model_hash,
        judge=str(judge.folder),
        size=(width, height),
        pictures=pictures,
        seed=seed,
        settings=dict(settings),
        distributions=[_beside(source, sight, against) for source, sight in sights.items()],
        vendi={source: vendi_score(sight.features) for source, sight in sights.items()},
        shown={source: _shares(sight.best("thing1")) for source, sight in sights.items()},
    )


def _beside(source: str, sight: Sight, against: Sight) -> Distribution:
    kernel, error = kernel_distance(sight.features, against.features)
    return Distribution(
        source=source,
        split="all",
        pictures=len(sight),
        frechet=frechet_distance(sight.features, against.features),
        kernel=kernel,
        kernel_error=error,
        manifold=manifold(against.features, sight.features, k=_NEIGHBOURS),
    )


def _shares(things: Sequence[str]) -> dict[str, float]:
    return {thing: count / len(things) for thing, count in Counter(things).most_common()}


def unprompted_document(found: Unprompted) -> dict[str, Any]:
    """Everything that was measured, as JSON values."""
    return asdict(found) | {"size": list(found.size), "missed": found.missed}


def unprompted_table(found: Unprompted) -> str:
    """The same as plain text."""
    sets = [["", "FD", "KID x 1000", "precision", "recall", "density", "coverage", "Vendi"]]
    for one in found.distributions:
        sets.append([one.source, *distribution_cells(one), f"{found.vendi[one.source]:.1f}"])
    real, made = found.shown[REAL], found.shown[MODEL]
    things = [["", *real], [REAL, *(f"{100 * share:.1f}" for share in real.values())]]
    things.append([MODEL, *(f"{100 * made.get(name, 0.0):.1f}" for name in real)])
    size = f"{found.size[0]}x{found.size[1]}"
    asked = "".join(f", {name} {value}" for name, value in found.settings.items())
    return "\n".join(
        [
            f"{found.model}: {found.pictures} pictures of {size}, seeds from {found.seed} on{asked}",
            "",
            "Beside as many other real renders, in the judge's space",
            *aligned(sets),
            "",
            f"What they show, in per cent; {100 * found.missed:.1f}% would have to show something else",
            *aligned(things),
        ]
    )
