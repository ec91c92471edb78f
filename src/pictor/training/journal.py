"""What a run tells as it goes: lines of log.jsonl, and the same to trackers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pictor.core.errors import PictorError
from pictor.training.trackers import ALWAYS, Subject, Tracker, open_tracker

VALIDATION = "validation"


class Journal:
    """The log, and the trackers beside it. A tracker that fails is named in the log and told no more.

    Args:
        path: where lines are added.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("a", encoding="utf-8")
        self._trackers: dict[str, Tracker] = {}
        self._place: dict[str, int] = {}

    def open_trackers(self, names: Iterable[str], subject: Subject) -> None:
        """Tell these, too.

        Raises:
            PictorError: one that was asked for cannot be reached.
        """
        for name in names:
            try:
                self._trackers[name] = open_tracker(name, subject)
            except Exception as error:
                if name not in ALWAYS:
                    raise PictorError(
                        f"the tracker {name} cannot begin: {describe(error)}",
                        remedy="Mend what it says, or train without it.",
                    ) from error
                self.problem(f"tracker {name}", error)

    def at(self, samples: int, step: int) -> None:
        """What follows is told of here."""
        self._place = {"samples": samples, "step": step}

    def figures(self, values: Mapping[str, float]) -> None:
        self._write(values)
        self._tell(lambda tracker: tracker.figures(self._place["samples"], values))

    def validation(self, values: Mapping[str, float]) -> None:
        self._write({VALIDATION: dict(values)})
        named = {f"{VALIDATION}/{name}": value for name, value in values.items()}
        self._tell(lambda tracker: tracker.figures(self._place["samples"], named))

    def preview(self, file: Path, seconds: float) -> None:
        """A sheet of pictures, and how long it took."""
        self._write({"preview": file.name, "seconds_taken": round(seconds, 2)})
        self._tell(lambda tracker: tracker.picture(self._place["samples"], "preview", file))

    def problem(self, what: str, error: Exception) -> None:
        """Something beside the training failed, and the training goes on."""
        self._write({"problem": f"{what}: {describe(error)}"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tell(lambda tracker: tracker.close(whole=error is None))
        self._stream.close()

    def _write(self, record: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(self._place | dict(record)) + "\n")
        self._stream.flush()

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                what(tracker)
            except Exception as error:
                self._trackers.pop(name)
                with suppress(Exception):
                    tracker.close(whole=False)
                self.problem(f"tracker {name}", error)


def describe(error: Exception) -> str:
    """An error's name and words in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
