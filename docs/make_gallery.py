"""Run the examples, and keep what they made for docs/editing.md.

Usage: python docs/make_gallery.py   (writes docs/images/gallery/)
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).parent
OUT = HERE / "images" / "gallery"
HEIGHT = 128
"""Pixels that a row of pictures is enlarged to, by whole factors."""


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as room:
        for example in sorted((HERE.parent / "examples").glob("*.py")):
            subprocess.run([sys.executable, str(example)], cwd=room, check=True)
        for file in sorted(Path(room).glob("*.png")):
            with Image.open(file) as image:
                factor = max(1, HEIGHT // image.height)
                shown = image.convert("RGB").resize(
                    (image.width * factor, image.height * factor), Image.Resampling.NEAREST
                )
                shown.save(OUT / file.name, optimize=True)


if __name__ == "__main__":
    main()
