"""Near pairs are all found and no others, and what looks alike is told from what only has equal gradients."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pictor.data.duplicates import losers, near_pairs, print_of


@given(st.lists(st.integers(0, 2**64 - 1), max_size=12), st.integers(0, 16), st.data())
def test_near_pairs_are_those_that_comparing_all_finds(
    seeds: list[int], distance: int, data: st.DataObject
) -> None:
    flips = data.draw(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2**20)), max_size=20))
    values = seeds + [seeds[place % len(seeds)] ^ bits for place, bits in flips if seeds]
    hashes = np.array(values, np.uint64)
    wanted = [
        (first, second)
        for first in range(len(values))
        for second in range(first + 1, len(values))
        if (values[first] ^ values[second]).bit_count() <= distance
    ]
    assert [tuple(pair) for pair in near_pairs(hashes, distance).tolist()] == wanted


def test_a_hundred_thousand_take_seconds() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 100_000, np.uint64)
    hashes[50_000:50_100] = hashes[:100] ^ np.uint64(0b1001 << 30)
    started = time.process_time()
    pairs = near_pairs(hashes, 4)
    assert {(number, 50_000 + number) for number in range(100)} <= {tuple(pair) for pair in pairs.tolist()}
    assert time.process_time() - started < 30  # about one; a comparison of all would take minutes


def test_thousands_that_look_the_same_take_seconds() -> None:
    """In equal colours and in different ones, of equal and of nearly equal gradients."""
    hashes = np.arange(20_000, dtype=np.uint64) % np.uint64(2)
    colours = np.zeros((20_000, 192), np.uint8)
    colours[::2] = np.linspace(0, 255, 10, dtype=np.uint8)[np.arange(10_000) % 10, None]
    started = time.process_time()
    found = losers(hashes, colours, np.full(20_000, 64), 4)
    assert time.process_time() - started < 10  # a fraction of one; all pairs would be two hundred million
    kept = set(range(20_000)) - set(found)
    assert kept == {2 * number for number in range(10)}
    assert {found[19_999], found[19_980]} == {0}


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2), st.integers(1, 2)), max_size=12))
def test_losers_are_those_that_comparing_all_finds(drawn: list[tuple[int, int, int]]) -> None:
    rows = sorted(range(len(drawn)), key=lambda place: (-drawn[place][2], place))
    wanted: dict[int, int] = {}
    for number, first in enumerate(rows):
        for second in rows[number + 1 :] if first not in wanted else ():
            near = (drawn[first][0] ^ drawn[second][0]).bit_count() <= 1
            if near and abs(drawn[first][1] - drawn[second][1]) <= 1:
                wanted.setdefault(second, first)
    hashes = np.array([row[0] for row in drawn], np.uint64)
    colours = np.repeat(np.array([row[1] * 8 for row in drawn], np.uint8)[:, None], 192, axis=1)
    assert losers(hashes, colours, np.array([row[2] for row in drawn], np.int64), 1) == wanted


def scene(seed: int, size: tuple[int, int]) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def test_the_largest_of_those_alike_is_kept() -> None:
    pictures = [
        scene(0, (48, 48)),
        scene(1, (64, 64)),
        scene(0, (64, 64)),
        scene(0, (32, 32)),
        scene(1, (64, 64)),
    ]
    prints = [print_of(np.asarray(picture)) for picture in pictures]
    found = losers(
        np.array([mark.gradients for mark in prints], np.uint64),
        np.array([np.frombuffer(mark.colours, np.uint8) for mark in prints]),
        np.array([picture.size[0] * picture.size[1] for picture in pictures]),
        6,
    )
    assert found == {0: 2, 3: 2, 4: 1}


def test_chains_do_not_take_what_nobody_kept() -> None:
    # The first is near the second, the second near the third, but the first is far from the third.
    hashes = np.array([0, 0b111, 0b111111], np.uint64)
    colours, areas = np.zeros((3, 192), np.uint8), np.array([9, 8, 7])
    assert losers(hashes, colours, areas, 3) == {1: 0}


def test_the_same_drawing_in_another_colour_is_another_picture() -> None:
    def apple(colour: str) -> np.ndarray:  # type: ignore[type-arg]
        image = Image.new("RGB", (64, 64), "white")
        image.paste(colour, (16, 16, 48, 48))
        return np.asarray(image)

    red, green = print_of(apple("#c00000")), print_of(apple("#006000"))
    assert red.gradients == green.gradients
    hashes = np.array([red.gradients, green.gradients], np.uint64)
    colours = np.array([np.frombuffer(mark.colours, np.uint8) for mark in (red, green)])
    assert losers(hashes, colours, np.array([1, 1]), 4) == {}
    assert losers(hashes, colours[[0, 0]], np.array([1, 1]), 4) == {1: 0}


def test_the_bits_are_those_of_the_paper() -> None:
    ramp = np.repeat(np.linspace(0, 255, 64)[None], 64, axis=0).astype(np.uint8)
    assert print_of(np.stack([ramp] * 3, axis=2)).gradients == 2**64 - 1
    assert print_of(np.stack([ramp[:, ::-1]] * 3, axis=2)).gradients == 0
    half = np.stack([ramp] * 3, axis=2)
    half[32:] = half[32:, ::-1]
    assert print_of(half).gradients == 0xFFFFFFFF << 32


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_to_compare(count: int) -> None:
    assert near_pairs(np.zeros(count, np.uint64), 4).shape == (0, 2)
