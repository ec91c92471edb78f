"""Pieces of planes: they cover, they blend to what was there, and seams are continued."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictor.engine.windows import continued, inner, lay, merged, piecewise, windows


@given(st.integers(1, 200), st.integers(2, 60), st.data())
def test_intervals_cover_with_their_overlap(length, piece, data):
    overlap = data.draw(st.integers(0, piece - 1))
    parts = lay(length, piece, overlap)
    assert parts[0][0] == 0
    assert parts[-1][1] == length
    for (_, end), (start, _) in itertools.pairwise(parts):
        assert end - start >= overlap
    assert {end - start for start, end in parts} == {min(length, piece)}


@pytest.mark.parametrize(("size", "piece", "overlap"), [((40, 33), (16, 16), 4), ((20, 64), (20, 12), 0)])
def test_pieces_of_a_plane_merge_to_the_plane(size, piece, overlap):
    plane = np.random.default_rng(0).standard_normal((2, 3, *size)).astype(np.float32)
    parts = [(window, window.cut(plane)) for window in windows(*size, piece, overlap)]
    assert len(parts) > 1
    np.testing.assert_allclose(merged(parts, *size, overlap), plane, atol=1e-5)


def test_neighbours_fade_into_each_other():
    parts = [
        (window, np.full((1, 1, 16, 16), float(index), np.float32))
        for index, window in enumerate(windows(16, 28, (16, 16), 4))
    ]
    row = merged(parts, 16, 28, 4)[0, 0, 8]
    assert row[:12].max() == 0.0
    assert row[16:].min() == 1.0
    assert (np.diff(row[11:17]) > 0).all()


@pytest.mark.parametrize("divide", [False, True])
def test_a_local_function_piece_by_piece_is_the_function(divide):
    def enlarge(x):
        return x.repeat(4, axis=2).repeat(4, axis=3)

    def shrink(x):
        return x[:, :, ::4, ::4]

    plane = np.random.default_rng(1).standard_normal((1, 2, 40, 36)).astype(np.float32)
    large = enlarge(plane)
    given_plane, function, expected = (large, shrink, plane) if divide else (plane, enlarge, large)
    calls = []

    def counted(x):
        calls.append(x.shape)
        return function(x)

    result = piecewise(given_plane, counted, (16, 16), 4, 4, divide=divide)
    np.testing.assert_allclose(result, expected, atol=1e-5)
    assert len(calls) > 1


def test_continued_planes_wrap_around():
    plane = np.arange(12.0).reshape(1, 1, 3, 4)
    wide = continued(plane, (0, 2))
    np.testing.assert_array_equal(wide[0, 0, 0], [2, 3, 0, 1, 2, 3, 0, 1])
    np.testing.assert_array_equal(inner(wide, (0, 2)), plane)
    np.testing.assert_array_equal(inner(continued(plane, (5, 7)), (5, 7)), plane)
