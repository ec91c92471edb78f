"""A data set of the library `datasets`: a folder that `save_to_disk` wrote, or `hf:` and an id on the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pictor.core.errors import InputError, MissingExtraError
from pictor.data.sources.registry import Kind, Look
from pictor.data.sources.source import MAX_BYTES, Columns, Reading, Record, inside, row_words

_HUB = "hf:"
_ID = re.compile(_HUB + r"[\w.-]+/[\w.-]+")
_MARKS = ({"dataset_info.json", "state.json"}, {"dataset_dict.json"})


@lru_cache(maxsize=4)
def _dataset(place: str, split: str | None) -> Any:
    """One split of a data set, whose pictures are left encoded."""
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(f"reading {place} needs datasets", extra="data") from None
    try:
        hub = place.startswith(_HUB)
        found = datasets.load_dataset(place.removeprefix(_HUB)) if hub else datasets.load_from_disk(place)
    except Exception as error:  # of a dozen kinds, from file systems, the network and the library
        raise InputError(
            f"{place} cannot be opened as a data set: {' '.join(str(error).split())[:300]}",
            expected="a folder that `datasets` saved, or hf: and the id of a data set on the Hub",
            param="source",
        ) from None
    if isinstance(found, dict):
        chosen = split or ("train" if "train" in found else next(iter(found)) if len(found) == 1 else None)
        if chosen not in found:
            raise InputError(
                f"{place} has no split {chosen or 'train'!r}",
                expected=f"one of {', '.join(found)}",
                remedy="Name it with --split.",
                param="split",
            )
        found = found[chosen]
    elif split is not None:
        raise InputError(f"{place} has no splits", remedy="Leave --split out.", param="split")
    for name, feature in found.features.items():
        if isinstance(feature, datasets.Image):
            found = found.cast_column(name, datasets.Image(decode=False))
    return found


@dataclass(frozen=True, slots=True)
class RowBytes:
    """The picture in a row of a data set."""

    place: str
    split: str | None
    fingerprint: str
    column: str
    row: int

    def __call__(self) -> bytes:
        from pyarrow import ArrowException

        try:
            cell = _dataset(self.place, self.split)[self.row][self.column]
        except (ArrowException, IndexError) as error:
            raise OSError(f"its row cannot be read: {error}") from None
        if isinstance(cell, dict):
            data = cell.get("bytes")
            cell = cell.get("path") if data is None else data
        if isinstance(cell, str):
            return self._file(cell)
        if not isinstance(cell, bytes):
            raise OSError("its cell is empty")
        if len(cell) > MAX_BYTES:
            raise OSError(f"it has {len(cell) / 2**20:.0f} MiB, more than {MAX_BYTES // 2**20}")
        return cell

    def _file(self, path: str) -> bytes:
        """A picture that the data set only names: in its folder, or where the library keeps files."""
        for folder in _folders(self.place):
            read, flaw = inside(folder, path)
            if not flaw:
                return read()
        raise OSError(flaw)


def _folders(place: str) -> list[str]:
    """Where the files of a data set may lie."""
    if not place.startswith(_HUB):
        return [place]
    from datasets import config
    from huggingface_hub import constants

    return [str(config.HF_DATASETS_CACHE), constants.HF_HUB_CACHE]


class HubRows:
    """The rows of one split, in its order."""

    def __init__(self, look: Look, name: str, reading: Reading) -> None:
        self._place, self._name, self._reading = look.place, name, reading
        self._rows = _dataset(look.place, reading.split)
        self._columns = Columns.choose(self._rows.column_names, reading, look.place)

    def __len__(self) -> int:
        return len(self._rows)

    def records(self, first: int = 0) -> Iterator[Record]:
        words = self._rows.select_columns(self._columns.words)
        version = str(self._rows._fingerprint)
        for start in range(first, len(self), 1000):
            count = min(1000, len(self) - start)
            columns = words[start : start + count]
            for number in range(count):
                row = {name: values[number] for name, values in columns.items()}
                captions, licence, flaw = row_words(row, self._columns, self._reading)
                read = RowBytes(
                    self._place, self._reading.split, version, self._columns.image, start + number
                )
                yield Record(self._name, f"{start + number:07d}", captions, licence, read, flaw)


def _finds(look: Look) -> bool:
    if not look.exists:
        return bool(_ID.fullmatch(look.place))
    return any(marks <= look.top for marks in _MARKS)


KIND = Kind(
    name="huggingface",
    holds="a saved Hugging Face data set",
    finds=_finds,
    open=HubRows,
    takes=frozenset({"image", "captions", "split"}),
)
