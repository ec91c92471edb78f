"""A picture that breaks what decodes it, in a module that processes import quickly."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from pictor.data.sources.source import Record


@dataclass(frozen=True)
class Deadly:
    """Ends the process that opens it, as a picture that breaks a decoder does."""

    def __call__(self) -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""


@dataclass(frozen=True)
class OneDeadly:
    """A source with one such picture."""

    source: Any
    place: int

    def __len__(self) -> int:
        return len(self.source)

    def records(self) -> Iterator[Record]:
        for number, record in enumerate(self.source.records()):
            yield replace(record, read=Deadly()) if number == self.place else record
