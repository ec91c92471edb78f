"""Pictures that look the same: candidates by a hash of gradients, confirmed by their colours.

The hash alone takes a red and a green apple on white for one picture, so that a pair must also agree in a
tiny version of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_THUMB = 64
MAX_DISTANCE = 16
_COLOURS = 8
_SAME_COLOURS = 10.0
"""Largest root mean square difference of the tiny versions, in levels of 255."""


@dataclass(frozen=True, slots=True)
class Print:
    """What is compared of a picture."""

    gradients: int
    """64 bits."""
    colours: bytes
    """8x8 RGB."""


def thumb_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the version that a print is taken of: the whole picture, made small."""
    scale = _THUMB / max(width, height)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def print_of(pixels: NDArray[np.uint8]) -> Print:
    """The print of a small picture [H, W, 3].

    The difference hash (dHash; Krawetz 2013, "Kind of like that"): whether each of 8x8 cells of the grey
    picture is darker than its right neighbour, row by row, the first cell in the highest bit.
    """
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))
    gradients = int.from_bytes(np.packbits(grey[:, :-1] < grey[:, 1:]).tobytes(), "big")
    return Print(gradients, image.resize((_COLOURS, _COLOURS), Image.Resampling.BOX).tobytes())


def near_pairs(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """All pairs of 64-bit hashes that differ in at most `distance` bits, without comparing all with all.

    Of distance + 1 bands of the bits, a pair that near agrees in at least one (Norouzi et al. 2012, "Fast
    search in Hamming space with multi-index hashing"): only those are compared. The bits that tell most
    pictures apart are dealt out to all bands, since pictures on white have many bits that tell nothing.

    Args:
        hashes: [N].
        distance: 0 to 16.

    Returns:
        [M, 2], the smaller number first, in order, each pair once.
    """
    found = [np.empty((0, 2), np.int64)]
    ones = [np.mean(hashes >> np.uint64(bit) & np.uint64(1)) if len(hashes) else 0.0 for bit in range(64)]
    telling = np.argsort(np.abs(np.array(ones) - 0.5), kind="stable")
    masks = [
        np.bitwise_or.reduce(np.uint64(1) << telling[first :: distance + 1].astype(np.uint64))
        for first in range(distance + 1)
    ]
    for number, mask in enumerate(masks):
        band = hashes & mask
        order = np.argsort(band, kind="stable")
        band, ordered = band[order], hashes[order]
        starts = np.arange(len(band))
        for gap in range(1, len(band)):
            starts = starts[starts + gap < len(band)]
            starts = starts[band[starts] == band[starts + gap]]
            if not len(starts):
                break
            differing = ordered[starts] ^ ordered[starts + gap]
            fresh = np.bitwise_count(differing) <= distance
            for earlier in masks[:number]:  # those that agree in its band have been found there
                fresh &= differing & earlier != 0
            near = starts[fresh]
            found.append(np.stack([order[near], order[near + gap]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def losers(
    hashes: NDArray[np.uint64], colours: NDArray[np.uint8], areas: NDArray[np.int64], distance: int
) -> dict[int, int]:
    """Pictures that look like a larger one, or like an earlier one of the same size.

    Args:
        hashes: gradients of the prints [N].
        colours: of the prints [N, 192].
        areas: of the pictures, in pixels [N].
        distance: in how many bits two pictures may differ, 0 to 16.

    Returns:
        For each of them the one that is kept in its place, itself kept.
    """
    rank = np.lexsort((np.arange(len(areas)), -areas))
    ranked = colours[rank]
    unique, group = np.unique(hashes[rank], return_inverse=True)
    members = _Lists(group, np.arange(len(rank)), len(unique))
    pairs = near_pairs(unique, distance)
    near = _Lists(pairs.reshape(-1), pairs[:, ::-1].reshape(-1), len(unique))
    company = (members.lengths > 1) | (near.lengths > 0)
    undecided = np.ones(len(rank), bool)
    kept_for: dict[int, int] = {}
    for first in np.flatnonzero(company[group]).tolist():
        if not undecided[first]:
            continue
        # In order of rank, so that it is kept, and what looks like it need not be compared with others.
        undecided[first] = False
        others = np.concatenate([members[like] for like in (group[first], *near[group[first]])])
        others = others[undecided[others]]
        lost = others[_alike(ranked, first, others)]
        undecided[lost] = False
        kept_for.update(dict.fromkeys(rank[lost].tolist(), int(rank[first])))
    return kept_for


class _Lists:
    """Values by their keys, 0 to count - 1, in the order in which they are given."""

    def __init__(self, keys: NDArray[np.int64], values: NDArray[np.int64], count: int) -> None:
        self._values = values[np.argsort(keys, kind="stable")]
        self.lengths = np.bincount(keys, minlength=count)
        self._ends = np.cumsum(self.lengths)

    def __getitem__(self, key: int) -> NDArray[np.int64]:
        return self._values[self._ends[key] - self.lengths[key] : self._ends[key]]


def _alike(
    colours: NDArray[np.uint8], one: int, others: NDArray[np.int64], block: int = 20_000
) -> NDArray[np.bool_]:
    """Which of others have the colours of one."""
    same = np.empty(len(others), bool)
    for start in range(0, len(others), block):
        gap = colours[others[start : start + block]].astype(np.float32) - colours[one]
        same[start : start + block] = np.sqrt(np.mean(gap * gap, axis=1)) <= _SAME_COLOURS
    return same
