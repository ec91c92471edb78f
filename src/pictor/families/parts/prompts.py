"""Prompts as CLIP's text encoder reads them: in chunks, with stress.

Legend of array shapes: T tokens of a chunk, D width of an embedding.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from pictor.core.notices import PictorWarning
from pictor.core.prompts import fragments
from pictor.families.parts.tokens import PromptTokenizer, Tokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.families.bundle import Embeds

_MAX_CACHED = 64
_MAX_SHOWN = 200
_MAX_CHUNKS = 8
"""Of one prompt: some 600 tokens of CLIP."""


class PromptEncoder:
    """Prompt -> embeddings; remembers the last few, and so the empty prompt's among them.

    Args:
        tokenizer: the model's.
        encoder: the model's text encoder.
    """

    def __init__(self, tokenizer: PromptTokenizer, encoder: Module) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._known: dict[tuple[tuple[int, ...], tuple[float, ...]], NDArray[np.float32]] = {}

    def count_chunks(self, text: str) -> int:
        """How many times the text fills the encoder, at most 8."""
        return min(_MAX_CHUNKS, len(self._tokenizer(fragments(text))))

    def __call__(self, text: str, *, chunks: int = 1, size: tuple[int, int] | None = None) -> Embeds:
        """Embeddings of all chunks, one after the other.

        Args:
            text: with stress, in the grammar of `pictor.core.prompts`.
            chunks: at least so many; empty ones follow where the text is shorter.
            size: width and height of the picture; nothing here depends on it.
        """
        parts = self._tokenizer(fragments(text))
        if len(parts) > _MAX_CHUNKS:
            cut = self._tokenizer.text(parts[_MAX_CHUNKS:])
            shown = cut if len(cut) <= _MAX_SHOWN else f"{cut[:_MAX_SHOWN]}..."
            warnings.warn(
                f"the prompt is longer than {_MAX_CHUNKS} times {self._tokenizer.max_length} tokens;"
                f" this was cut: {shown!r}",
                PictorWarning,
                stacklevel=2,
            )
        kept = parts[:_MAX_CHUNKS]
        empty = self._tokenizer([])
        embeds = [self._chunk(part) for part in kept + empty * (chunks - len(kept))]
        return {"encoder_hidden_states": embeds[0] if len(embeds) == 1 else np.concatenate(embeds)}

    def _chunk(self, tokens: Tokens) -> NDArray[np.float32]:
        key = tuple(tokens.ids), tuple(tokens.weights)
        if key not in self._known:
            hidden_TD = self._encoder.run(input_ids=np.array([tokens.ids], np.int64))["last_hidden_state"][0]
            if any(weight != 1.0 for weight in tokens.weights):
                [empty] = self._tokenizer([])
                hidden_TD = stressed(hidden_TD, self._chunk(empty), tokens.weights)
            if len(self._known) >= _MAX_CACHED:
                del self._known[next(iter(self._known))]
            self._known[key] = hidden_TD
        return self._known[key]


def stressed(
    hidden_TD: NDArray[np.float32], empty_TD: NDArray[np.float32], weights: list[float]
) -> NDArray[np.float32]:
    """Each token's embedding moved from the empty prompt's at its place, by its weight.

    ComfyUI's rule. AUTOMATIC1111's, which scales embeddings and then brings their mean back, divides by a
    mean that is 0 behind a plain layer norm.
    """
    factors = np.array(weights, np.float32)[:, None]
    return np.asarray(empty_TD + factors * (hidden_TD - empty_TD), np.float32)
