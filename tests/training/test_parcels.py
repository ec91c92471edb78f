"""A folder in parcels and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pictor.core.errors import InputError

pytest.importorskip("torch")

from pictor.training.parcels import join_parcels, split_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "unet" / "empty").mkdir(parents=True)
    (place / "unet" / "weights.bin").write_bytes(bytes(range(256)) * 300)
    (place / "model_index.json").write_text("{}")
    return place


def _content(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("limit", [20_000, 51_200, 10**6])
def test_what_was_split_is_joined(folder: Path, tmp_path: Path, limit: int) -> None:
    files = split_folder(folder, tmp_path / "out", parcel_bytes=limit)
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    sizes = [path.stat().st_size for path in files[:-1]]
    assert all(size == limit for size in sizes[:-1])
    assert 0 < sizes[-1] <= limit
    joined = join_parcels(tmp_path / "out", tmp_path / "again")
    assert _content(joined) == _content(folder)


def test_a_new_split_replaces_the_old_one(folder: Path, tmp_path: Path) -> None:
    split_folder(folder, tmp_path / "out", parcel_bytes=20_000)
    first = _content(tmp_path / "out")
    split_folder(folder, tmp_path / "out", parcel_bytes=20_000)
    assert _content(tmp_path / "out") == first  # the same bytes at another time
    (folder / "unet" / "weights.bin").write_bytes(b"less")
    files = split_folder(folder, tmp_path / "out", parcel_bytes=20_000)
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    assert (
        join_parcels(tmp_path / "out", tmp_path / "again") / "unet" / "weights.bin"
    ).read_bytes() == b"less"


def test_too_large_a_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at most 4 files"):
        split_folder(folder, tmp_path / "out", parcel_bytes=20_000, most_files=4)
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(InputError, match="is no folder"):
        split_folder(tmp_path / "nothing", tmp_path / "out")


def test_a_damaged_or_missing_parcel_is_noticed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = split_folder(folder, out, parcel_bytes=20_000)
    data = bytearray(files[1].read_bytes())
    data[7] ^= 1
    files[1].write_bytes(data)
    with pytest.raises(InputError, match="not what was packed"):
        join_parcels(out, tmp_path / "again")
    files[1].unlink()
    with pytest.raises(InputError, match="cannot be read"):
        join_parcels(out, tmp_path / "again")
    (out / "parcels.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="cannot be read"):
        join_parcels(out, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    (tmp_path / "again").mkdir()
    with pytest.raises(InputError, match="exists"):
        join_parcels(out, tmp_path / "again")
