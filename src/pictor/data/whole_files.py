"""Files that are whole or absent, whatever happens while they are written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A temporary file to write, which takes the place of `path` when its block ends without an error.

    Its bytes reach the disk before its name does, and its name before the block is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with hidden.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(path)
    except BaseException:
        hidden.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def json_line(row: dict[str, Any]) -> bytes:
    """A line of a JSON-lines file."""
    return json_text(row)


def json_text(row: dict[str, Any], indent: int | None = None) -> bytes:
    """A JSON object; letters stay readable, unless it has names of files that are no text."""
    try:
        return f"{json.dumps(row, indent=indent, ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:
        return f"{json.dumps(row, indent=indent)}\n".encode()
