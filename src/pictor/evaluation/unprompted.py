"""Evaluate a model that reads no words: how its pictures lie beside real ones, in the judge's space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pictor.core.errors import InputError
from pictor.data.picturebook import Picturebook
from pictor.engine.execute import Progress
from pictor.engine.studio import Studio
from pictor.evaluation.distribution import Distribution, beside
from pictor.evaluation.evaluate import MODEL, REAL, Pixels
from pictor.evaluation.judge import Judge
from pictor.evaluation.metrics import vendi_score
from pictor.evaluation.report import SET_COLUMNS, aligned, distribution_cells
from pictor.evaluation.training_book import TrainingBook

REFERENCE = "reference"
"""The real renders that the model's pictures and as many other real renders are compared with."""
MIN_PICTURES, MAX_PICTURES = 16, 8192
_SHOWN = 64
"""Pictures of the model that the page shows."""
_AT_ONCE = 64
"""Pictures asked of the model between two signs of life."""
_WHOLE_BOOK = (
    "real renders are of the whole picturebook, since the model names no picturebook that it learnt from"
)
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
    """Source, `REFERENCE` among them -> thing -> share of the pictures that show it, as the judge sees; the
    likeliest first."""
    samples: list[Pixels]
    """The model's first pictures."""
    notes: list[str] = field(default_factory=list)

    def missed(self, source: str) -> float:
        """Share of a set's pictures that would have to show something else.

        Half the sum of the differences of its shares of things from the reference's: 0 where each is shown as
        often, 1 where nothing of the reference is. Small sets differ by chance alone: what other real renders
        get is the floor.
        """
        real, made = self.shown[REFERENCE], self.shown[source]
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
    trained_on: TrainingBook | None,
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
        trained_on: the book that real renders are taken of; None takes the whole picturebook.
        font: as in `Picturebook`.
        on_progress: called after each batch of pictures that the model makes.
        say: called with a line before each part of the work.

    Raises:
        InputError: a number out of range, a setting that the model would ignore, or no font; before any
            picture is made.
    """
    check_pictures(pictures)
    width, height = studio.traits.defaults.size
    known = trained_on or TrainingBook()
    book = Picturebook(min(width, height), known.seed, font, known.mix)
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
    against = judge.look(real[:pictures])
    sights = {MODEL: judge.look(made), REAL: judge.look(real[pictures:])}
    return Unprompted(
        model=studio.traits.name,
        model_hash=studio.bundle.model_hash,
        judge=str(judge.folder),
        size=(width, height),
        pictures=pictures,
        seed=seed,
        settings=dict(settings),
        distributions=[
            beside(source, "all", sight.features, against.features) for source, sight in sights.items()
        ],
        vendi={source: vendi_score(sight.features) for source, sight in sights.items()},
        shown={
            source: _shares(sight.best("thing1")) for source, sight in (sights | {REFERENCE: against}).items()
        },
        samples=made[:_SHOWN],
        notes=[] if trained_on else [_WHOLE_BOOK],
    )


def _shares(things: Sequence[str]) -> dict[str, float]:
    return {thing: count / len(things) for thing, count in Counter(things).most_common()}


def unprompted_document(found: Unprompted) -> dict[str, Any]:
    """Everything that was measured, as JSON values."""
    figures = asdict(replace(found, samples=[]))
    del figures["samples"]
    missed = {source: found.missed(source) for source in (MODEL, REAL)}
    return figures | {"size": list(found.size), "missed": missed}


def unprompted_table(found: Unprompted) -> str:
    """The same as plain text."""
    return "\n".join(
        [
            f"{found.model}: {about_pictures(found)}",
            "",
            "Beside as many other real renders, in the judge's space",
            *aligned(set_rows(found)),
            "",
            f"What they show, in per cent; {about_missed(found)}",
            *aligned(thing_rows(found)),
            *found.notes,
        ]
    )


def about_pictures(found: Unprompted) -> str:
    """How many pictures were asked for, and how."""
    size = f"{found.size[0]}x{found.size[1]}"
    asked = "".join(f", {name} {value}" for name, value in found.settings.items())
    return f"{found.pictures} pictures of {size}, seeds from {found.seed} on{asked}"


def about_missed(found: Unprompted) -> str:
    """What share would have to show something else, beside the floor."""
    made, floor = (f"{100 * found.missed(source):.1f}%" for source in (MODEL, REAL))
    return (
        f"{made} of the model's would have to show something else, and {floor} of as many other real renders"
    )


def set_rows(found: Unprompted) -> list[list[str]]:
    """The sets' measures below their head."""
    rows = [[o.source, *distribution_cells(o), f"{found.vendi[o.source]:.1f}"] for o in found.distributions]
    return [["", *SET_COLUMNS, "Vendi"], *rows]


def thing_rows(found: Unprompted) -> list[list[str]]:
    """Per cent of each set that shows each of the reference's things, below their names."""
    names = list(found.shown[REFERENCE])
    rows = [
        [source, *(f"{100 * found.shown[source].get(name, 0.0):.1f}" for name in names)]
        for source in (REFERENCE, REAL, MODEL)
    ]
    return [["", *names], *rows]
