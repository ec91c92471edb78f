"""When and on what a run was trained: two lines of calls.jsonl for each call of `train`."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pictor.core.errors import Cancelled
from pictor.training.run_files import CALLS


def run_identity(run: Path) -> str:
    """A name of the run that stays when it goes on: that of its first call, or a fresh one."""
    try:
        first = json.loads((run / CALLS).read_text(encoding="utf-8").splitlines()[0])
        return str(first["run"])
    except (OSError, ValueError, LookupError, TypeError):
        return secrets.token_hex(8)


@contextmanager
def recorded(run: Path, identity: str, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A line when the block begins and one when it ends, however it does; a killed process leaves the first.

    Args:
        run: the run's folder.
        identity: see `run_identity`.
        facts: JSON values to tell of the call.

    Yields:
        What the last line is to hold besides; `ended_by` is added: "return", "stop", or an error's name.
    """
    _append(run, {"started": _now(), "run": identity, **facts})
    end: dict[str, Any] = {}
    by = "return"
    try:
        yield end
    except BaseException as error:
        by = "stop" if isinstance(error, Cancelled) else type(error).__name__
        raise
    finally:
        _append(run, {"ended": _now(), "ended_by": by, **end})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _append(run: Path, record: Mapping[str, Any]) -> None:
    with (run / CALLS).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
