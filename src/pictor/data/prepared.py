"""What `prepare` wrote, as training reads it: any sample from its number alone, in batches of one size."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pictor.core.errors import InputError, MissingExtraError
from pictor.data.decoding import Pixels
from pictor.data.manifest import MANIFEST
from pictor.data.order import SAMPLES, Order, uniforms
from pictor.data.prepare import FORMAT, SETTINGS, SUMMARY, shard_path


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How a picture and its captions differ from time to time that they are seen."""

    flip: float = 0.0
    """Share of pictures that are mirrored; captions that say left or right are then wrong."""
    empty_captions: float = 0.0
    """Share of captions emptied, which classifier-free guidance needs."""
    shuffle_tags: bool = False
    """Whether the tags of a caption, which commas part, change places."""
    drop_tags: float = 0.0
    """Share of tags left out."""
    keep_tags: int = 0
    """Tags at the beginning that stay there."""

    def __post_init__(self) -> None:
        for name in ("flip", "empty_captions", "drop_tags"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise InputError(f"{name} is {value:g}", expected="a share from 0 to 1", param=name)
        if self.keep_tags < 0:
            raise InputError(f"keep_tags is {self.keep_tags}", expected="at least 0", param="keep_tags")


@dataclass(frozen=True)
class Sample:
    """A picture with a caption."""

    pixels: Pixels
    """[height, width, 3] of its bucket."""
    caption: str
    row: int
    """Of the manifest."""
    original: tuple[int, int]
    """Width and height of the upright original."""
    cut: tuple[int, int]
    """Columns at the left and rows at the top that were cut off the margin."""
    flipped: bool


class Prepared:
    """Prepared pictures of one split as an endless stream of samples.

    Sample n is a function of the folder, of these arguments and of n: no call changes another's answer, so
    that a run that knows how many samples it has seen goes on exactly. It can be pickled to other processes.

    Args:
        folder: that `pictor data prepare` wrote.
        split: "train" or "val".
        batch_size: samples n * batch_size .. (n + 1) * batch_size - 1 are of one bucket.
        seed: of order and variation, 0 to 2**64 - 1.
        variation: of pictures and captions.

    Raises:
        InputError: no whole folder of prepared pictures, or no pictures of this split in it.
        MissingExtraError: pyarrow is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        split: str = "train",
        batch_size: int = 1,
        seed: int = 0,
        variation: Variation | None = None,
    ) -> None:
        self._arguments = (folder, split, batch_size, seed, variation)
        self.folder, self.split = folder, split
        self._seed, self.variation = seed, variation or Variation()
        summary = read_summary(folder)
        self.margin = int(summary["margin"])
        self.sizes: list[tuple[int, int]] = [(size[0], size[1]) for size in summary["buckets"]]
        """Width and height of each bucket."""
        self._read_manifest()
        if split not in ("train", "val"):
            raise InputError(f"split is {split!r}", expected="train or val", param="split")
        self.rows: NDArray[np.int64] = np.flatnonzero(self._split == split)
        """Of the manifest, those of this split."""
        if not len(self.rows):
            raise InputError(
                f"{folder} has no pictures of the split {split}",
                expected=f"at least one of its {len(self._split)}",
                remedy="Prepare it with another --val.",
                param="split",
            )
        weights = {entry["name"]: Fraction(entry["weight"]) for entry in summary["sources"]}
        self._order = self._ordered(weights, batch_size)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, self._arguments

    def __len__(self) -> int:
        """Pictures in the split, whatever their weights."""
        return len(self.rows)

    @property
    def round_length(self) -> int:
        """Samples until each picture has been seen as often as its weight says, times a common number."""
        return self._order.round_length

    def sample(self, number: int) -> Sample:
        """Sample `number` of the stream, from 0 on, without an end."""
        _, rows = self._order.pictures(number, 1)
        return self._varied(number, int(rows[0]))

    def batch(self, first: int, count: int) -> list[Sample]:
        """Samples first .. first + count - 1, all of one size.

        Raises:
            InputError: they are not of one batch.
        """
        _, rows = self._order.pictures(first, count)
        return [self._varied(first + place, row) for place, row in enumerate(rows.tolist())]

    def as_it_is(self, number: int) -> Sample:
        """The picture of sample `number` without any variation; see `plain`."""
        _, rows = self._order.pictures(number, 1)
        return self.plain(int(rows[0]))

    @property
    def used_sizes(self) -> list[tuple[int, int]]:
        """Width and height of the buckets that hold pictures of this split."""
        return [self.sizes[bucket] for bucket in np.unique(self._bucket[self.rows]).tolist()]

    @property
    def captions(self) -> list[str]:
        """All captions of this split as they are written, each once."""
        return list(dict.fromkeys(text for row in self.rows.tolist() for text in self._captions[row].as_py()))

    def plain(self, row: int) -> Sample:
        """The picture in a row of the manifest as it is: its middle, and its first caption."""
        captions = self._captions[row].as_py()
        half = self.margin // 2
        return self._cut(row, captions[0] if captions else "", (half, half), False)

    def _varied(self, number: int, row: int) -> Sample:
        # Each choice has a number of its own, so that one option does not change what another draws.
        captions, vary = self._captions[row].as_py(), self.variation
        which, empty, flip, across, down, *rest = uniforms(
            self._seed,
            SAMPLES,
            (0, number),
            5 + 2 * max((text.count(",") + 1 for text in captions), default=0),
        ).tolist()
        caption = captions[int(which * len(captions))] if captions and empty >= vary.empty_captions else ""
        if vary.shuffle_tags or vary.drop_tags:
            caption = self._varied_tags(caption, rest)
        places = self.margin + 1
        return self._cut(row, caption, (int(across * places), int(down * places)), flip < vary.flip)

    def _varied_tags(self, caption: str, chances: list[float]) -> str:
        vary = self.variation
        tags = [tag.strip() for tag in caption.split(",")]
        draws = list(zip(chances[1::2], chances[0::2], tags, strict=False))[vary.keep_tags :]
        rest = [draw for draw in draws if draw[1] >= vary.drop_tags]
        if vary.shuffle_tags:
            rest.sort()
        return ", ".join(tags[: vary.keep_tags] + [tag for _, _, tag in rest])

    def _cut(self, row: int, caption: str, cut: tuple[int, int], flipped: bool) -> Sample:
        width, height = self.sizes[self._bucket[row]]
        across, down = width + self.margin, height + self.margin
        with shard_path(self.folder, int(self._shard[row])).open("rb", buffering=0) as file:
            file.seek(int(self._offset[row]))
            stored = np.frombuffer(file.read(across * down * 3), np.uint8).reshape(down, across, 3)
        left, top = cut
        pixels = stored[top : top + height, left : left + width]
        return Sample(
            pixels[:, ::-1] if flipped else pixels,
            caption,
            row,
            (int(self._width[row]), int(self._height[row])),
            cut,
            flipped,
        )

    def _read_manifest(self) -> None:
        try:
            from pyarrow import parquet
        except ImportError:
            raise MissingExtraError("reading prepared pictures needs pyarrow", extra="data") from None
        columns = ["source", "split", "width", "height", "bucket", "captions", "shard", "offset"]
        table = parquet.read_table(self.folder / MANIFEST, columns=columns, memory_map=True)

        def numbers(name: str) -> NDArray[Any]:
            found: NDArray[Any] = table[name].to_numpy()
            return found

        self._split = _texts(table["split"])
        self._source = _texts(table["source"])
        named = {f"{width}x{height}": number for number, (width, height) in enumerate(self.sizes)}
        self._bucket = _texts(table["bucket"], named)
        self._width, self._height = numbers("width"), numbers("height")
        self._shard, self._offset = numbers("shard"), numbers("offset")
        self._captions = table["captions"].combine_chunks()
        self._check_shards()

    def _check_shards(self) -> None:
        """Whether each shard is as long as its last picture needs."""
        areas = np.array([(w + self.margin) * (h + self.margin) * 3 for w, h in self.sizes])
        last = np.flatnonzero(np.append(np.diff(self._shard) > 0, len(self._shard) > 0))
        for row in last.tolist():
            path = shard_path(self.folder, int(self._shard[row]))
            needed = int(self._offset[row] + areas[self._bucket[row]])
            if not path.is_file() or path.stat().st_size < needed:
                raise InputError(
                    f"{path} is missing or cut short",
                    expected=f"a file of {needed} bytes",
                    remedy="Run the same `pictor data prepare` again: it makes what is missing.",
                    param="data",
                )

    def _ordered(self, weights: dict[str, Fraction], batch_size: int) -> Order:
        passes = math.lcm(*(weight.denominator for weight in weights.values()))
        times = {name: int(weight * passes) for name, weight in weights.items()}
        each = np.array([times[name] for name in self._source[self.rows]], np.int64)
        each //= np.gcd.reduce(each)
        buckets = self._bucket[self.rows]
        used = np.unique(buckets)
        return Order(
            [self.rows[buckets == bucket] for bucket in used],
            [each[buckets == bucket] for bucket in used],
            self._seed,
            batch_size,
        )


def read_summary(folder: Path) -> dict[str, Any]:
    """What a folder of prepared pictures says of itself.

    Raises:
        InputError: it is none, is not finished, or is of another format.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except FileNotFoundError:
        begun = (folder / SETTINGS).is_file()
        raise InputError(
            f"{folder} is {'not finished' if begun else 'no folder of prepared pictures'}",
            expected="what `pictor data prepare` wrote",
            remedy="Run the same command again to finish it." if begun else "",
            param="data",
        ) from None
    if summary.get("format") != FORMAT:
        raise InputError(
            f"{folder} is of format {summary.get('format')}",
            expected=f"format {FORMAT}",
            remedy="Prepare it anew.",
            param="data",
        )
    return dict(summary)


def _texts(column: Any, numbers: dict[str, int] | None = None) -> NDArray[Any]:
    """A column of few different texts as an array, or the numbers that they stand for."""
    coded = column.combine_chunks()
    words = coded.dictionary.to_pylist()
    table = np.array(words if numbers is None else [numbers[word] for word in words])
    found: NDArray[Any] = table[coded.indices.to_numpy()]
    return found


def _reopened(folder: Path, split: str, batch_size: int, seed: int, variation: Variation | None) -> Prepared:
    return Prepared(folder, split=split, batch_size=batch_size, seed=seed, variation=variation)
