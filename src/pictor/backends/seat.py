"""One place on a device that several networks take in turns, so that it need not hold all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Sitter(Protocol):
    """A network that can move."""

    def enter(self) -> None:
        """Move to the device."""

    def leave(self) -> None:
        """Move off it."""


class Seat:
    """Whoever sat last stays until another comes: steps of one network move nothing."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._sitter: Sitter | None = None

    @contextmanager
    def taken_by(self, sitter: Sitter) -> Iterator[None]:
        """The sitter is on the device within this block, and no other is."""
        with self._lock:
            if self._sitter is not sitter:
                if self._sitter is not None:
                    self._sitter.leave()
                self._sitter = None  # should entering fail
                sitter.enter()
                self._sitter = sitter
            yield
