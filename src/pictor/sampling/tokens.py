"""Choosing the next token: guidance on logits, temperature, the likeliest few, and a lot that decides.

Legend of array shapes: B rows, V tokens that can follow.
"""

from __future__ import annotations

from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from pictor.core.noise import check_seed

Floats = NDArray[np.floating]


def picture_lots(seed: SupportsIndex, count: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) that decide the tokens of one picture, [count].

    Philox keyed by the seed, as `pictor.core.noise.picture_noise` is: a picture is the same in any batch.

    Args:
        seed: from 0 to 2**64 - 1.
        count: how many.

    Raises:
        InputError: for a seed out of range.
    """
    bits = np.random.Philox(key=np.array([check_seed(seed), 0], dtype=np.uint64)).random_raw(count)
    # 32 bits of them: a product with a sum of about 1 then never rounds up to that sum.
    return np.asarray((bits >> np.uint64(32)) * 2.0**-32, np.float64)


def guided(with_words_BV: Floats, without_BV: Floats, scale_B: Floats) -> Floats:
    """Logits moved away from what would follow without the words.

    Classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598) as Make-A-Scene puts it on tokens
    (Gafni et al. 2022, arXiv:2203.13131, section 3.5). At a scale of 1 they are exactly those with the words.
    """
    return np.asarray(with_words_BV + (scale_B[:, None] - 1) * (with_words_BV - without_BV))


def chosen(
    logits_BV: Floats, lots_B: Floats, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> NDArray[np.int64]:
    """One token a row, [B].

    Tokens in order of their numbers share [0, 1) by their probabilities; the row's lot falls on one of them.

    Args:
        logits_BV: of the tokens.
        lots_B: in [0, 1).
        temperature: logits are divided by it; 0 takes the likeliest.
        top_k: only so many of the likeliest, 0 for all.
        top_p: only the likeliest that together have at least this probability (Holtzman et al. 2020,
            arXiv:1904.09751), from 0 to 1.
    """
    if temperature == 0:
        return np.asarray(logits_BV.argmax(1), np.int64)
    scaled = logits_BV.astype(np.float64) / temperature
    if 0 < top_k < scaled.shape[1]:
        least = np.partition(scaled, -top_k, axis=1)[:, -top_k, None]
        scaled = np.where(scaled < least, -np.inf, scaled)
    shares = np.exp(scaled - scaled.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    if top_p < 1:
        order = np.argsort(-shares, axis=1, kind="stable")
        sorted_shares = np.take_along_axis(shares, order, axis=1)
        likelier = sorted_shares.cumsum(1) - sorted_shares
        likelier[:, 0] = -1.0  # one is always left
        np.put_along_axis(shares, order, np.where(likelier < top_p, sorted_shares, 0.0), axis=1)
    sums = shares.cumsum(1)
    return np.asarray((sums <= lots_B[:, None] * sums[:, -1:]).sum(1), np.int64)
