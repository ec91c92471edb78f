"""Metrics against closed forms and cases that one can count by hand."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import linalg, stats

from pictor.core.errors import InputError
from pictor.evaluation.metrics import (
    distances,
    frechet_distance,
    kernel_distance,
    manifold,
    vendi_score,
    wilson,
)

RNG = np.random.default_rng(7)


@given(st.integers(1, 400), st.data())
def test_wilson_is_scipys(total: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, total))
    low, high = wilson(right, total)
    theirs = stats.binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert low == pytest.approx(theirs.low, abs=1e-6)
    assert high == pytest.approx(theirs.high, abs=1e-6)
    assert 0 <= low <= right / total <= high <= 1


def test_wilson_refuses_what_is_no_share() -> None:
    for right, total in ((1, 0), (-1, 5), (6, 5)):
        with pytest.raises(InputError):
            wilson(right, total)


def test_frechet_distance_is_the_formula() -> None:
    a, b = RNG.normal(size=(60, 5)) @ RNG.normal(size=(5, 5)), RNG.normal(size=(80, 5)) + 1
    A, B = np.cov(a.T), np.cov(b.T)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(A + B - 2 * linalg.sqrtm(A @ B).real)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_a_shift_is_its_square_and_of_a_scale_too() -> None:
    a = RNG.normal(size=(50, 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert frechet_distance(a, a + np.array([3, 0, 4])) == pytest.approx(25)
    centred = a - a.mean(0)
    # Doubling every deviation: tr(S + 4 S - 2 * 2 S) = tr S.
    assert frechet_distance(centred, 2 * centred) == pytest.approx(np.cov(a.T).trace())


def test_frechet_distance_where_rows_are_fewer_than_numbers() -> None:
    a, b = RNG.normal(size=(6, 40)), RNG.normal(size=(9, 40))
    A, B = np.cov(a.T), np.cov(b.T)
    values, vectors = np.linalg.eigh(A)
    root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ B @ root).clip(0)).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(A) + np.trace(B) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_by_hand() -> None:
    """One number wide: every term of the unbiased estimate written out."""
    a, b = [0.0, 1.0, 2.0, 5.0], [2.0, 3.0, 1.0, 0.0, 4.0]

    def k(x: float, y: float) -> float:
        return (x * y + 1) ** 3

    own = (np.mean([k(x, y) for x, y in permutations(one, 2)]) for one in (a, b))
    expected = sum(own) - 2 * np.mean([k(x, y) for x in a for y in b])
    found, _ = kernel_distance(np.array(a)[:, None], np.array(b)[:, None])
    assert found == pytest.approx(expected)


def test_kernel_distance_is_zero_on_average_for_equal_distributions() -> None:
    same = [kernel_distance(RNG.normal(size=(40, 8)), RNG.normal(size=(40, 8)))[0] for _ in range(30)]
    assert abs(np.mean(same)) < 4 * np.std(same, ddof=1) / math.sqrt(len(same))
    shifted, _ = kernel_distance(RNG.normal(size=(40, 8)), RNG.normal(size=(40, 8)) + 1)
    assert shifted > 10 * np.std(same)


@pytest.mark.parametrize(("pictures", "others", "shift"), [(16, 16, 0.0), (64, 64, 0.0), (80, 40, 0.5)])
def test_the_error_of_the_kernel_distance_is_its_spread(pictures: int, others: int, shift: float) -> None:
    """Equal Gaussians, where pairs decide, and shifted ones, where single pictures do."""
    rng = np.random.default_rng(3)
    draws = [
        kernel_distance(rng.normal(size=(pictures, 16)), rng.normal(size=(others, 16)) + shift)
        for _ in range(200)
    ]
    values, errors = np.transpose(draws)
    assert 1 / 1.5 < np.sqrt(np.mean(errors**2)) / np.std(values, ddof=1) < 1.5


def test_manifold_of_a_set_with_itself_and_with_one_far_away() -> None:
    x = RNG.normal(size=(40, 4))
    same = manifold(x, x, k=3)
    assert same.precision == same.recall == same.coverage == 1
    # Each picture lies in its own ball and in those that have it among their k nearest: 1 + k on average.
    assert same.density == pytest.approx((1 + 3) / 3)
    far = manifold(x, x + 100, k=3)
    assert far.precision == far.recall == far.density == far.coverage == 0


def test_manifold_tells_a_missing_mode_from_a_false_one() -> None:
    left, right = RNG.normal(size=(30, 2)), RNG.normal(size=(30, 2)) + 50
    both = np.concatenate([left, right])
    dropped = manifold(both, left + 1e-3, k=3)
    assert dropped.precision > 0.9
    assert dropped.recall == pytest.approx(0.5, abs=0.05)
    assert dropped.coverage == pytest.approx(0.5, abs=0.05)
    invented = manifold(left, both + 1e-3, k=3)
    assert invented.precision == pytest.approx(0.5, abs=0.05)
    assert invented.recall > 0.9


def test_coverage_by_hand() -> None:
    """Balls of k = 1 on a line at 0, 1, 3, 7 have radii 1, 1, 2, 4."""
    real, made = np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([[-0.5], [3.5]])
    found = manifold(real, made, k=1)
    assert found.precision == 1
    assert found.density == pytest.approx((1 + 2) / 2)  # -0.5 lies in 0's; 3.5 in 3's and 7's
    assert found.coverage == pytest.approx(3 / 4)


def test_vendi_counts_directions() -> None:
    assert vendi_score(np.eye(6)) == pytest.approx(6)
    assert vendi_score(np.repeat(np.eye(3), 5, axis=0)) == pytest.approx(3)
    assert vendi_score(np.ones((4, 9))) == pytest.approx(1)
    # Three of one and one of another: exp of the entropy of (3/4, 1/4).
    uneven = np.eye(2)[[0, 0, 0, 1]] * [[1.0], [2.0], [3.0], [4.0]]
    assert vendi_score(uneven) == pytest.approx(math.exp(-0.75 * math.log(0.75) - 0.25 * math.log(0.25)))


def test_distances_are_exactly_zero_for_equal_rows() -> None:
    x = RNG.normal(size=(5, 3)) * 1e3
    found = distances(x, x[2:])
    assert found.shape == (5, 3)
    assert found[2, 0] == 0
    assert found[0, 1] == pytest.approx(np.linalg.norm(x[0] - x[3]))


def test_damaged_features_are_refused() -> None:
    good = RNG.normal(size=(8, 3))
    for call in (
        lambda: frechet_distance(good[:1], good),
        lambda: frechet_distance(good, good[:, :2]),
        lambda: kernel_distance(good * np.nan, good),
        lambda: kernel_distance(good[:3], good),
        lambda: manifold(good[:3], good, k=3),
        lambda: vendi_score(good * 0),
    ):
        with pytest.raises(InputError):
            call()
