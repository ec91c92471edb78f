"""Captioned pictures as they are before anything is noised: for networks that learn tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import CLIPTokenizer

from pictor.training.objectives import Batch
from pictor.training.pictures import JUDGED_AT_ONCE, Pictures
from pictor.training.tokenizer import tokenize


@dataclass(frozen=True, kw_only=True)
class TokenSamples:
    """Draws samples by their numbers; can be pickled to other processes."""

    pictures: Pictures
    tokenizer: CLIPTokenizer | None = None
    """None where no captions are wanted."""
    empty_captions: float = 0.0

    def __call__(
        self, first: int, count: int, held_out: bool = False
    ) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
        """Samples first .. first + count - 1: image [B, H, W, 3] uint8, and ids [B, T] int64 of captions."""
        pictures, texts = [], []
        for number in range(first, first + count):
            pixels, text, rng, _ = self.pictures.shown(number, held_out)
            pictures.append(pixels)
            texts.append("" if rng.random() < self.empty_captions else text)
        image = {"image": np.stack(pictures)}
        return image if self.tokenizer is None else image | {"ids": tokenize(self.tokenizer, texts).numpy()}

    def in_batches(self, size: int) -> TokenSamples:
        """The same samples, ordered for batches of this size."""
        return replace(self, pictures=self.pictures.in_batches(size))

    def judged(self, count: int) -> Iterator[Batch]:
        """So many held-out samples with all of their captions, in batches that each are of one size."""
        told = replace(self, empty_captions=0.0)
        for first in range(0, count, JUDGED_AT_ONCE):
            yield told.batch(first, min(JUDGED_AT_ONCE, count - first), held_out=True)

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        """The same as tensors."""
        return {key: torch.from_numpy(array) for key, array in self(first, count, held_out).items()}
