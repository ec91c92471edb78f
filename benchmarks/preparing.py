"""`pictor data prepare` against decoding alone, and the manifest of a million pictures.

The floor decodes the same files in as many processes, JPEG at the same scale, and does nothing else: no
captions, turns, resizing, hashes or writing. Both are whole commands, from exec to exit.

Usage: python benchmarks/preparing.py [--count 10000] [--side 256] [--size 64] [--png 0.2] [--rounds 3]
       python benchmarks/preparing.py --rows 1000000
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from rounds import abba, machine, ratio

_GAP = 2


def draw(folder: str, first: int, count: int, side: int, png: float) -> None:
    """Pictures with some detail and some noise, of three proportions."""
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        across, down = ((1, 1), (1.4, 0.75), (0.75, 1.4))[number % 3]
        size = int(side * across), int(side * down)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        noisy = np.asarray(coarse, np.int16) + rng.integers(-8, 8, (size[1], size[0], 3), np.int16)
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
        name = f"{folder}/{number:07d}"
        if rng.random() < png:
            picture.save(f"{name}.png", compress_level=1)
        else:
            picture.save(f"{name}.jpg", quality=88)
        Path(f"{name}.txt").write_text(f"picture number {number}, of colours\n", encoding="utf-8")


def decode(paths: list[str], size: int) -> int:
    for path in paths:
        with Image.open(path) as image:
            image.draft(None, (_GAP * size, _GAP * size))
            image.load()
    return len(paths)


def floor(folder: str, size: int, workers: int) -> None:
    paths = sorted(entry.path for entry in os.scandir(folder) if not entry.name.endswith(".txt"))
    parts = [paths[start : start + 500] for start in range(0, len(paths), 500)]
    with ProcessPoolExecutor(workers) as pool:
        done = sum(pool.map(decode, parts, [size] * len(parts)))
    print(done)


class Watched:
    """A command that runs to its end: how long it took, and what all its processes together took."""

    def __init__(self, command: list[str]) -> None:
        started, used = time.perf_counter(), _children_seconds()
        self.peak_mb = 0.0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        watcher = threading.Thread(target=self._watch, args=(process,))
        watcher.start()
        _, errors = process.communicate()
        self.seconds = time.perf_counter() - started
        self.cpu_seconds = _children_seconds() - used
        watcher.join()
        if process.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{errors[-2000:]}")

    def _watch(self, process: subprocess.Popen[str]) -> None:
        while process.poll() is None:
            self.peak_mb = max(self.peak_mb, sum(_shared_mb(pid) for pid in _family(process.pid)))
            time.sleep(0.2)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _shared_mb(pid: int) -> float:
    """Memory of a process, its share of what it shares with others (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def against_the_floor(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        pictures = f"{folder}/pictures"
        os.mkdir(pictures)
        count = options.count
        with ProcessPoolExecutor(options.workers) as pool:
            starts = range(0, count, 500)
            jobs = [(pictures, start, min(500, count - start), options.side, options.png) for start in starts]
            list(pool.map(draw, *zip(*jobs, strict=True)))
        found: dict[str, list[Watched]] = {"prepare": [], "floor": []}
        script = [sys.executable, __file__, "--floor", pictures, "--size", str(options.size)]
        pictor = str(Path(sys.executable).parent / "pictor")
        verb = [pictor, "data", "prepare", pictures, "--out", f"{folder}/out", "--size", str(options.size)]

        def ours() -> float:
            shutil.rmtree(f"{folder}/out", ignore_errors=True)
            found["prepare"].append(Watched([*verb, "--buckets", "--workers", str(options.workers)]))
            return found["prepare"][-1].seconds

        def peer() -> float:
            found["floor"].append(Watched([*script, "--workers", str(options.workers)]))
            return found["floor"][-1].seconds

        ours(), peer()  # fills the file cache
        for runs in found.values():
            runs.clear()
        middle, low, high = ratio(abba(ours, peer, options.rounds))
    print(f"{machine()}; {options.rounds} rounds, {count} pictures of about {options.side}x{options.side},")
    print(f"{options.png:.0%} of them PNG and the others JPEG\n")
    print("| | pictures/s (median) | CPU ms a picture | peak memory |")
    print("|---|---|---|---|")
    for name, runs in (("decoding alone", found["floor"]), ("pictor data prepare", found["prepare"])):
        rate = count / statistics.median(run.seconds for run in runs)
        cost = statistics.median(run.cpu_seconds for run in runs) * 1000 / count
        print(f"| {name} | {rate:.0f} | {cost:.2f} | {max(run.peak_mb for run in runs):.0f} MB |")
    print(f"\n{middle:.0%} of the floor (95% interval {low:.0%} to {high:.0%})")


def manifest(options: argparse.Namespace) -> None:
    """Write and read a manifest of so many rows; the shards are holes, so that reads cost what they cost."""
    from pictor.data.crew import PART
    from pictor.data.manifest import write_manifest
    from pictor.data.prepare import FORMAT, SUMMARY, list_path, shard_path
    from pictor.data.prepared import Prepared

    rng = np.random.default_rng(0)
    sizes = [(80, 48), (64, 64), (48, 80)]
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        (folder / "parts").mkdir()
        (folder / "shards").mkdir()
        parts = -(-options.rows // PART)
        for part in range(parts):
            offset = 0
            with list_path(folder, part).open("w") as lines:
                lines.write("{}\n")
                for number in range(part * PART, min((part + 1) * PART, options.rows)):
                    width, height = sizes[int(rng.integers(3))]
                    row = {
                        "source": "made",
                        "key": f"{number:07d}.jpg",
                        "sha256": rng.bytes(32).hex(),
                        "split": "val" if number % 100 == 0 else "train",
                        "width": 4 * width,
                        "height": 4 * height,
                        "bucket": f"{width}x{height}",
                        "captions": [f"a caption of about the usual length, with the number {number} in it"],
                        "licence": "",
                        "notes": [],
                        "shard": part,
                        "offset": offset,
                    }
                    offset += width * height * 3
                    lines.write(json.dumps(row) + "\n")
            with shard_path(folder, part).open("wb") as shard:
                shard.truncate(offset)
        clock = time.perf_counter()
        counts = write_manifest(folder, parts)
        wrote = time.perf_counter() - clock
        summary = {
            "format": FORMAT,
            "buckets": sizes,
            "margin": 0,
            "sources": [{"name": "made", "weight": "1"}],
        }
        (folder / SUMMARY).write_text(json.dumps({**summary, **counts}))
        clock = time.perf_counter()
        data = Prepared(folder, batch_size=64)
        opened = time.perf_counter() - clock
        clock = time.perf_counter()
        data.batch(0, 64)
        first = time.perf_counter() - clock
        clock = time.perf_counter()
        for batch in range(1, 201):
            data.batch(batch * 64, 64)
        rate = 200 * 64 / (time.perf_counter() - clock)
        size = (folder / "manifest.parquet").stat().st_size / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{machine()}; {options.rows} rows\n")
    print(f"manifest written in {wrote:.1f} s ({size:.0f} MiB), opened in {opened:.1f} s")
    print(
        f"first batch of 64 in {first:.2f} s (it orders the pass), then {rate:.0f} samples/s in one process"
    )
    print(f"peak memory {peak:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=256, help="of the pictures, about")
    parser.add_argument("--size", type=int, default=64, help="that they are prepared to")
    parser.add_argument("--png", type=float, default=0.2, help="share of PNG; the others are JPEG")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", help="where the pictures are made and deleted")
    parser.add_argument("--rows", type=int, default=0, help="only write and read a manifest of so many rows")
    parser.add_argument("--floor", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        floor(options.floor, options.size, options.workers)
    elif options.rows:
        manifest(options)
    else:
        against_the_floor(options)


if __name__ == "__main__":
    main()
