"""Pictures that are left out, by name and reason, in a JSON-lines file; nothing of the user's is moved."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pictor.core.errors import InputError
from pictor.data.whole_files import json_line, whole_file


@dataclass(frozen=True, slots=True)
class Finding:
    """A picture that something is wrong with."""

    place: str
    """Of its source: an absolute path, or an id."""
    key: str
    kind: str
    """What it is counted as ("duplicate")."""
    reason: str


class Quarantine:
    """What a file lists.

    Args:
        path: of the file; None for nothing at all.

    Raises:
        InputError: it is not there, or no such list.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._reasons: dict[tuple[str, str], str] = {}
        self._met: set[tuple[str, str]] = set()
        if path is None:
            return
        if not path.is_file():
            raise InputError(
                f"there is no {path}",
                expected="a list that `pictor data check --quarantine` wrote",
                param="quarantine",
            )
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                row = json.loads(line)
                self._reasons[row["source"], row["key"]] = str(row["reason"])
            except (ValueError, KeyError, TypeError, RecursionError):
                raise InputError(
                    f"line {number} of {path} is {line[:80].decode(errors='replace')!r}",
                    expected='{"source": ..., "key": ..., "reason": ...}',
                    param="quarantine",
                ) from None

    def __len__(self) -> int:
        return len(self._reasons)

    def reason(self, place: str, key: str) -> str | None:
        """Why a picture is left out, None where it is not."""
        found = self._reasons.get((place, key))
        if found is not None:
            self._met.add((place, key))
        return found

    @property
    def unmet(self) -> list[str]:
        """Keys that nobody asked about."""
        return [key for place, key in self._reasons if (place, key) not in self._met]

    def add(self, findings: Iterable[Finding]) -> int:
        """Add pictures that are not listed yet; returns how many."""
        before = len(self._reasons)
        for finding in findings:
            self._reasons.setdefault((finding.place, finding.key), finding.reason)
        return len(self._reasons) - before

    def write(self, path: Path) -> None:
        """Write the list, whole or not at all."""
        with whole_file(path) as file:
            for (place, key), reason in self._reasons.items():
                file.write(json_line({"source": place, "key": key, "reason": reason}))


def extended(path: Path, findings: Iterable[Finding]) -> int:
    """Add findings to the list in a file, which is made where there is none; returns how many are new."""
    quarantine = Quarantine(path if path.exists() else None)
    new = quarantine.add(findings)
    quarantine.write(path)
    return new
