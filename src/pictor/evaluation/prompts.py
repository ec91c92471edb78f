"""What a model is asked: scenes of known kinds, in full captions, seen and held out, in both languages."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice, permutations, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.data.picturebook import Caption, Mix, Picturebook, Scene
from pictor.data.picturebook.hold_out import pair_held_out, unseen_under_every_name
from pictor.data.picturebook.surroundings import RELATIONS
from pictor.data.picturebook.vocabulary import THING_BY_NAME

Triple = tuple[str, str, str]
"""A thing, a relation and a thing."""

LANGUAGES = ("en", "zh")
MAX_COUNT = 2000
_BOOK = 900_001
"""Added to the seed: no model and no judge is trained on the book that prompts come from."""
_CAPTIONS = {"en": 71, "zh": 72}
_TRIPLES = 74
"""Numbers of random streams, as are those of captions."""
_FIRST = {"en": 0, "zh": 500_000}
"""Number of the first scene that each language asks for: all scenes differ."""
_REFERENCE = 1_000_000
"""Number of the first scene of the reference set."""
_TRIES = 2_000
"""Scenes in a row of which none will do, after which there is taken to be none."""

# Two clouds in a sky of clouds are not two. Only prompts leave them out: which scenes a book draws for
# training is decided by their numbers, which trained models record.
_BEHIND = {
    "forest": ("tree", "pine tree"),
    "beach": ("wave",),
    "sea": ("wave",),
    "snow": ("snowflake",),
    "city": ("house",),
    "sunset": ("sun",),
    "space": ("star", "planet"),
}
"""Things that a place itself shows."""
_BEHIND_BY_DAY, _BEHIND_BY_NIGHT = {"sky": ("cloud",), "desert": ("sun",)}, ("star", "crescent moon")

_MIXES = {
    "single": Mix(counted=0, related=0, styled=0, natural=0, small=0),
    "counted": Mix(counted=1, related=0, styled=0, natural=0, small=0),
    "related": Mix(counted=0, related=1, styled=0, natural=0, small=0),
    "styled": Mix(counted=0, related=0, styled=1, natural=0, small=0),
}
KINDS = tuple(_MIXES)
"""One object in a colour; two to four alike ones; two objects in a relation; one object in a style."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One wish, and the scene whose full caption it is."""

    number: int
    """Place in the list; seeds of pictures count from it."""
    kind: str
    held_out: bool
    """Whether training never sees this composition."""
    language: str
    scene: Scene
    caption: Caption

    @property
    def text(self) -> str:
        return self.caption.text


class PromptBook:
    """Where the prompts and the reference set come from.

    Args:
        size: side of real renders in pixels.
        seed: another seed gives other prompts.
        font: as in `Picturebook`.
        within: asks only for the things, colours, places and nights of this mix; None for all.

    Raises:
        InputError: there is no font to draw with.
    """

    def __init__(self, size: int, seed: int = 0, font: Path | None = None, within: Mix | None = None) -> None:
        self._books = {
            kind: Picturebook(size, _BOOK + seed, font, _within(mix, within)) for kind, mix in _MIXES.items()
        }
        self.book = self._books["single"]
        """Draws the scenes of all kinds."""

    def prompts(self, kinds: Sequence[str], count: int) -> list[Prompt]:
        """`count` prompts of each kind, split and language, all of different scenes.

        Raises:
            InputError: an unknown or repeated kind, a count out of range, or a kind that the mix does not
                hold.
        """
        check_wish(kinds, count)
        made: list[Prompt] = []
        for kind in kinds:
            for held_out in (False, True):
                for language in LANGUAGES:
                    scenes = self._scenes(kind, held_out, count, _FIRST[language])
                    for index, scene in enumerate(scenes):
                        rng = self._books[kind].rng(index, _CAPTIONS[language] + 10 * held_out)
                        caption = self.book.caption(scene, rng, language=language, full=True)
                        made.append(
                            Prompt(
                                number=len(made),
                                kind=kind,
                                held_out=held_out,
                                language=language,
                                scene=scene,
                                caption=caption,
                            )
                        )
        return made

    def reference(self, prompts: Sequence[Prompt]) -> list[Scene]:
        """As many other scenes of the same kinds and splits, in the same order."""
        wanted: dict[tuple[str, bool], int] = {}
        for prompt in prompts:
            key = (prompt.kind, prompt.held_out)
            wanted[key] = wanted.get(key, 0) + 1
        found = {
            (kind, held_out): iter(self._scenes(kind, held_out, count, _REFERENCE))
            for (kind, held_out), count in wanted.items()
        }
        return [next(found[prompt.kind, prompt.held_out]) for prompt in prompts]

    def _scenes(self, kind: str, held_out: bool, count: int, first: int) -> list[Scene]:
        """The first `count` scenes of this kind, from number `first` on, that can be asked for and judged."""
        drawn = self._drawn(kind, held_out, first)
        return [self._askable(drawn, kind, held_out) for _ in range(count)]

    def _drawn(self, kind: str, held_out: bool, first: int) -> Iterator[Scene]:
        """Scenes of the kind's book, of which some are of another kind."""
        book = self._books[kind]
        if kind == "related" and held_out:
            for index, triple in enumerate(cycle(_unseen_triples(book, first)), first):
                yield book.related(index, *triple)
        else:
            for index in itertools.count(first):
                yield book.scene(index, held_out=held_out)

    def _askable(self, drawn: Iterator[Scene], kind: str, held_out: bool) -> Scene:
        """The next scene of this kind whose caption names a colour and is true of nothing else in it.

        A book's mix does not force it: some styles are not drawn in every place, and some things keep their
        own colours. Relations are asked for in colours that training shows these things in.
        """
        cause: InputError | None = None
        try:
            for scene in islice(drawn, _TRIES):
                strange = kind == "related" and any(pair_held_out(i.thing, i.colour) for i in scene.items)
                if scene.subject.colour and kind_of(scene) == kind and not strange and not _behind(scene):
                    return scene
        except InputError as error:
            cause = error
        raise InputError(
            f"no {'held-out' if held_out else 'seen'} prompt of the kind {kind!r} is to be found "
            f"({self._books[kind].mix.told()})",
            expected="a kind that the model's own book holds",
            remedy=f"Leave {kind} out of --kinds, or ask for the whole picturebook with --everything.",
            param="kinds",
        ) from cause


def _unseen_triples(book: Picturebook, first: int) -> Iterator[Triple]:
    """Each triple of the book's things that training shows under no name; the relations come in turn.

    A relation that has no more pairs of things is passed over. The order of pairs is drawn by `first`.
    """
    pairs = list(permutations(book.mix.things or tuple(THING_BY_NAME), 2))
    rng = book.rng(first, _TRIPLES)
    orders = [rng.permutation(len(pairs)) for _ in RELATIONS]
    found = [_unseen(pairs, relation.name, order) for relation, order in zip(RELATIONS, orders, strict=True)]
    for turn in zip_longest(*found):
        yield from (triple for triple in turn if triple is not None)


def _unseen(pairs: list[tuple[str, str]], relation: str, order: NDArray[np.int64]) -> Iterator[Triple]:
    for number in order:
        one, other = pairs[int(number)]
        if unseen_under_every_name(one, relation, other):
            yield one, relation, other


def _behind(scene: Scene) -> bool:
    """Whether the background shows more of what the scene is of."""
    shown = _BEHIND_BY_NIGHT if scene.night else _BEHIND_BY_DAY.get(scene.place, ())
    return any(item.thing in (*shown, *_BEHIND.get(scene.place, ())) for item in scene.items)


def _within(mix: Mix, within: Mix | None) -> Mix:
    if within is None:
        return mix
    night = min(mix.night, within.night)
    return replace(mix, things=within.things, colours=within.colours, places=within.places, night=night)


def kind_of(scene: Scene) -> str:
    """Which of `KINDS` a scene is; one in a relation or of several objects may be in a style as well."""
    if scene.relation is not None:
        return "related"
    if scene.count > 1:
        return "counted"
    return "single" if scene.style == "plain" else "styled"


def check_wish(kinds: Sequence[str], count: int) -> None:
    """Refuse kinds and counts that cannot be.

    Raises:
        InputError: an unknown or repeated kind, none at all, or a count out of range.
    """
    if not kinds or len(set(kinds)) < len(kinds) or not set(kinds) <= set(KINDS):
        raise InputError(
            f"kinds is {', '.join(kinds) or 'empty'!r}",
            expected=f"different ones of {', '.join(KINDS)}",
            remedy="Leave --kinds out for all of them.",
            param="kinds",
        )
    if not 1 <= count <= MAX_COUNT:
        raise InputError(f"count is {count}", expected=f"an integer from 1 to {MAX_COUNT}", param="count")
