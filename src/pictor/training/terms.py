"""What a call of the training loop is asked for, and what it tells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pictor.training.outlook import Outlook


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    samples_seen: int
    samples: int
    loss: float
    samples_per_second: float
    """Since the call began to train."""
    peak_memory: int | None
    """Bytes that this process has held at most; see `machine.peak_memory`."""
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of `train` ended."""

    samples_seen: int
    finished: bool
    model: Path | None
    """None where the run is not finished and its model so far was not wished for."""
    figures: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a call trains; none of it changes what is learnt, but for rounding."""

    minutes: float | None
    device: str
    drawers: int
    shard: bool
    publish: bool
    graphs: bool
    outlook: bool
    """Whether to count the work of a sample first."""
    started: float
    """When the call began, by the monotonic clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Who is told and asked as a call trains; see `pictor.training.loop.train`."""

    on_kept: Callable[[str, int, int], None] | None = None
    on_outlook: Callable[[Outlook], None] | None = None
    on_progress: Callable[[Progress], None] | None = None
    should_stop: Callable[[], bool] | None = None
