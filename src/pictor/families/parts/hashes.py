"""The hash of a model's weights, kept from run to run since reading gigabytes costs time."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from pictor.backends.kept import keep, read_kept

_CACHE_NAME = "weights.json"


def hash_weights(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 over the names (relative to the folder) and contents of the files, as hexadecimal.

    Each file's own hash is kept in Pictor's cache folder under its path, size and time of change. The cache
    is a convenience: where it cannot be read or written, files are hashed again.
    """
    known = read_kept(_CACHE_NAME)
    hashes: dict[str, str] = {}
    for file in sorted(files):
        facts = file.stat()
        key = f"{file.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
        if not isinstance(known.get(key), str):
            with file.open("rb") as stream:
                known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            keep(_CACHE_NAME, known)
        hashes[file.relative_to(folder).as_posix()] = known[key]
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
