"""What frozen text encoders make of captions, kept so that each caption is read once.

It lies in the pictures' folder, under the text encoders' own hash, each caption by its tokens, in half
precision: a caption of 77 tokens takes 118 kB by Stable Diffusion 1's encoder, and 318 kB by XL's two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.training.captioned_latents import Arrays, CaptionedPictures
from pictor.training.kept_arrays import KeptArrays, Maker, Watch, growing, identity_of, opened
from pictor.training.objectives import Objective, beside
from pictor.training.text_reader import ReadsTexts, TextReader

FOLDER = "texts"
_AT_ONCE = 32


@dataclass(frozen=True)
class TextCache:
    """Kept texts; can be pickled to other processes."""

    arrays: KeptArrays
    keys: tuple[str, ...]
    """What a text has: ids, and of some models pooled."""

    def __call__(self, tokens: Arrays) -> Arrays:
        """What takes the place of tokens in a batch, in float32."""
        names = _names(tokens)
        return {
            key: np.stack([self.arrays[f"{name}-{key}"] for name in names]).astype(np.float32)
            for key in self.keys
        }


def use_kept_texts(objective: Objective, watch: Watch | None = None) -> None:
    """Let an objective on its device take kept texts in the place of tokens; what is missing is read.

    Args:
        objective: one of captioned pictures whose text encoders are frozen.
        watch: told as texts are read.

    Raises:
        InputError: its text encoders learn, or there is no end of the captions.
    """
    reader = objective.text_reader() if isinstance(objective, ReadsTexts) else None
    if reader is None:
        raise InputError(
            "this objective has no frozen text encoders",
            expected="one that learns to draw by what a text encoder reads, with text_rate = 0",
            remedy="Leave cache_texts out.",
            param="cache_texts",
        )
    identity = identity_of(dict(reader.encoders))
    source = objective.source  # type: ignore[attr-defined]
    objective.source = source.each(  # type: ignore[attr-defined]
        lambda one: _reading(one, reader, identity, watch)
    )


def _reading(
    one: CaptionedPictures, reader: TextReader, identity: str, watch: Watch | None
) -> CaptionedPictures:
    """The same samples with their captions read."""
    captions, pictures = one.pictures.captions, one.pictures.folder
    if captions is None or pictures is None:
        raise InputError(
            "captions are made anew for each sample",
            expected="those of a prepared folder, without shuffle_tags and drop_tags",
            remedy="Leave cache_texts out.",
            param="cache_texts",
        )
    maker = Maker("text encoder", identity, "cache_texts")
    folder = pictures / FOLDER / identity[:16]
    texts = list(dict.fromkeys([*captions, ""]))
    keys: tuple[str, ...] = ("ids",)
    with growing(folder, maker) as there:
        tokens = one.tokens(texts)
        names = _names(tokens)
        missing = [number for number, name in enumerate(names) if f"{name}-ids" not in there.names]
        for first in range(0, len(missing), _AT_ONCE):
            rows = missing[first : first + _AT_ONCE]
            batch = {key: torch.from_numpy(array[rows]) for key, array in tokens.items()}
            with torch.no_grad():
                found = reader.read(beside(batch, next(iter(reader.encoders.values()))))
            # The one that says that a text is there comes last.
            for key in sorted(found, key=lambda key: key == "ids"):
                half: NDArray[np.float16] = found[key].half().cpu().numpy()
                there.add([f"{names[row]}-{key}" for row in rows], half)
            if watch is not None:
                watch(len(texts) - len(missing) + first + len(rows), len(texts))
        keys = tuple(key for key in ("ids", "pooled") if f"{names[0]}-{key}" in there.names)
    return replace(one, read=TextCache(opened(folder), keys))


def _names(tokens: Arrays) -> Sequence[str]:
    """Of each row's tokens, by all tokenizers."""
    rows = zip(*(tokens[key] for key in sorted(tokens)), strict=True)
    return [sha256(b"".join(np.ascontiguousarray(row).tobytes() for row in ids)).hexdigest() for ids in rows]
