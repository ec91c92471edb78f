"""Words for a picture: put together step by step, those that fit it best."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.errors import InputError
from pictor.families.parts.hub import fetch_of_transformers, is_hub_id
from pictor.tasks.inputs import read_pixels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from pictor.core.plan import Pixels
    from pictor.families.parts.describing import Describer, Words

MAX_DESCRIPTIONS = 6
"""Captions that each step goes on from."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """A text, and how well it fits."""

    text: str
    probability: float | None = None
    """That it is true of the picture, as the model believes; None where nobody says."""
    thing: str | None = None
    count: int | None = None
    colour: str | None = None
    """None: not said."""
    place: str | None = None
    style: str | None = None


def open_captioner(captioner: str | os.PathLike[str], *, device: str = "auto") -> Callable[[Pixels], str]:
    """A captioning model of transformers: from a picture [H, W, 3] to a sentence.

    Args:
        captioner: its folder, or its name on the Hub.
        device: "cpu", "cuda", ...; "auto" is a GPU where there is one.

    Raises:
        InputError: there is no such device.
        ModelError: there is no such model.
        MissingExtraError: torch is not installed.
    """
    from pictor.backends.captioner import Captioner

    named = not os.path.exists(captioner) and is_hub_id(str(captioner))
    return Captioner(fetch_of_transformers(str(captioner)) if named else Path(captioner), device=device)


def captioned(captioner: str | os.PathLike[str], image: Any, *, device: str = "auto") -> list[Description]:
    """The sentence that a captioning model of transformers writes; see `open_captioner`.

    Raises:
        InputError: the picture cannot be read.
    """
    picture = read_pixels(image, "image")
    return [Description(text=open_captioner(captioner, device=device)(picture))]


def ranked(
    describer: Describer, picture: Pixels, texts: Sequence[str], top: int | None = None
) -> list[Description]:
    """The given texts, the likeliest first.

    Args:
        describer: of a model.
        picture: [H, W, 3].
        texts: at least one.
        top: how many at most; None is all.

    Raises:
        InputError: the text encoder cannot read a text whole.
    """
    for text in texts:
        if describer.too_long(text):
            raise InputError(
                f"among has a text of {len(text)} characters, {text[:40]!r}...",
                expected="texts that the text encoder reads at once",
                remedy="Say it in fewer words.",
                param="among",
            )
    likely = _probabilities(describer, describer.look(picture), texts)
    order = np.argsort(-likely, kind="stable")
    return [Description(text=texts[at], probability=float(likely[at])) for at in order[:top]]


def described(describer: Describer, picture: Pixels, language: str, top: int) -> list[Description]:
    """Captions of the model's vocabulary, the likeliest first.

    All objects are tried; then numbers and colours of the likeliest, places of the likeliest of these, and
    styles. What is left unsaid competes with all that could be said.

    Args:
        describer: of a model.
        picture: [H, W, 3].
        language: of its vocabulary.
        top: how many captions at most.

    Raises:
        InputError: the vocabulary does not have the language.
    """
    if language not in describer.languages:
        raise InputError(
            f"language is {language!r}", expected=" or ".join(describer.languages), param="language"
        )
    words = describer.languages[language]
    seen = describer.look(picture)
    guesses = [Description(text="", thing=thing, count=1) for thing in words.things]
    guesses = _best(describer, words, seen, guesses)
    for step in (_numbers_and_colours, _places, _styles):
        tried = [further for guess in guesses for further in step(words, guess)]
        guesses = _best(describer, words, seen, tried)
    return guesses[:top]


def _numbers_and_colours(words: Words, guess: Description) -> Iterable[Description]:
    assert guess.thing is not None  # noqa: S101 - where all guesses begin
    for count in range(1, 1 + len(words.things[guess.thing]["plain"])):
        for colour in (None, *words.colours):
            yield replace(guess, count=count, colour=colour)


def _places(words: Words, guess: Description) -> Iterable[Description]:
    return [guess, *(replace(guess, place=place) for place in words.places)]


def _styles(words: Words, guess: Description) -> Iterable[Description]:
    return [guess, *(replace(guess, style=style) for style in words.styles)]


def _best(
    describer: Describer, words: Words, seen: NDArray[np.float32], guesses: Sequence[Description]
) -> list[Description]:
    texts = [
        words.caption(guess.thing or "", guess.count or 1, guess.colour, guess.place or "", guess.style or "")
        for guess in guesses
    ]
    likely = _probabilities(describer, seen, texts)
    order = np.argsort(-likely, kind="stable")[:MAX_DESCRIPTIONS]
    return [replace(guesses[at], text=texts[at], probability=float(likely[at])) for at in order]


def _probabilities(
    describer: Describer, seen: NDArray[np.float32], texts: Sequence[str]
) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-describer.logits(seen, texts).astype(np.float64)))
