"""Disk that the base install takes, and the proof that it brings no torch.

Usage: python benchmarks/install_size.py   (needs uv and the package index)
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


def main() -> None:
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder) / "venv"
        subprocess.run(["uv", "venv", "--quiet", str(venv)], check=True)
        install = ["uv", "pip", "install", "--quiet", "--link-mode", "copy", "--python", str(venv), str(root)]
        subprocess.run(install, check=True)
        site = next(venv.glob("lib/python*/site-packages"))
        sizes = {
            entry.name: sum(f.stat().st_size for f in [entry, *entry.rglob("*")] if f.is_file())
            for entry in site.iterdir()
        }
        print("| package | MB |")
        print("|---|---|")
        for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:8]:
            print(f"| {name} | {size / 1e6:.1f} |")
        print(f"| all of it | {sum(sizes.values()) / 1e6:.0f} |")
        print(f"\ntorch installed: {(site / 'torch').exists()}")


if __name__ == "__main__":
    main()
