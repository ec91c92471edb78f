"""Text encoders that stay as they are while something else learns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import nn

from pictor.training.objectives import Batch


@dataclass(frozen=True)
class TextReader:
    """What text encoders make of captions."""

    encoders: Mapping[str, nn.Module]
    read: Callable[[Batch], Batch]
    """Tokens ids [B, T], and by a second tokenizer ids_2 -> what batches have in their place: words' numbers
    ids [B, T, D], and of some models pooled [B, P]."""


@runtime_checkable
class ReadsTexts(Protocol):
    """What an objective of captioned pictures may also offer."""

    def text_reader(self) -> TextReader | None:
        """Its frozen text encoders; None where they learn, or there are none."""
