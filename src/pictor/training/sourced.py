"""What objectives with a source of samples share: how the loop asks for them."""

from __future__ import annotations

from typing import Generic, Protocol, Self, TypeVar

from pictor.training.drawing import Arrays, Draw
from pictor.training.objectives import Batch


class Source(Protocol):
    """Draws samples by their numbers; can be pickled to other processes."""

    def __call__(self, first: int, count: int) -> Arrays:
        """Samples first .. first + count - 1, as arrays."""

    def in_batches(self, size: int) -> Self:
        """The same samples, ordered for batches of this size."""

    def batch(self, first: int, count: int) -> Batch:
        """Samples as tensors."""


S = TypeVar("S", bound=Source)


class Sourced(Generic[S]):
    """An objective's part of `Objective`, `DrawnElsewhere` and `Batched` that its `source` answers."""

    source: S

    def batches_of(self, size: int) -> None:
        self.source = self.source.in_batches(size)

    def drawer(self) -> Draw:
        return self.source

    def batch(self, first: int, count: int) -> Batch:
        return self.source.batch(first, count)
