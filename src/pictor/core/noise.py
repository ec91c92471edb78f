"""The noise of a picture: a function of its seed and the step, the same in any batch and on any machine."""

import math
import operator
from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError

MAX_SEED = 2**64 - 1


def check_seed(seed: SupportsIndex) -> int:
    """The seed as an int.

    Raises:
        InputError: when it is no integer from 0 to 2**64 - 1.
    """
    try:
        number = -1 if isinstance(seed, bool) else operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise InputError(f"seed {seed!r}", expected="an integer from 0 to 2**64 - 1", param="seed")
    return number


def picture_noise(seed: SupportsIndex, shape: Sequence[int], *, step: int = 0) -> NDArray[np.float32]:
    """Standard normal noise of one picture.

    Philox4x64-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") keyed by (seed, step),
    then Box-Muller in float64. numpy promises the raw bits for ever, but not its normal distribution.

    Args:
        seed: from 0 to 2**64 - 1. Picture i of a batch has seed s + i.
        shape: of one picture's latents, without the batch axis.
        step: 0 for the starting noise, k >= 1 for fresh noise of the k-th step.

    Returns:
        float32 array of this shape.

    Raises:
        InputError: for a seed out of range.
    """
    if step < 0:
        raise InputError(f"step {step}", expected="an integer of at least 0", param="step")
    count = math.prod(shape)
    pairs = (count + 1) // 2
    bits = np.random.Philox(key=np.array([check_seed(seed), step], dtype=np.uint64)).random_raw(2 * pairs)
    # The top 53 bits as multiples of 2**-53; u lies in (0, 1], so that its logarithm is finite.
    u = ((bits[0::2] >> np.uint64(11)) + np.uint64(1)) * 2.0**-53
    turn = (bits[1::2] >> np.uint64(11)) * (2.0**-53 * 2 * math.pi)
    radius = np.sqrt(-2.0 * np.log(u))
    normal = np.empty(2 * pairs)
    normal[0::2] = radius * np.cos(turn)
    normal[1::2] = radius * np.sin(turn)
    return normal[:count].astype(np.float32).reshape(tuple(shape))
