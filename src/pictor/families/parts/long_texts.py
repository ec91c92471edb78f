"""Prompts as language models such as T5 and Gemma read them: whole sentences, up to a length.

Legend of array shapes: T tokens, D width of an embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pictor.core.errors import ModelError
from pictor.core.notices import PictorWarning
from pictor.core.prompts import fragments
from pictor.families.parts.files import read_json, require
from pictor.families.parts.prompts import stressed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from pictor.backends.base import Module

_MAX_CACHED = 32
_MAX_SHOWN = 200


class LongTokens(NamedTuple):
    """A text as a language model reads it, padded to its length."""

    ids: list[int]
    mask: list[int]
    """1 for tokens, 0 for padding."""
    weights: list[float]
    cut: str
    """The end of the text that found no room."""


class LongTokenizer:
    """Reads a tokenizer.json as it stands: which tokens frame a text is written in it.

    Args:
        folder: with tokenizer.json and tokenizer_config.json.
        length: tokens of a padded text.

    Raises:
        ModelError: a file is missing or damaged, or names no padding that it has.
    """

    def __init__(self, folder: Path, length: int) -> None:
        from tokenizers import Tokenizer

        file = require(folder / "tokenizer.json")
        try:
            self._tokenizer: Tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelError(f"{file} is damaged ({error})", expected="a tokenizer", param="model") from None
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self.length = length
        token = read_json(folder / "tokenizer_config.json").get("pad_token")
        name = token.get("content") if isinstance(token, dict) else token
        pad = self._tokenizer.token_to_id(str(name))
        if pad is None:
            raise ModelError(f"{folder} has no token {name!r} to pad with", param="model")
        self._pad = int(pad)

    def count(self, text: str) -> int:
        """How many tokens a text has, those that frame it included."""
        return len(self._tokenizer.encode(text).ids)

    def __call__(self, pieces: Sequence[tuple[str, float]]) -> LongTokens:
        """The tokens of a text that is given in pieces with their weights."""
        text = "".join(piece for piece, _ in pieces)
        ends = np.cumsum([len(piece) for piece, _ in pieces])
        encoding = self._tokenizer.encode(text)
        ids, offsets, special = encoding.ids, encoding.offsets, encoding.special_tokens_mask
        cut = ""
        if len(ids) > self.length:
            # What frames the end stays.
            tail = next((at for at, flag in enumerate(reversed(special)) if not flag), len(special))
            keep = [*range(self.length - tail), *range(len(ids) - tail, len(ids))]
            cut = text[offsets[self.length - tail][0] :].strip()
            ids, offsets, special = ([row[at] for at in keep] for row in (ids, offsets, special))
        weights = [
            1.0 if framed or not pieces else pieces[min(int(np.searchsorted(ends, end)), len(pieces) - 1)][1]
            for (_, end), framed in zip(offsets, special, strict=True)
        ]
        spare = self.length - len(ids)
        return LongTokens(
            list(ids) + [self._pad] * spare, [1] * len(ids) + [0] * spare, weights + [1.0] * spare, cut
        )


class LongEncoder:
    """Text -> embeddings of each token; remembers the last few.

    Args:
        tokenizer: of the language model.
        encoder: with an output `hidden`.
        masked: whether it is told which tokens are padding.
    """

    def __init__(self, tokenizer: LongTokenizer, encoder: Module, *, masked: bool = False) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._masked = masked
        self._known: dict[tuple[tuple[int, ...], tuple[float, ...]], NDArray[np.float32]] = {}

    def __call__(self, text: str, *, prefix: str = "") -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embeddings [T, D] and mask [T] of a prompt, in the grammar of `pictor.core.prompts`.

        Args:
            text: the prompt.
            prefix: said before it, as it stands.
        """
        tokens = self._tokenizer([(prefix, 1.0)] * bool(prefix) + fragments(text))
        if tokens.cut:
            shown = tokens.cut if len(tokens.cut) <= _MAX_SHOWN else f"{tokens.cut[:_MAX_SHOWN]}..."
            warnings.warn(
                f"the prompt is longer than {self._tokenizer.length} tokens; this was cut: {shown!r}",
                PictorWarning,
                stacklevel=2,
            )
        return self._embedded(tokens), np.array(tokens.mask, np.int64)

    def _embedded(self, tokens: LongTokens) -> NDArray[np.float32]:
        key = tuple(tokens.ids), tuple(tokens.weights)
        if key not in self._known:
            inputs = {"input_ids": np.array([tokens.ids], np.int64)}
            if self._masked:
                inputs["attention_mask"] = np.array([tokens.mask], np.int64)
            hidden_TD = self._encoder.run(**inputs)["hidden"][0]
            if any(weight != 1.0 for weight in tokens.weights):
                hidden_TD = stressed(hidden_TD, self._embedded(self._tokenizer([])), tokens.weights)
            if len(self._known) >= _MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[key] = hidden_TD
        return self._known[key]
