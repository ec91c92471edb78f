"""Which picture is sample n of an endless training stream, from n alone.

Each bucket has a stream of its own that goes through its pictures again and again, shuffled anew each time,
and is cut into batches; a batch may begin in one pass and end in the next, so that none is short and nothing
is dropped. In a round each bucket gives the batches that have become whole, and these are shuffled together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError
from pictor.core.noise import check_seed

_PICTURES, _BATCHES, SAMPLES = 61, 62, 63
"""Numbers of the random streams."""


def uniforms(seed: int, purpose: int, place: tuple[int, int], count: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), a function of the arguments that numpy promises for ever (Philox's raw bits)."""
    key = np.array([seed, purpose], np.uint64)
    bits = np.random.Philox(key=key, counter=np.array([0, 0, *place], np.uint64)).random_raw(count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Order:
    """The order of one training run.

    Args:
        buckets: for each bucket the numbers of its pictures, at least one bucket and one picture in each.
        times: for each picture of each bucket how often it is seen in a round, at least once.
        seed: 0 to 2**64 - 1.
        batch_size: samples in a batch, all of one bucket. The order of a single bucket does not depend on it.

    Raises:
        InputError: the seed or the batch size is out of range.
    """

    def __init__(
        self,
        buckets: Sequence[NDArray[np.int64]],
        times: Sequence[NDArray[np.int64]],
        seed: int,
        batch_size: int,
    ) -> None:
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}", expected="at least 1", param="batch_size")
        self._buckets, self._times = list(buckets), list(times)
        self._seed, self._batch_size = check_seed(seed), batch_size
        self._lengths = [int(counts.sum()) for counts in times]
        self.round_length = sum(self._lengths)
        """Samples in a round, in which each picture is seen as often as `times` says."""
        # Neighbours are asked for one after another.
        self._pass = lru_cache(2 * len(self._buckets))(self._shuffled_pass)
        self._round = lru_cache(2)(self._shuffled_round)

    def pictures(self, first: int, count: int) -> tuple[int, NDArray[np.int64]]:
        """The bucket, and the numbers of the pictures, of samples first .. first + count - 1 of one batch.

        Raises:
            InputError: the samples are not of one batch.
        """
        batch, start = divmod(first, self._batch_size)
        if first < 0 or count < 1 or start + count > self._batch_size:
            raise InputError(
                f"samples {first} to {first + count - 1} are not in one batch of {self._batch_size}",
                expected="samples of one batch, which share a size",
                param="count",
            )
        bucket, number = self._batch(batch)
        length = self._lengths[bucket]
        places = np.arange(count) + number * self._batch_size + start
        found = [self._pass(bucket, place // length)[place % length] for place in places.tolist()]
        return bucket, np.array(found, np.int64)

    def _batch(self, batch: int) -> tuple[int, int]:
        """The bucket of a batch, and which of that bucket's batches it is."""
        if len(self._buckets) == 1:
            return 0, batch
        # No more batches than that have become whole in so many rounds; fewer may have.
        turn = batch * self._batch_size // self.round_length
        while self._before(turn + 1) <= batch:
            turn += 1
        bucket, number = self._round(turn)[batch - self._before(turn)]
        return int(bucket), int(number)

    def _before(self, turn: int) -> int:
        """Batches in the rounds before one."""
        return sum(turn * length // self._batch_size for length in self._lengths)

    def _shuffled_round(self, turn: int) -> NDArray[np.int64]:
        batches = [
            (bucket, number)
            for bucket, length in enumerate(self._lengths)
            for number in range(turn * length // self._batch_size, (turn + 1) * length // self._batch_size)
        ]
        keys = uniforms(self._seed, _BATCHES, (0, turn), len(batches))
        return np.array(batches, np.int64)[np.argsort(keys, kind="stable")]

    def _shuffled_pass(self, bucket: int, turn: int) -> NDArray[np.int64]:
        """All pictures of a bucket, each as often as it is due and its repetitions spread evenly.

        Repetition c of a picture that is seen n times falls at random into the c-th of n equal parts.
        """
        times = self._times[bucket]
        pictures = np.repeat(self._buckets[bucket], times)
        each = np.repeat(times, times)
        repetition = np.arange(len(each)) - np.repeat(np.cumsum(times) - times, times)
        keys = (repetition + uniforms(self._seed, _PICTURES, (bucket, turn), len(each))) / each
        return pictures[np.argsort(keys, kind="stable")]
