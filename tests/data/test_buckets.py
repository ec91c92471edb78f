"""The table of sizes keeps its promises for any target, and every picture has a bucket."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictor.core.errors import InputError
from pictor.data.buckets import Buckets, part_kept


def test_the_table_of_64() -> None:
    assert Buckets.of_area(64, 8, 2.0).names() == ["48x80", "56x72", "64x64", "72x56", "80x48"]
    wide = Buckets.of_area(64, 8, 4.0).names()
    assert wide[-3:] == ["96x40", "120x32", "128x32"]
    assert Buckets.of_area(64, 64, 2.0).names() == ["64x64"]
    assert Buckets.square(128).sizes == ((128, 128),)


def test_the_table_of_1024_holds_the_sizes_that_sdxl_was_trained_on() -> None:
    table = Buckets.of_area(1024, 64, 2.0).sizes
    assert {(1024, 1024), (1152, 896), (1216, 832), (1344, 768), (832, 1216)} <= set(table)


@given(st.integers(2, 40), st.sampled_from([8, 16, 64]), st.floats(1, 8))
def test_what_a_table_promises(steps: int, step: int, max_aspect: float) -> None:
    side = steps * step
    sizes = Buckets.of_area(side, step, max_aspect).sizes
    assert (side, side) in sizes
    assert {(height, width) for width, height in sizes} == set(sizes)
    assert list(sizes) == sorted(sizes, key=lambda size: size[0] / size[1])
    for width, height in sizes:
        assert width % step == height % step == 0
        assert 0.9 * side * side <= width * height <= side * side
        assert max(width, height) <= max_aspect * min(width, height)


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_a_picture_goes_to_the_nearest_proportions(width: int, height: int) -> None:
    buckets = Buckets.of_area(128, 8, 4.0)
    chosen = buckets.sizes[buckets.assign(width, height)]

    def farness(size: tuple[int, int]) -> float:
        return abs(math.log(width / height * size[1] / size[0]))

    assert farness(chosen) <= min(map(farness, buckets.sizes)) + 1e-8
    mirrored = buckets.sizes[buckets.assign(height, width)]
    assert mirrored == chosen[::-1] or math.isclose(farness(mirrored[::-1]), farness(chosen))
    assert 0 < part_kept(width, height, chosen) <= 1 + 1e-12


def test_what_is_cut_off() -> None:
    assert part_kept(200, 100, (64, 64)) == pytest.approx(0.5)
    assert part_kept(300, 100, (100, 100)) == pytest.approx(1 / 3)
    assert part_kept(160, 96, (80, 48)) == 1


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="expected a side of 128"):
        Buckets.of_area(100, 64, 2.0)
    with pytest.raises(InputError, match="max_aspect is 9"):
        Buckets.of_area(64, 8, 9)
