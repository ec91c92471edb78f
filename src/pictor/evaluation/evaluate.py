"""Evaluate a model: what it makes of prompts, beside real renders, reconstructions, retrieval and chance."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pictor.core.errors import MissingExtraError, ModelError
from pictor.core.notices import PictorWarning
from pictor.core.pixels import from_pixels, to_pixels
from pictor.data.picturebook import Scene
from pictor.data.picturebook.layout import alike, pair
from pictor.data.picturebook.surroundings import RELATION_BY_NAME
from pictor.engine.execute import Progress
from pictor.engine.studio import Studio
from pictor.evaluation.distribution import MIN_SET, Distribution, beside
from pictor.evaluation.judge import Judge, Sight
from pictor.evaluation.library import Library
from pictor.evaluation.metrics import distances, vendi_score
from pictor.evaluation.prompts import KINDS, Prompt, PromptBook, check_wish
from pictor.evaluation.scoring import Marks, marks
from pictor.evaluation.training_book import TrainingBook

Pixels = NDArray[np.uint8]
"""[H, W, 3]."""

MODEL, REAL, AUTOENCODER, RETRIEVAL, SHUFFLED = (
    "model",
    "real renders",
    "autoencoder",
    "retrieval",
    "shuffled captions",
)
SOURCES = (MODEL, REAL, AUTOENCODER, RETRIEVAL, SHUFFLED)

_LIBRARY = 20_000
"""Training pictures that are searched, from the first on."""
_NEAR = 4
"""Training pictures that each prompt brings to the memorisation check, by its caption."""
_ANY = 512
"""Training pictures that it has besides, of any kind."""
_DIVERSE_PROMPTS, _DIVERSE_PICTURES = 6, 8
_BATCH = 8
_MIN_SIDE, _MAX_SIDE = 32, 512
"""Sides that real renders are drawn at, whatever the model makes."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to measure."""

    kinds: tuple[str, ...] = KINDS
    count: int = 16
    """Prompts of each kind, split and language: 16 give 256 pictures."""
    seed: int = 0
    """Of the prompts and of the pictures."""
    num_steps: int | None = None
    guidance_scale: float | None = None
    solver: str | None = None
    trained_on: TrainingBook | None = None
    """For what is asked, for retrieval and for memorisation; None asks for the whole picturebook, and leaves
    the other two unmeasured."""
    everything: bool = False
    """Ask also for things, colours and places that the model's book did not hold."""
    font: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How near pictures come to training pictures, in the judge's space."""

    made: NDArray[np.floating]
    """Distance of each of the model's pictures to the nearest training picture."""
    fresh: NDArray[np.floating]
    """The same of new real renders of the same prompts, which cannot be memories."""
    nearest: list[Pixels]
    """That training picture for each of the model's."""
    pool: int
    """Training pictures compared with."""
    searched: int
    """Training pictures that those were chosen among: the first ones of the run."""

    @property
    def among(self) -> str:
        """Words for what was searched."""
        return f"of the first {self.searched:,} drawn for training; a run sees more"

    @property
    def nearer(self) -> float:
        """Probability that a picture of the model is nearer than a new render; 0.5 for equals."""
        wins = (self.made[:, None] < self.fresh).mean() + 0.5 * (self.made[:, None] == self.fresh).mean()
        return float(wins)

    @property
    def suspicious(self) -> float:
        """Share of the model's pictures nearer than all but 5% of new renders; 0.05 for equals."""
        return float((self.made < np.quantile(self.fresh, 0.05)).mean())


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Vendi scores: effective numbers of different pictures, in the judge's space."""

    made: float
    real: float
    """Of the real renders of the same prompts."""
    pictures: int
    same_prompt_made: float
    """Mean over some prompts of the score of several seeds."""
    same_prompt_real: float
    """The same of scenes with that caption drawn several times."""
    same_prompt_pictures: int
    rows: list[tuple[str, list[Pixels]]]
    """Each of those prompts and the model's pictures of it."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that was measured, with the pictures to show."""

    model: str
    model_hash: str
    judge: str
    wish: Wish
    size: tuple[int, int]
    settings: dict[str, str | int | float]
    prompts: list[Prompt]
    marks: dict[str, list[Marks]]
    """By source, one for each prompt; a source that could not be measured is absent."""
    distributions: list[Distribution]
    memory: Memory | None
    """None where no book is known that the model was trained on."""
    diversity: Diversity
    pictures: list[Pixels]
    """The model's, one for each prompt."""
    real: list[Pixels]
    notes: list[str] = field(default_factory=list)


def evaluate(
    studio: Studio,
    judge: Judge,
    wish: Wish,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Evaluation:
    """Measure a model.

    Args:
        studio: the loaded model.
        judge: the judge to see by.
        wish: what to measure.
        on_progress: called after each batch of pictures that the model makes.
        say: called with a line before each part of the work.

    Raises:
        InputError: a wish out of range, one that the model's book cannot meet, or no font; before any
            picture is made.
    """
    check_wish(wish.kinds, wish.count)
    width, height = studio.traits.defaults.size
    side = min(max(width, height, _MIN_SIDE), _MAX_SIDE)
    within = None if wish.everything or wish.trained_on is None else wish.trained_on.mix
    book = PromptBook(side, wish.seed, wish.font, within)
    prompts = book.prompts(wish.kinds, wish.count)
    others = book.reference(prompts)
    asked = _chosen(prompts)
    maker = _Maker(studio, wish, len(prompts) + len(asked) * _DIVERSE_PICTURES, on_progress)
    maker.check(prompts[0])

    say(f"making {maker.total} pictures")
    pictures = [maker.make(prompt.text, prompt.number, 1)[0] for prompt in prompts]
    rows = [(p.text, maker.make(p.text, p.number + len(prompts), _DIVERSE_PICTURES)) for p in asked]

    say("drawing real renders")
    real = [book.book.draw(prompt.scene, prompt.number) for prompt in prompts]
    reference = [book.book.draw(scene, number) for number, scene in enumerate(others, len(prompts))]

    say("judging")
    notes = (
        [f"{len(maker.warned)} prompts had warnings, the first: {maker.warned[0]}"] if maker.warned else []
    )
    sights = {MODEL: judge.look(pictures), REAL: judge.look(real)}
    memory = None
    if wish.trained_on is None:
        notes.append("retrieval, memory: not measured (the model names no picturebook that it learnt from)")
    else:
        library = Library(side, wish.trained_on.seed, _LIBRARY, wish.font, wish.trained_on.mix)
        near = [library.nearest(prompt.caption, _NEAR) for prompt in prompts]
        sights[RETRIEVAL] = judge.look(library.draw([numbers[0] for numbers in near]))
        memory = _memory(library, judge, near, sights[MODEL], sights[REAL], wish.seed)
    rebuilt = _rebuilt(studio, real, (width, height), notes)
    if rebuilt is not None:
        sights[AUTOENCODER] = judge.look(rebuilt)
    judged = {
        source: [marks(p.caption, sight, i) for i, p in enumerate(prompts)]
        for source, sight in sights.items()
    }
    if wish.count > 1:
        judged[SHUFFLED] = [
            marks(other.caption, sights[MODEL], i) for i, other in enumerate(_shuffled(prompts, wish.count))
        ]
    else:
        notes.append(
            "shuffled captions: not measured (a count of 1 leaves no other caption of the same kind)"
        )

    say("comparing sets")
    against = judge.look(reference)
    return Evaluation(
        model=studio.traits.name,
        model_hash=studio.bundle.model_hash,
        judge=str(judge.folder),
        wish=wish,
        size=(width, height),
        settings=maker.settings,
        prompts=prompts,
        marks={source: judged[source] for source in SOURCES if source in judged},
        distributions=list(_distributions(sights, against, prompts)),
        memory=memory,
        diversity=_diversity(book, judge, asked, rows, sights),
        pictures=pictures,
        real=real,
        notes=notes,
    )


class _Maker:
    """The model's pictures, counted for the progress line."""

    def __init__(
        self, studio: Studio, wish: Wish, total: int, on_progress: Callable[[Progress], None] | None
    ) -> None:
        self.total = total
        self.settings: dict[str, str | int | float] = {}
        self.warned: list[str] = []
        """The first warning of each prompt that had one."""
        self._studio = studio
        self._wish = wish
        self._done = 0
        self._on_progress = on_progress

    def check(self, prompt: Prompt) -> None:
        """Have a plan made, which refuses settings that the model cannot take, and note what it says."""
        from pictor.tasks.text2image import Text2Image

        plan = self._studio.plan(Text2Image(prompt=prompt.text, seed=self._wish.seed, **self._options()))
        known = plan.describe(0)
        names = ("num_steps", "guidance_scale", "solver", "spacing")
        # What draws at once has no steps and no solver.
        self.settings.update({name: known[name] for name in names if known[name]})

    def make(self, text: str, number: int, count: int) -> list[Pixels]:
        seed = self._wish.seed + number * _DIVERSE_PICTURES
        # Hundreds of prompts would warn alike: they are told once, in the report.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PictorWarning)
            made = self._studio.generate(text, seed=seed, count=count, **self._options())
        self.warned += [str(one.message) for one in caught if issubclass(one.category, PictorWarning)][:1]
        self._done += count
        if self._on_progress is not None:
            self._on_progress(Progress(self._done, self.total))
        return [np.asarray(picture.image.convert("RGB")) for picture in made]

    def _options(self) -> dict[str, Any]:
        wish = self._wish
        return {
            "num_steps": wish.num_steps,
            "guidance_scale": wish.guidance_scale,
            "solver": wish.solver,
        }


def _chosen(prompts: Sequence[Prompt]) -> list[Prompt]:
    """A few seen prompts of the first language, spread over the kinds, for several pictures each."""
    first = [p for p in prompts if not p.held_out and p.language == prompts[0].language]
    step = max(1, len(first) // _DIVERSE_PROMPTS)
    return first[::step][:_DIVERSE_PROMPTS]


def _shuffled(prompts: Sequence[Prompt], count: int) -> list[Prompt]:
    """Each prompt's neighbour among the `count` of its kind, split and language."""
    return [prompts[i + 1 if (i + 1) % count else i + 1 - count] for i in range(len(prompts))]


def _rebuilt(
    studio: Studio, real: Sequence[Pixels], size: tuple[int, int], notes: list[str]
) -> list[Pixels] | None:
    """Real renders through the model's autoencoder; None, with a note, where it has none or cannot here."""
    if studio.traits.latent_channels == 0:
        notes.append("autoencoder: not measured (the model has none)")
        return None
    try:
        made: list[Pixels] = []
        for first in range(0, len(real), _BATCH):
            part = [np.asarray(Image.fromarray(one).resize(size)) for one in real[first : first + _BATCH]]
            coded = studio.bundle.autoencoder.encode(from_pixels(np.stack(part)))
            made.extend(to_pixels(studio.bundle.autoencoder.decode(coded)))
        return made
    except MissingExtraError:
        notes.append("autoencoder: not measured (its encoder needs the torch extra)")
    except ModelError as error:
        notes.append(f"autoencoder: not measured ({error})")
    return None


def _distributions(
    sights: dict[str, Sight], against: Sight, prompts: Sequence[Prompt]
) -> Iterator[Distribution]:
    for split in ("all", "seen", "held out"):
        rows = [i for i, p in enumerate(prompts) if split == "all" or p.held_out == (split == "held out")]
        real = against.features[rows]
        for source in (MODEL, REAL, AUTOENCODER):
            if source in sights and len(rows) >= MIN_SET:
                yield beside(source, split, sights[source].features[rows], real)


def _memory(
    library: Library, judge: Judge, near: Sequence[Sequence[int]], made: Sight, fresh: Sight, seed: int
) -> Memory:
    others = np.random.default_rng(seed).choice(len(library.scenes), _ANY, replace=False)
    numbers = sorted({number for row in near for number in row} | {int(number) for number in others})
    pool = judge.look(library.draw(numbers)).features
    found = distances(made.features, pool)
    return Memory(
        made=found.min(1),
        fresh=distances(fresh.features, pool).min(1),
        nearest=library.draw([numbers[int(i)] for i in found.argmin(1)]),
        pool=len(numbers),
        searched=len(library.scenes),
    )


def _diversity(
    book: PromptBook,
    judge: Judge,
    asked: Sequence[Prompt],
    rows: list[tuple[str, list[Pixels]]],
    sights: dict[str, Sight],
) -> Diversity:
    made = [vendi_score(judge.look(pictures).features) for _, pictures in rows]
    real = [
        vendi_score(
            judge.look(
                [
                    book.book.draw(_moved(prompt.scene, book, number), number)
                    for number in range(_DIVERSE_PICTURES)
                ]
            ).features
        )
        for prompt in asked
    ]
    return Diversity(
        made=vendi_score(sights[MODEL].features),
        real=vendi_score(sights[REAL].features),
        pictures=len(sights[MODEL]),
        same_prompt_made=float(np.mean(made)),
        same_prompt_real=float(np.mean(real)),
        same_prompt_pictures=_DIVERSE_PICTURES,
        rows=rows,
    )


def _moved(scene: Scene, book: PromptBook, number: int) -> Scene:
    """Another scene with the same caption: sizes and positions drawn anew."""
    rng, first, second = book.book.rng(number, 73), scene.subject, scene.other
    if scene.relation is not None and second is not None:
        coats = (first.thing, first.colour), (second.thing, second.colour)
        return replace(scene, items=pair(*coats, RELATION_BY_NAME[scene.relation], rng))
    return replace(scene, items=alike(first.thing, first.colour, scene.count, False, rng))
