"""What a model says of pictures against what they show: real renders, and pictures that it made itself.

Renders are of scenes that training draws from and of those that it never sees. What a model makes need not
show what was asked for: beside what the description has of the prompt stands what the judge has of it, and
how often both see the same object. Usage:

    python benchmarks/describing.py [--model DIR] [--pictures 200] [--made 20] [--matrix FILE] [--sheet FILE]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import pictor
from pictor.data.picturebook import Picturebook, Scene
from pictor.engine.describe import Description
from pictor.engine.studio import Studio, model_folder
from pictor.evaluation.judge import Judge, default_judge
from pictor.evaluation.report import COLUMNS, percent
from pictor.evaluation.scoring import Marks, marks, tally
from pictor.evaluation.telling import similarity_matrix, told
from pictor.evaluation.training_book import TrainingBook, training_book

Pixels = NDArray[np.uint8]
FIRST = 2_000_000_000
"""Number of the first scene, beyond the length of any run."""
MATRIX = 8
SAID = [name for name in COLUMNS if name != "relation"]


def row(name: str, judged: list[Marks]) -> str:
    shares = tally(judged)
    return f"| {name} | " + " | ".join(percent(shares.get(column)) for column in SAID) + " |"


def renders(studio: Studio, book: Picturebook, count: int) -> None:
    for language in ("en", "zh"):
        for name, held_out in (("seen", False), ("held out", True)):
            scenes = [book.scene(FIRST + number, held_out=held_out) for number in range(count)]
            pictures = [book.draw(scene, FIRST + number) for number, scene in enumerate(scenes)]
            said = [studio.describe(picture, language=language, top=1)[0] for picture in pictures]
            judged = [told(one, scene) for one, scene in zip(said, scenes, strict=True)]
            print(row(f"renders, {name}, {language}", judged))


def made(studio: Studio, book: Picturebook, count: int) -> tuple[list[Pixels], list[str], list[Description]]:
    pictures, prompts, said, by_words, by_judge, same = [], [], [], [], [], 0
    judge = Judge(default_judge())
    for number in range(FIRST, FIRST + count):
        scene = book.scene(number)
        caption = book.caption(scene, book.rng(number, 1), language="en", full=True)
        image = studio.generate(caption.text, seed=number)[0].image
        pixels = np.asarray(image)
        description = studio.describe(pixels, top=1)[0]
        sight = judge.look([pixels])
        by_words.append({k: v for k, v in told(description, scene).items() if k in asked(scene)})
        by_judge.append(marks(caption, sight, 0))
        same += description.thing == sight.best("thing1")[0]
        pictures.append(pixels)
        prompts.append(caption.text)
        said.append(description)
    print(row("its own pictures, by what it says", by_words))
    print(row("the same, by the judge", by_judge))
    print(f"\nOf {count} pictures of its own it names the object that the judge sees in {same}.")
    return pictures, prompts, said


def asked(scene: Scene) -> list[str]:
    """What a full caption says: not the plain style, and no natural colour."""
    unsaid = {"colour": scene.subject.colour is None, "style": scene.style == "plain"}
    return [name for name in SAID if not unsaid.get(name)]


def matrix(studio: Studio, book: Picturebook) -> Image.Image:
    """Held-out renders, and the texts that are true of each."""
    scenes: list[tuple[int, Scene]] = []
    texts: list[str] = []
    number = FIRST
    while len(scenes) < MATRIX:
        scene = book.scene(number, held_out=True)
        words = studio.describer.languages["en"]
        if scene.subject.colour and scene.count == 1 and scene.style == "plain" and not scene.night:
            scenes.append((number, scene))
            texts.append(words.caption(scene.subject.thing, 1, scene.subject.colour, scene.place))
        number += 1
    pictures = [book.draw(scene, number) for number, scene in scenes]
    logits = [studio.describer.logits(studio.describer.look(picture), texts) for picture in pictures]
    return similarity_matrix(pictures, texts, 1 / (1 + np.exp(-np.stack(logits, 1))))


def sheet(pictures: list[Pixels], prompts: list[str], said: list[Description]) -> Image.Image:
    """Each picture with its prompt and what is said of it."""
    columns, wide, high = 5, 216, 190
    whole = Image.new("RGB", (columns * wide, -(-len(pictures) // columns) * high), "white")
    pen, letters = ImageDraw.Draw(whole), ImageFont.load_default(10)
    for number, (picture, prompt, one) in enumerate(zip(pictures, prompts, said, strict=True)):
        left, top = number % columns * wide + 4, number // columns * high
        whole.paste(Image.fromarray(picture), (left, top))
        pen.text((left, top + 132), f"asked: {prompt}"[:40], (90, 90, 90), letters)
        pen.text((left, top + 148), f"said: {one.text}"[:40], (0, 0, 0), letters)
        pen.text((left, top + 164), f"{100 * (one.probability or 0):.0f}%", (0, 0, 0), letters)
    return whole


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--made", type=int, default=20)
    parser.add_argument("--matrix", type=Path, default=None)
    parser.add_argument("--sheet", type=Path, default=None)
    options = parser.parse_args()
    studio = pictor.load(options.model)
    known = training_book(model_folder(options.model)) or TrainingBook()
    mix = replace(known.mix, related=0.0)  # descriptions speak of one object, or of several alike
    book = Picturebook(studio.traits.defaults.size[0], known.seed, mix=mix)
    print("Right in per cent, with 95% Wilson intervals.\n")
    print("| | " + " | ".join(SAID) + " |")
    print("|---" * (1 + len(SAID)) + "|")
    if options.pictures:
        renders(studio, book, options.pictures)
    if options.matrix:
        matrix(studio, book).save(options.matrix, optimize=True)
    if options.made:
        found = made(studio, book, options.made)
        if options.sheet:
            sheet(*found).quantize(160).save(options.sheet, optimize=True)


if __name__ == "__main__":
    main()
