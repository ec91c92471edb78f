"""The manifest of prepared pictures: a parquet file with a row a picture, in the order of the sources."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pictor.data.whole_files import json_line, whole_file

MANIFEST = "manifest.parquet"
LEFT_OUT = "left-out.jsonl"
_ROWS = 20_000
"""Rows in a row group, and held at once while writing."""


def schema() -> Any:
    """Columns: width and height are the upright original's, offset is a place in the shard's file."""
    import pyarrow as pa

    name = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        {
            "source": name,
            "key": pa.string(),
            "sha256": pa.string(),
            "split": name,
            "width": pa.int32(),
            "height": pa.int32(),
            "bucket": name,
            "captions": pa.list_(pa.string()),
            "licence": name,
            "shard": pa.int32(),
            "offset": pa.int64(),
        }
    )


def write_manifest(out: Path, count: int) -> dict[str, Any]:
    """Write the manifest, and the list of what is left out, of the lists of parts.

    Args:
        out: the folder.
        count: of its parts.

    Returns:
        What became of the pictures: every one is counted in `prepared` or in `left_out`.
    """
    import pyarrow as pa
    from pyarrow import parquet

    tally = _Tally()
    batch: list[dict[str, Any]] = []
    columns = schema()
    with (
        whole_file(out / MANIFEST) as table,
        whole_file(out / LEFT_OUT) as left_out,
        parquet.ParquetWriter(table, columns, compression="zstd") as writer,
    ):
        for row in _rows(out, count):
            tally.note(row)
            if "left_out" in row:
                named = {"source": row["source"], "key": row["key"], "reason": row["left_out"]}
                left_out.write(json_line(named))
                continue
            words = {name: as_text(row[name]) for name in ("source", "key", "licence")}
            batch.append(row | words | {"captions": [as_text(text) for text in row["captions"]]})
            if len(batch) == _ROWS:
                writer.write_table(pa.Table.from_pylist(batch, columns))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, columns))
    return tally.document()


def _rows(out: Path, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        with (out / "parts" / f"{number:05d}.jsonl").open("rb") as lines:
            next(lines)
            for line in lines:
                yield json.loads(line)


def as_text(text: str) -> str:
    """Text that UTF-8 can hold: names of files may have bytes that are none."""
    return text.encode("utf-8", "backslashreplace").decode()


class _Tally:
    """Counts of what became of the pictures."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._splits: Counter[str] = Counter()
        self._buckets: Counter[str] = Counter()
        self._enlarged: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()

    def note(self, row: dict[str, Any]) -> None:
        self._counts["pictures"] += 1
        if "left_out" in row:
            self._counts["left_out"] += 1
            return
        bucket = row["bucket"]
        width, height = map(int, bucket.split("x"))
        self._counts["prepared"] += 1
        self._counts["without_caption"] += not row["captions"]
        self._splits[row["split"]] += 1
        self._buckets[bucket] += 1
        self._enlarged[bucket] += row["width"] < width or row["height"] < height
        self._notes.update(row["notes"])

    def document(self) -> dict[str, Any]:
        names = ("pictures", "prepared", "left_out", "without_caption")
        return {
            **{name: self._counts[name] for name in names},
            "splits": {name: self._splits[name] for name in ("train", "val")},
            "in_bucket": dict(sorted(self._buckets.items())),
            "enlarged": dict(sorted((+self._enlarged).items())),
            "converted": dict(sorted(self._notes.items())),
        }
