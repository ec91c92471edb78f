"""What may be shown on a terminal."""

import io
import sys


def printable(text: str) -> str:
    """Without control characters: what a file from elsewhere holds must not command the terminal."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "\ufffd" for letter in text)


def forgive_encoding() -> None:
    """Let stdout take every path and prompt: names of files that are no text, letters that it lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        utf8 = sys.stdout.encoding.lower().replace("-", "") == "utf8"
        sys.stdout.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
