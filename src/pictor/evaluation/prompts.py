"""What a model is asked: scenes of known kinds, in full captions, seen and held out, in both languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pictor.core.errors import InputError
from pictor.data.picturebook import Caption, Mix, Picturebook, Scene

LANGUAGES = ("en", "zh")
MAX_COUNT = 2000
_BOOK = 900_001
"""Added to the seed: no model and no judge is trained on the book that prompts come from."""
_CAPTIONS, _SECOND_CAPTIONS = 71, 72
_REFERENCE = 1_000_000
"""Number of the first scene of the reference set, far from those of prompts."""

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
        """`count` prompts of each kind, split and language; both languages ask for the same scenes.

        Raises:
            InputError: an unknown or repeated kind, or a count out of range.
        """
        check_wish(kinds, count)
        made: list[Prompt] = []
        for kind in kinds:
            for held_out in (False, True):
                scenes = self._scenes(kind, held_out, count, first=0)
                for language, purpose in zip(LANGUAGES, (_CAPTIONS, _SECOND_CAPTIONS), strict=True):
                    for index, scene in enumerate(scenes):
                        rng = self._books[kind].rng(index, purpose + 10 * held_out)
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
            (kind, held_out): iter(self._scenes(kind, held_out, count, first=_REFERENCE))
            for (kind, held_out), count in wanted.items()
        }
        return [next(found[prompt.kind, prompt.held_out]) for prompt in prompts]

    def _scenes(self, kind: str, held_out: bool, count: int, first: int) -> list[Scene]:
        """The first scenes of this kind whose object has a colour that a caption names.

        A book's mix does not force either: some styles are not drawn in every place, and some things keep
        their own colours.
        """
        scenes: list[Scene] = []
        index = first
        while len(scenes) < count:
            scene = self._books[kind].scene(index, held_out=held_out)
            index += 1
            if scene.subject.colour is not None and kind_of(scene) == kind:
                scenes.append(scene)
        return scenes


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
