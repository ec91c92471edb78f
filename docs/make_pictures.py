"""Make the pictures of the README and of docs/: the embedded model, fixed prompts, first seeds, none picked.

Usage: python docs/make_pictures.py   (writes docs/images/)
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import pictor
from pictor.data.picturebook import is_held_out
from pictor.data.picturebook.captions import noun_phrase
from pictor.data.picturebook.vocabulary import COLOURS, PLACES, THINGS

OUT = Path(__file__).parent / "images"
ROW = (
    "a red apple",
    "a green banana",
    "a watermelon",
    "a blue cat on grass",
    "一只蓝色的猫",
    "a yellow car in the desert",
    "a purple octopus at sea",
    "a robot in the snow",
)


def sheet_prompts() -> list[tuple[str, bool]]:
    """48 prompts by rule, every fourth in Chinese, and whether each composition was held out of training."""
    prompts = []
    for n in range(48):
        thing, colour = THINGS[n * 37 % len(THINGS)], COLOURS[n % len(COLOURS)]
        place = PLACES[n % len(PLACES)]
        if (colour.name, place.name) in {("white", "white"), ("white", "snow"), ("black", "night")}:
            place = PLACES[3]
        if n % 4 == 3:
            words = f"{place.zh_phrases[0]}一{thing.measure}{colour.zh}的{thing.zh}"
        else:
            words = f"{noun_phrase(thing.name, colour.name)} {place.phrases[0]}"
        prompts.append((words, is_held_out(thing.name, colour.name)))
    return prompts


def tile(
    pictures: list[Image.Image], columns: int, scale: int, labels: list[str] | None = None
) -> Image.Image:
    """Pictures in rows, each enlarged by whole pixels, with a line of text under each."""
    side, band = pictures[0].width * scale, 15 if labels else 0
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 4), rows * (side + band + 4)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, picture in enumerate(pictures):
        left, top = number % columns * (side + 4) + 2, number // columns * (side + band + 4) + 2
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top))
        if labels:
            draw.text((left, top + side + 1), labels[number], fill="black", font=ImageFont.load_default(11))
    return sheet


def main() -> None:
    OUT.mkdir(exist_ok=True)
    studio = pictor.load()
    row = [studio.generate(prompt, seed=0)[0].image for prompt in ROW]
    tile(row, len(row), 2).save(OUT / "row.png", optimize=True)
    prompts = sheet_prompts()
    pictures = [studio.generate(prompt, seed=n)[0].image for n, (prompt, _) in enumerate(prompts)]
    labels = [f"{n + 1}{'*' if held else ''}" for n, (_, held) in enumerate(prompts)]
    tile(pictures, 12, 2, labels).save(OUT / "sheet.png", optimize=True)
    lines = [f"{n + 1}. {prompt}{' (held out)' if held else ''}" for n, (prompt, held) in enumerate(prompts)]
    (OUT / "sheet.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    frames = studio.generate("a red apple", seed=0, frames=True)[0].frames
    chosen = [frames[i * (len(frames) - 1) // 9] for i in range(10)]
    tile(chosen, len(chosen), 2).save(OUT / "steps.png", optimize=True)


if __name__ == "__main__":
    main()
