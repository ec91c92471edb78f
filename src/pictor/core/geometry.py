"""Ways between two arrays of noise or latents."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_PARALLEL = 1e-4
"""Radians below which the sphere is flat."""


def slerp(a: NDArray[Any], b: NDArray[Any], t: float) -> NDArray[np.float32]:
    """From a (t = 0) to b (t = 1) on the arc between their directions, with lengths interpolated.

    The midpoint of two noises on a straight line has 0.7 of their spread, which no network has seen; on the
    arc it keeps it (Shoemake 1985, "Animating rotation with quaternion curves").

    Args:
        a, b: of one shape.
        t: from 0 to 1; both ends come out exactly.
    """
    if t in (0.0, 1.0):
        return np.asarray(b if t else a, np.float32)
    x, y = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    length_x, length_y = np.linalg.norm(x), np.linalg.norm(y)
    mixed = (1.0 - t) * x + t * y
    if length_x and length_y:
        angle = np.arccos(np.clip(x @ y / (length_x * length_y), -1.0, 1.0))
        if _PARALLEL < angle < np.pi - _PARALLEL:
            arc = np.sin((1.0 - t) * angle) * x / length_x + np.sin(t * angle) * y / length_y
            mixed = arc / np.sin(angle) * ((1.0 - t) * length_x + t * length_y)
    return mixed.reshape(np.shape(a)).astype(np.float32)
