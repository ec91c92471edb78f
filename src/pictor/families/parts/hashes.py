"""The hash of a model's weights, kept from run to run since reading gigabytes costs time."""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import platformdirs

_CACHE_NAME = "weights.json"


def hash_weights(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 over the names (relative to the folder) and contents of the files, as hexadecimal.

    Each file's own hash is kept in Pictor's cache folder under its path, size and time of change. The cache
    is a convenience: where it cannot be read or written, files are hashed again.
    """
    cache = cache_folder() / _CACHE_NAME
    known = _read(cache)
    hashes: dict[str, str] = {}
    for file in sorted(files):
        facts = file.stat()
        key = f"{file.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
        if key not in known:
            with file.open("rb") as stream:
                known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            _write(cache, known)
        hashes[file.relative_to(folder).as_posix()] = known[key]
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def cache_folder() -> Path:
    """Where Pictor keeps what it can make again: under PICTOR_HOME, or in the system's place for caches."""
    home = os.environ.get("PICTOR_HOME")
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("pictor", appauthor=False))


def _read(cache: Path) -> dict[str, str]:
    with suppress(OSError, ValueError):
        record = json.loads(cache.read_bytes())
        if isinstance(record, dict) and all(isinstance(value, str) for value in record.values()):
            return record
    return {}


def _write(cache: Path, known: dict[str, str]) -> None:
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        draft = cache.with_suffix(f".{os.getpid()}.tmp")
        draft.write_text(json.dumps(known))
        draft.replace(cache)
