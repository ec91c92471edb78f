"""A picture encoder beside a model's own text encoder: how well texts fit a picture.

A model's folder may hold one as `image_encoder/` (`pictor.backends.base.PICTURE_ENCODER`), trained so that
its embeddings are near to what the text encoder pools of true captions (CLIP, Radford et al. 2021,
arXiv:2103.00020). Beside it lies `vocabulary.json`, the words that captions can be put together from:

    {"scale": 50.0, "offset": -8.0,
     "languages": {"en": {"pattern": "{thing}{place}{style}",
                          "things": {"apple": {"plain": ["an apple", "two apples"],
                                               "coloured": ["{a_colour} apple", "two {colour} apples"]}},
                          "colours": {"red": {"colour": "red", "a_colour": "a red"}},
                          "places": {"grass": " on grass"},
                          "styles": {"pixel art": ", pixel art"}}}}

Legend of array shapes: N texts, T tokens, D width of the common space, H, W pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.errors import ModelError
from pictor.families.parts.files import read_json
from pictor.families.parts.likeness import prepared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Pixels
    from pictor.families.parts.tokens import PromptTokenizer

_SLOT = re.compile(r"\{(\w+)\}")
_MAX_SIDE = 1024
_AT_ONCE = 128
"""Texts of one run of the text encoder."""
_KEPT = 50_000
"""Texts whose places are kept: 40 MB where the space has 192 numbers."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """One language's part of a vocabulary; see the head of this file."""

    pattern: str
    things: Mapping[str, Mapping[str, Sequence[str]]]
    """"plain" and "coloured" forms by the number of things, from one."""
    colours: Mapping[str, Mapping[str, str]]
    places: Mapping[str, str]
    styles: Mapping[str, str]

    def caption(
        self, thing: str, count: int = 1, colour: str | None = None, place: str = "", style: str = ""
    ) -> str:
        """The words for these attributes; "" and None are left unsaid."""
        forms = self.things[thing]
        named = forms["plain"][count - 1]
        if colour:
            named = _filled(forms["coloured"][count - 1], self.colours[colour])
        slots = {
            "thing": named,
            "place": self.places[place] if place else "",
            "style": self.styles[style] if style else "",
        }
        return _filled(self.pattern, slots)


def _filled(pattern: str, slots: Mapping[str, str]) -> str:
    """The pattern with {name} replaced, once from left to right: nothing else has a meaning, as the file may
    be anybody's.
    """
    return _SLOT.sub(lambda found: slots[found[1]], pattern)


class Describer:
    """Tells how well texts fit a picture.

    Args:
        eye: the picture encoder.
        side: of the pictures that it takes, in pixels.
        reader: the text encoder.
        tokenizer: the text encoder's.
        scale: from cosines to logits.
        offset: added to them.
        languages: the vocabulary, by language.
    """

    def __init__(
        self,
        eye: Module,
        side: int,
        reader: Module,
        tokenizer: PromptTokenizer,
        scale: float,
        offset: float,
        languages: Mapping[str, Words],
    ) -> None:
        self._eye, self._side = eye, side
        self._reader, self._tokenizer = reader, tokenizer
        self._scale, self._offset = scale, offset
        self.languages = languages
        self._known: dict[str, NDArray[np.float32]] = {}

    def too_long(self, text: str) -> bool:
        """Whether a text is more than the text encoder reads at once."""
        return len(self._tokenizer([(text, 1.0)])) > 1

    def look(self, picture: Pixels) -> NDArray[np.float32]:
        """Where a picture [H, W, 3] lies, [D], of length 1."""
        seen = self._eye.run(image=prepared(picture, self._side))["embeds"][0]
        return np.asarray(seen / np.linalg.norm(seen), np.float32)

    def logits(self, seen_D: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
        """How likely each text is true of what `look` saw, as logits [N]."""
        read_ND = self._read(texts)
        if read_ND.shape[1:] != seen_D.shape:
            raise ModelError(
                f"pictures lie among {len(seen_D)} numbers and texts among {read_ND.shape[1]}",
                expected="an image_encoder/ that was trained with this text encoder",
                param="model",
            )
        return np.asarray(read_ND @ seen_D * self._scale + self._offset, np.float32)

    def _read(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Where texts lie, [N, D], of length 1; those of a vocabulary come again and again, and are kept."""
        unread = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(self._known) + len(unread) > _KEPT:
            self._known, unread = {}, list(dict.fromkeys(texts))
        for first in range(0, len(unread), _AT_ONCE):
            part = unread[first : first + _AT_ONCE]
            ids_NT = np.array([self._tokenizer([(text, 1.0)])[0].ids for text in part], np.int64)
            pooled_ND = self._reader.run(input_ids=_shortened(ids_NT))["pooler_output"]
            found_ND = pooled_ND / np.linalg.norm(pooled_ND, axis=1, keepdims=True)
            self._known |= dict(zip(part, found_ND, strict=True))
        return np.stack([self._known[text] for text in texts])


def _shortened(ids_NT: NDArray[np.int64]) -> NDArray[np.int64]:
    """Without the padding that all of them end in, but for one token.

    It comes after the end that is pooled, of texts that are read from left to right.
    """
    length = ids_NT.shape[1]
    while length > 2 and (ids_NT[:, length - 1] == ids_NT[:, length - 2]).all():
        length -= 1
    return ids_NT[:, :length]


def picture_side(place: Path) -> int:
    """Pixels a side of what the picture encoder in a folder looks at.

    Raises:
        ModelError: its configuration is missing or damaged.
    """
    side = read_json(place / "config.json").get("image_size", 224)
    if not isinstance(side, int) or isinstance(side, bool) or not 1 <= side <= _MAX_SIDE:
        raise ModelError(
            f"{place / 'config.json'} takes pictures of {side!r} pixels",
            expected=f"a side from 1 to {_MAX_SIDE}",
            param="model",
        )
    return side


def read_vocabulary(file: Path) -> tuple[float, float, dict[str, Words]]:
    """Scale, offset and the words by language.

    Raises:
        ModelError: it is missing or damaged.
    """
    record: Mapping[str, Any] = read_json(file)
    try:
        scale, offset = float(record["scale"]), float(record["offset"])
        if not (math.isfinite(scale) and math.isfinite(offset)):
            raise ValueError(f"scale {scale}, offset {offset}")
        languages = {language: _words(**tables) for language, tables in record["languages"].items()}
        if not languages:
            raise ValueError("no languages")
        return scale, offset, languages
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ModelError(
            f"{file} is damaged ({error!r})", expected="a vocabulary of captions", param="model"
        ) from None


def _words(**tables: Any) -> Words:
    """One language's tables, checked: every caption can be put together of them.

    Raises:
        LookupError, TypeError, ValueError, AttributeError: one cannot.
    """
    words = Words(**tables)
    for table in (words.places, words.styles, *words.colours.values()):
        if not all(isinstance(text, str) for text in table.values()):
            raise TypeError("words that are no text")
    if not words.things:
        raise ValueError("no things")
    for thing, forms in words.things.items():
        plain, coloured = forms["plain"], forms["coloured"]
        if not (isinstance(plain, list) and isinstance(coloured, list) and 0 < len(plain) == len(coloured)):
            raise TypeError(f"forms of {thing!r}")
        for count in range(1, 1 + len(plain)):
            for colour in (None, *words.colours):
                words.caption(thing, count, colour)
    return words
