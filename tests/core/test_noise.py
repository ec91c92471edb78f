"""Noise: Philox by the book, golden values, the same in every batch."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictor.core.errors import InputError
from pictor.core.noise import check_seed, picture_noise

MASK = 2**64 - 1


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Salmon et al. 2011, table 2 and section 3.3, ten rounds, in plain integers."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = (right >> 64) ^ b ^ k0, right & MASK, (left >> 64) ^ d ^ k1, left & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [a, b, c, d]


def test_the_reference_knows_the_published_answer():
    """Random123's known answer vector for an all-zero counter and key."""
    answer = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]
    assert philox4x64([0] * 4, [0] * 2) == answer


@settings(deadline=None)
@given(seed=st.integers(0, MASK), step=st.integers(0, 5000))
def test_noise_is_philox_keyed_by_seed_and_step(seed, step):
    bits = philox4x64([1, 0, 0, 0], [seed, step])
    radius = [math.sqrt(-2 * math.log(((bits[i] >> 11) + 1) / 2**53)) for i in (0, 2)]
    turn = [2 * math.pi * (bits[i] >> 11) / 2**53 for i in (1, 3)]
    expected = [f(t) * r for r, t in zip(radius, turn, strict=True) for f in (math.cos, math.sin)]
    np.testing.assert_allclose(picture_noise(seed, (4,), step=step), expected, rtol=1e-6, atol=1e-7)


GOLDEN = {
    (0, 0): [0.15853384, 2.9828794, -1.925692, -0.82492554],
    (42, 0): [0.23454992, 0.58429873, -0.4201588, 0.32768187],
    (42, 1): [0.51647997, -1.16544, -0.8842417, 0.75407445],
    (MASK, 1000): [0.34361246, -0.3052527, -1.5650729, -0.17245683],
}


@pytest.mark.parametrize(("key", "values"), GOLDEN.items())
def test_golden_values_never_change(key, values):
    seed, step = key
    np.testing.assert_array_equal(
        picture_noise(seed, (2, 2), step=step).ravel(), np.array(values, np.float32)
    )


def test_streams_of_seeds_and_steps_differ_and_do_not_depend_on_the_shape():
    base = picture_noise(7, (4, 8, 8))
    assert base.dtype == np.float32
    np.testing.assert_array_equal(base, picture_noise(np.int64(7), [4, 8, 8]))
    np.testing.assert_array_equal(base.ravel()[:33], picture_noise(7, (33,)))
    assert picture_noise(7, (0, 3)).shape == (0, 3)
    others = [picture_noise(8, (4, 8, 8)), picture_noise(7, (4, 8, 8), step=1)]
    for other in others:
        assert abs(np.corrcoef(base.ravel(), other.ravel())[0, 1]) < 0.2


def test_noise_is_standard_normal():
    noise = np.concatenate([picture_noise(seed, (4, 64, 64)).ravel() for seed in range(16)])
    n = len(noise)
    assert abs(noise.mean()) < 4 / math.sqrt(n)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((noise**4).mean() - 3) < 4 * math.sqrt(96 / n)
    # The largest deviation from the normal distribution function (Kolmogorov), by a normal table of our own.
    values = np.sort(noise.astype(np.float64))[::64]
    phi = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in values])
    assert np.abs(phi - np.arange(0, n, 64) / n).max() < 2 / math.sqrt(n)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", None, True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(InputError, match="seed"):
        check_seed(seed)
    with pytest.raises(InputError, match="seed"):
        picture_noise(seed, (2,))


def test_ends_of_the_range_of_seeds_are_seeds():
    assert check_seed(2**64 - 1) == 2**64 - 1
    assert np.isfinite(picture_noise(2**64 - 1, (8,))).all()
    with pytest.raises(InputError, match="step"):
        picture_noise(0, (2,), step=-1)
