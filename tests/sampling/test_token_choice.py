"""Which token comes next: shares, limits, guidance, and lots that belong to a picture."""

from __future__ import annotations

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.sampling.tokens import chosen, guided, picture_lots

LOGITS = np.log(np.array([[0.1, 0.4, 0.2, 0.3]], np.float32))


def shares(**options: float) -> list[float]:
    """How often each token is chosen, over evenly spread lots."""
    lots = (np.arange(1000) + 0.5) / 1000
    tokens = chosen(np.repeat(LOGITS, 1000, axis=0), lots, **options)  # type: ignore[arg-type]
    return [float((tokens == token).mean()) for token in range(4)]


def test_tokens_come_as_often_as_they_are_likely() -> None:
    assert shares() == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=2e-3)


def test_temperature_is_an_exponent() -> None:
    squared = np.array([0.01, 0.16, 0.04, 0.09])
    assert shares(temperature=0.5) == pytest.approx(list(squared / squared.sum()), abs=2e-3)
    assert shares(temperature=0) == [0, 1, 0, 0]


def test_the_likeliest_few_share_what_is_left() -> None:
    assert shares(top_k=2) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=2e-3)
    assert shares(top_p=0.6) == pytest.approx([0, 4 / 7, 0, 3 / 7], abs=2e-3)
    assert shares(top_p=0.75) == pytest.approx([0, 4 / 9, 2 / 9, 3 / 9], abs=2e-3)
    assert shares(top_p=0) == [0, 1, 0, 0]


def test_the_last_lot_falls_on_a_token_that_can_be() -> None:
    logits = np.array([[0.0, 0.0, -np.inf]])
    assert chosen(logits, np.array([1 - 2.0**-32])).tolist() == [1]
    assert chosen(logits, np.array([0.0])).tolist() == [0]


def test_guidance_of_1_is_exactly_the_words_and_0_is_without_them() -> None:
    rng = np.random.default_rng(0)
    told, untold = rng.standard_normal((2, 3, 5)).astype(np.float32)
    np.testing.assert_array_equal(guided(told, untold, np.ones(3)), told)
    np.testing.assert_allclose(guided(told, untold, np.zeros(3)), untold, atol=1e-6)
    mixed = guided(told, untold, np.array([1.0, 0.0, 3.0]))
    np.testing.assert_allclose(mixed[2], untold[2] + 3 * (told[2] - untold[2]), atol=1e-5)


def test_lots_belong_to_a_seed() -> None:
    lots = picture_lots(3, 4000)
    np.testing.assert_array_equal(picture_lots(3, 7), lots[:7])
    assert not np.array_equal(picture_lots(4, 4000), lots)
    assert 0 <= lots.min() < lots.max() < 1
    assert np.histogram(lots, 4)[0] == pytest.approx([1000] * 4, abs=120)
    with pytest.raises(InputError, match="seed -1"):
        picture_lots(-1, 1)
