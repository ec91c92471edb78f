"""Make the pictures of the README and of docs/: the embedded model, fixed prompts, first seeds, none picked.

Usage: python docs/make_pictures.py   (writes docs/images/)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import pictor
from pictor.data.picturebook import Picturebook, is_held_out
from pictor.engine.studio import model_folder
from pictor.evaluation.training_book import training_book

OUT = Path(__file__).parent / "images"
GALLERY = (
    "a red apple",
    "a green banana",
    "a watermelon",
    "two blue cats on grass at night",
    "an astronaut on mars, pixel art",
    "一只蓝色的猫",
    "a robot left of a tree in the snow",
    "a yellow car in the desert",
)


def sheet_prompts() -> list[tuple[str, bool]]:
    """48 prompts by rule: 32 of one coloured object, 16 of several, in relations or styles.

    Every second is a held-out one, half of them are in Chinese.
    """
    mix = training_book(model_folder(None)).mix
    alone = replace(mix, counted=0, related=0, styled=0, small=0, natural=0)
    rest = replace(mix, counted=0.3, related=0.4, styled=0.3, small=0)
    books = [Picturebook(128, seed=48, mix=one) for one in (alone, rest)]
    prompts = []
    for n in range(48):
        book = books[n >= 32]
        scene = book.scene(n, held_out=n % 2 == 1)
        words = book.caption(scene, book.rng(n, 1), language="en" if n % 4 < 2 else "zh", full=True)
        prompts.append((words.text, is_held_out(scene)))
    return prompts


def tile(pictures: list[Image.Image], columns: int, labels: list[str] | None = None) -> Image.Image:
    """Pictures in rows, with a line of text under each."""
    side, band = pictures[0].width, 15 if labels else 0
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 4), rows * (side + band + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        left, top = number % columns * (side + 4) + 2, number // columns * (side + band + 4) + 2
        sheet.paste(picture, (left, top))
        if labels:
            draw.text((left, top + side + 1), labels[number], fill="black", font=ImageFont.load_default(11))
    return sheet


def main() -> None:
    OUT.mkdir(exist_ok=True)
    studio = pictor.load()
    row = [studio.generate(prompt, seed=0)[0].image for prompt in GALLERY]
    tile(row, len(row)).save(OUT / "row.png", optimize=True)
    prompts = sheet_prompts()
    pictures = [studio.generate(prompt, seed=n)[0].image for n, (prompt, _) in enumerate(prompts)]
    labels = [f"{n + 1}{'*' if held else ''}" for n, (_, held) in enumerate(prompts)]
    tile(pictures, 8, labels).save(OUT / "sheet.png", optimize=True)
    lines = [f"{n + 1}. {prompt}{' (held out)' if held else ''}" for n, (prompt, held) in enumerate(prompts)]
    (OUT / "sheet.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    frames = studio.generate("a red apple", seed=0, frames=True)[0].frames
    count = min(10, len(frames))
    chosen = [frames[i * (len(frames) - 1) // (count - 1)] for i in range(count)]
    tile(chosen, len(chosen)).save(OUT / "steps.png", optimize=True)


if __name__ == "__main__":
    main()
