"""Markdown tables, as the pages under docs/ show them."""

from __future__ import annotations

from collections.abc import Sequence


def markdown(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; each row has as many cells as the head."""
    lines = [list(head), ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    if any(len(line) != len(head) for line in lines):
        raise ValueError(f"rows of {sorted({len(line) for line in lines})} cells under {len(head)} heads")
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
