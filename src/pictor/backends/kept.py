"""Small records that are kept from run to run: each a convenience that can be made again."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import platformdirs


def cache_folder() -> Path:
    """Where Pictor keeps what it can make again: under PICTOR_HOME, or in the system's place for caches."""
    home = os.environ.get("PICTOR_HOME")
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("pictor", appauthor=False))


def read_kept(name: str) -> dict[str, Any]:
    """The record of this file name in the cache folder; empty where there is none that can be read."""
    with suppress(OSError, ValueError, RecursionError):
        record = json.loads((cache_folder() / name).read_bytes())
        if isinstance(record, dict):
            return record
    return {}


def keep(name: str, record: Mapping[str, Any]) -> None:
    """Write the record whole, or leave what is there where that cannot be done."""
    with suppress(OSError):
        place = cache_folder() / name
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(f".{uuid4().hex}.tmp")
        try:
            draft.write_text(json.dumps(record))
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
