"""A folder as a few files of bounded size, for places that carry no larger ones, and back."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from pictor.core.errors import InputError
from pictor.training.checkpoints import publish

PARCEL_BYTES = 16 * 2**20
_SHEET = "parcels.json"
_CHUNK = 2**20


class _Splitter(io.RawIOBase):
    """Writes one stream to numbered files, each of at most `limit` bytes."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = folder, limit
        self.digest = hashlib.sha256()
        self.paths: list[Path] = []
        self._left = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self.digest.update(view)
        written = 0
        while written < len(view):
            if self._left == 0:
                self.paths.append(self.folder / f"parcel-{len(self.paths):02d}")
                self._left = self.limit
            part = view[written : written + self._left]
            with self.paths[-1].open("ab") as file:
                file.write(part)
            written += len(part)
            self._left -= len(part)
        return written


def split_folder(
    folder: Path, out: Path, *, parcel_bytes: int = PARCEL_BYTES, most_files: int = 8
) -> list[Path]:
    """Write a folder as parcels and a sheet that tells their number and hash.

    Args:
        folder: what to carry; its own name is not kept.
        out: where the files go; made if it is missing. Parcels of an earlier call are replaced.
        parcel_bytes: the most that one file may have.
        most_files: the most files, the sheet included.

    Returns:
        The files, the sheet last.

    Raises:
        InputError: there is no such folder, or it is too large; nothing is left in `out` then.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder", expected="a folder to carry", param="folder")
    out.mkdir(parents=True, exist_ok=True)
    for old in (*out.glob("parcel-*"), *out.glob(_SHEET)):
        old.unlink()
    splitter = _Splitter(out, parcel_bytes)
    with tarfile.open(fileobj=splitter, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=_anonymous)
    if len(splitter.paths) + 1 > most_files:
        for path in splitter.paths:
            path.unlink()
        raise InputError(
            f"{folder} takes {len(splitter.paths)} files of {parcel_bytes} bytes and a sheet",
            expected=f"at most {most_files} files",
            remedy="Train a smaller model, or carry it otherwise.",
            param="folder",
        )
    sheet = out / _SHEET
    numbers = {"parcels": [path.name for path in splitter.paths], "sha256": splitter.digest.hexdigest()}
    sheet.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return [*splitter.paths, sheet]


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same bytes for the same files, whoever packs them and when."""
    entry.uid = entry.gid = 0
    entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


def _bytes(paths: list[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


class _Joined(io.RawIOBase):
    """Several files read as one stream."""

    def __init__(self, paths: list[Path]) -> None:
        self._chunks = _bytes(paths)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if not self._rest:
            self._rest = next(self._chunks, b"")
        part, self._rest = self._rest[: len(view)], self._rest[len(view) :]
        view[: len(part)] = part
        return len(part)


def join_parcels(parcels: Path, folder: Path) -> Path:
    """Make the folder that `split_folder` was given, whole or not at all.

    Args:
        parcels: where the parcels and their sheet lie.
        folder: where to; must not exist.

    Raises:
        InputError: a parcel is missing or damaged, or the folder exists.
    """
    if folder.exists():
        raise InputError(f"{folder} exists", expected="a new folder", param="folder")
    sheet = parcels / _SHEET
    try:
        numbers = json.loads(sheet.read_text(encoding="utf-8"))
        paths = [parcels / Path(name).name for name in numbers["parcels"]]
        digest = hashlib.sha256()
        for chunk in _bytes(paths):
            digest.update(chunk)
        whole = digest.hexdigest() == numbers["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the parcels in {parcels} cannot be read ({error})",
            expected=f"{_SHEET} and all the files that it names",
            remedy="Fetch all of them.",
            param="parcels",
        ) from error
    if not whole:
        raise InputError(
            f"the parcels in {parcels} are not what was packed",
            expected=f"bytes with the hash in {_SHEET}",
            remedy="Fetch them again.",
            param="parcels",
        )
    temporary = folder.with_name(f".{folder.name}-joining")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    with tarfile.open(fileobj=_Joined(paths), mode="r|") as archive:
        archive.extractall(temporary, filter="data")
    publish(temporary, folder)
    return folder
