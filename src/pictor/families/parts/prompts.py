"""Prompts as CLIP's text encoder reads them: in chunks, with stress.

Legend of array shapes: T tokens of a chunk, D width of an embedding.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

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


class ClipEmbeds(NamedTuple):
    """What a CLIP text encoder makes of a prompt."""

    hidden: NDArray[np.float32]
    """[T, D] of all chunks, one after the other."""
    pooled: NDArray[np.float32] | None
    """[D] of the first chunk, without stress."""


class PromptEncoder:
    """Prompt -> embeddings; remembers the last few, and so the empty prompt's among them.

    Args:
        tokenizer: the model's.
        encoder: the model's text encoder.
        hidden: which of the encoder's outputs has an embedding for each token.
        pooled: which has one for the whole, None for none.
    """

    def __init__(
        self,
        tokenizer: PromptTokenizer,
        encoder: Module,
        *,
        hidden: str = "last_hidden_state",
        pooled: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._hidden, self._pooled = hidden, pooled
        self._known: dict[tuple[tuple[int, ...], tuple[float, ...]], ClipEmbeds] = {}

    def count_chunks(self, text: str) -> int:
        """How many times the text fills the encoder, at most 8."""
        return min(_MAX_CHUNKS, len(self._tokenizer(fragments(text))))

    def __call__(
        self, text: str, *, chunks: int = 1, size: tuple[int, int] | None = None, negative: bool = False
    ) -> Embeds:
        """The embeddings under the name that UNets know; see `pictor.families.bundle.EncodePrompt`."""
        return {"encoder_hidden_states": self.encode(text, chunks).hidden}

    def encode(self, text: str, chunks: int = 1, *, at_most: int = _MAX_CHUNKS) -> ClipEmbeds:
        """Embeddings of all chunks.

        Args:
            text: with stress, in the grammar of `pictor.core.prompts`.
            chunks: at least so many; empty ones follow where the text is shorter.
            at_most: further ones are left away; at the usual 8 with a warning.
        """
        parts = self._tokenizer(fragments(text))
        if len(parts) > at_most == _MAX_CHUNKS:
            cut = self._tokenizer.text(parts[_MAX_CHUNKS:])
            shown = cut if len(cut) <= _MAX_SHOWN else f"{cut[:_MAX_SHOWN]}..."
            warnings.warn(
                f"the prompt is longer than {_MAX_CHUNKS} times {self._tokenizer.max_length} tokens;"
                f" this was cut: {shown!r}",
                PictorWarning,
                stacklevel=2,
            )
        kept = parts[:at_most]
        empty = self._tokenizer([])
        embeds = [self._chunk(part) for part in kept + empty * (chunks - len(kept))]
        if len(embeds) == 1:
            return embeds[0]
        return ClipEmbeds(np.concatenate([one.hidden for one in embeds]), embeds[0].pooled)

    def _chunk(self, tokens: Tokens) -> ClipEmbeds:
        key = tuple(tokens.ids), tuple(tokens.weights)
        if key not in self._known:
            outputs = self._encoder.run(input_ids=np.array([tokens.ids], np.int64))
            hidden_TD = outputs[self._hidden][0]
            if any(weight != 1.0 for weight in tokens.weights):
                [empty] = self._tokenizer([])
                hidden_TD = stressed(hidden_TD, self._chunk(empty).hidden, tokens.weights)
            if len(self._known) >= _MAX_CACHED:
                del self._known[next(iter(self._known))]
            pooled = None if self._pooled is None else outputs[self._pooled][0]
            self._known[key] = ClipEmbeds(hidden_TD, pooled)
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
