"""What the drawers of the tests draw; imports no torch, and so they start at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from pictor.core.errors import InputError


def draw_arrays(first: int, count: int) -> dict[str, Any]:
    """Arrays whose shapes change from batch to batch."""
    if first == 70:
        raise InputError("sample 70 is torn", remedy="Mend it.")
    numbers = np.arange(first, first + count)
    return {
        "number": numbers,
        "wide": np.outer(numbers, np.ones(count * 1000, np.float32)),
        "flag": numbers % 2 == 0,
    }
