"""Which picture sample n is: each as often as it is due, one bucket a batch, from n alone."""

from __future__ import annotations

from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictor.core.errors import InputError
from pictor.data.order import Order, uniforms

tables = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=6), min_size=1, max_size=4)


def ordered(table: list[list[int]], batch_size: int, seed: int = 0) -> tuple[Order, list[np.ndarray]]:  # type: ignore[type-arg]
    """An order of pictures 0, 1, ... in buckets, each with how often it is due."""
    ends = np.cumsum([len(times) for times in table])
    buckets = [np.arange(end - len(times), end) for times, end in zip(table, ends, strict=True)]
    return Order(buckets, [np.array(times) for times in table], seed, batch_size), buckets


@given(tables, st.integers(1, 5), st.integers(0, 2**64 - 1))
def test_nothing_is_dropped_or_seen_too_often(table: list[list[int]], batch_size: int, seed: int) -> None:
    order, buckets = ordered(table, batch_size, seed)
    seen: Counter[int] = Counter()
    # After as many rounds as a batch has samples, every bucket has come to the end of both.
    for batch in range(order.round_length):
        bucket, found = order.pictures(batch * batch_size, batch_size)
        assert set(found.tolist()) <= set(buckets[bucket].tolist())
        seen.update(found.tolist())
    due = [times for bucket in table for times in bucket]
    assert [seen[picture] for picture in range(len(due))] == [batch_size * times for times in due]


@given(tables, st.integers(1, 5), st.lists(st.integers(0, 400), min_size=1, max_size=8))
def test_a_sample_is_a_function_of_its_number(
    table: list[list[int]], batch_size: int, numbers: list[int]
) -> None:
    order, _ = ordered(table, batch_size)
    for number in numbers:
        first = number // batch_size * batch_size
        bucket, whole = order.pictures(first, batch_size)
        fresh, alone = ordered(table, batch_size)[0].pictures(number, 1)
        assert (bucket, whole[number - first]) == (fresh, alone[0])


def test_passes_are_whole_and_differ() -> None:
    order, _ = ordered([[1] * 50], 10)
    passes = [order.pictures(first, 10)[1].tolist() for first in range(0, 150, 10)]
    first, second, third = (list(chain(*passes[at : at + 5])) for at in (0, 5, 10))
    assert sorted(first) == sorted(second) == sorted(third) == list(range(50))
    assert len({tuple(first), tuple(second), tuple(third), tuple(range(50))}) == 4
    other = ordered([[1] * 50], 7)[0]
    assert [int(other.pictures(number, 1)[1][0]) for number in range(50)] == first


def test_repetitions_are_spread_evenly() -> None:
    order, _ = ordered([[4] + [1] * 396], 400)
    places = np.flatnonzero(order.pictures(0, 400)[1] == 0)
    assert np.all(np.abs(places - [50, 150, 250, 350]) < 80)
    assert len({place // 100 for place in places.tolist()}) >= 3


def test_the_order_is_random() -> None:
    """Of pictures: each place of a pass is as likely. Of buckets: batches alternate."""
    firsts = Counter(int(ordered([[1] * 4], 1, seed)[0].pictures(0, 1)[1][0]) for seed in range(400))
    assert all(70 < firsts[picture] < 130 for picture in range(4))
    order, _ = ordered([[1] * 100, [1] * 100], 10)
    buckets = [order.pictures(10 * batch, 10)[0] for batch in range(20)]
    assert sum(buckets) == 10
    assert 3 < sum(left != right for left, right in pairwise(buckets)) < 19


def test_the_stream_is_the_same_for_ever() -> None:
    """Golden: numbers that trained models depend on."""
    assert uniforms(7, 61, (1, 2), 3).tolist() == GOLDEN
    order, _ = ordered([[1] * 5, [1, 2, 1]], 2, seed=3)
    assert [order.pictures(first, 2)[1].tolist() for first in range(0, 10, 2)] == GOLDEN_ORDER


GOLDEN = [0.622813130625234, 0.7448216731140771, 0.38577884711071597]
GOLDEN_ORDER = [[6, 5], [1, 0], [7, 6], [4, 3], [0, 4]]


def test_what_is_not_one_batch_is_refused() -> None:
    order, _ = ordered([[1, 1], [1]], 4)
    for first, count in ((2, 3), (0, 5), (-1, 1), (0, 0)):
        with pytest.raises(InputError, match="batch"):
            order.pictures(first, count)
    with pytest.raises(InputError, match="batch_size is 0"):
        ordered([[1]], 0)
    with pytest.raises(InputError, match="seed"):
        ordered([[1]], 1, -1)
