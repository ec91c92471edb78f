"""Teach the embedded model a teapot, which it was not trained on, and judge what it then draws.

Usage: python docs/make_adapters.py pictures DIR [WORD]      (writes eight pictures with captions)
       python docs/make_adapters.py judge NAME=RUN[=WORD]... (writes docs/images/kinds/adapters-teapot.png)

The judge knows all objects of the picturebook. A RUN is the folder of a training run, or "embedded".
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import pictor
from pictor.data.picturebook import Item, Picturebook, Scene
from pictor.engine.studio import model_folder
from pictor.evaluation.judge import Judge, default_judge
from pictor.evaluation.prompts import PromptBook
from pictor.evaluation.training_book import training_book

OUT = Path(__file__).parent / "images" / "kinds"
THING, SIDE = "teapot", 128
TAUGHT = {
    "grass": "on the grass",
    "beach": "on the beach",
    "white": "on a white background",
    "forest": "in the forest",
    "snow": "in the snow",
    "blue": "on a blue background",
    "city": "in the city",
    "room": "in a room",
}
"""Places of the eight pictures, where the teapot has its own colour."""
ASKED = {
    "desert": "in the desert",
    "underwater": "under water",
    "yellow": "on a yellow background",
    "sunset": "at sunset",
    "mountains": "in the mountains",
    "black": "on a black background",
    "sea": "at sea",
    "sky": "in the sky",
} | {place: TAUGHT[place] for place in ("grass", "beach", "white", "room")}
"""Eight places that are not in the pictures, and four that are."""
PAINTED = {"blue": "white", "green": "beach", "yellow": "snow", "purple": "forest"}
"""Colours that the teapot is never seen in, and where."""


def pictures(folder: Path, word: str) -> None:
    """The teapot in eight places, at sizes and spots of its own in each."""
    folder.mkdir(parents=True, exist_ok=True)
    book = Picturebook(SIDE * 9 // 8)
    for number, (place, words) in enumerate(TAUGHT.items()):
        rng = np.random.default_rng(number)
        size = 0.68 + 0.16 * rng.random()
        x, y = (0.5 + 0.1 * (rng.random() - 0.5) for _ in range(2))
        scene = Scene((Item(THING, None, size, x, y),), None, place, False, "plain")
        Image.fromarray(book.draw(scene, 100 + number)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a {word} {words}\n", "utf-8")


def judged(name: str, run: str, word: str, judge: Judge) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Print a line of the table; return pictures to look at."""
    studio = pictor.load(None if run == "embedded" else run)
    wished = [(place, None, f"a {word} {words}") for place, words in ASKED.items()]
    wished += [(place, colour, f"a {colour} {word} {TAUGHT[place]}") for colour, place in PAINTED.items()]
    made = [np.asarray(p.image) for p in studio.generate([text for _, _, text in wished], seed=11)]
    sight = judge.look(made)
    right = [thing == THING for thing in sight.best("thing1")]
    painted = [seen == colour for seen, (_, colour, _) in zip(sight.best("colour1"), wished, strict=True)]
    placed = [seen == place for seen, (place, _, _) in zip(sight.best("place"), wished, strict=True)]
    prompts = PromptBook(SIDE, within=training_book(model_folder(None)).mix).prompts(["single"], 16)
    old = [prompt for prompt in prompts if prompt.language == "en" and not prompt.held_out]
    drawn = [np.asarray(p.image) for p in studio.generate([prompt.text for prompt in old], seed=900)]
    sight = judge.look(drawn)
    kept = [seen == p.scene.subject.thing for seen, p in zip(sight.best("thing1"), old, strict=True)]
    hued = [seen == p.scene.subject.colour for seen, p in zip(sight.best("colour1"), old, strict=True)]
    own = len(ASKED)
    cells = [
        f"{sum(right[:own])}/{own}",
        f"{sum(right[own:])}/{len(PAINTED)}",
        f"{sum(painted[own:])}/{len(PAINTED)}",
        f"{sum(placed)}/{len(placed)}",
        f"{sum(kept)}/{len(kept)}",
        f"{sum(hued)}/{len(hued)}",
    ]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)
    return [*made[:4], *made[own:], *drawn[:4]]


def main(command: str, *arguments: str) -> None:
    if command == "pictures":
        pictures(Path(arguments[0]), *(arguments[1:] or (THING,)))
        return
    judge, rows = Judge(default_judge()), []
    for wish in arguments:
        name, run, *word = wish.split("=")
        rows.append(np.concatenate(judged(name, run, *(word or [THING]), judge), 1))
    sheet = Image.fromarray(np.concatenate(rows))
    sheet = sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.BOX)
    OUT.mkdir(parents=True, exist_ok=True)
    sheet.quantize(192, Image.Quantize.MEDIANCUT).save(OUT / "adapters-teapot.png", optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
