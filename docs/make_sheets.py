"""Make the contact sheets of the corpus for docs/corpus.md: looked at before anything is trained.

Usage: python docs/make_sheets.py   (writes docs/images/corpus-*.png)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pictor.data.picturebook import Item, Picturebook, Scene
from pictor.data.picturebook.surroundings import PLACES, RELATIONS, STYLES
from pictor.data.picturebook.vocabulary import COLOURS, THINGS

OUT = Path(__file__).parent / "images"


def _grid(pictures: list[np.ndarray], columns: int) -> Image.Image:  # type: ignore[type-arg]
    blank = np.full_like(pictures[0], 255)
    pictures = pictures + [blank] * (-len(pictures) % columns)
    rows = [np.concatenate(pictures[n : n + columns], 1) for n in range(0, len(pictures), columns)]
    return Image.fromarray(np.concatenate(rows))


def _save(pictures: list[np.ndarray], columns: int, name: str) -> None:  # type: ignore[type-arg]
    OUT.mkdir(exist_ok=True)
    path = OUT / f"corpus-{name}.png"
    _grid(pictures, columns).quantize(192, Image.Quantize.MEDIANCUT).save(path, optimize=True)
    print(path)


def _single(thing: str, colour: str | None, place: str = "white", night: bool = False) -> Scene:
    return Scene((Item(thing, colour, 0.9, 0.5, 0.5),), None, place, night, "plain")


def objects() -> None:
    """Every object as the font has it, in black, in white, and in one more colour."""
    book, pictures = Picturebook(40), []
    for number, thing in enumerate(THINGS):
        takes = thing.surface != "never"
        bright = COLOURS[number % 9].name
        pictures.append(book.draw(_single(thing.name, None)))
        for colour, place in (("black", "white"), ("white", "blue"), (bright, "white")):
            pictures.append(book.draw(_single(thing.name, colour if takes else None, place)))
    _save(pictures, 40, "objects")


def colours() -> None:
    """A few objects in their own and in all twelve colours, each where it can be seen."""
    book, pictures = Picturebook(64), []
    for name in ("cat", "horse", "apple", "banana", "car", "tractor", "house", "shirt", "guitar", "robot"):
        for colour in (None, *(entry.name for entry in COLOURS)):
            pictures.append(book.draw(_single(name, colour, "blue" if colour == "white" else "white")))
    _save(pictures, 1 + len(COLOURS), "colours")


def places() -> None:
    """Every place, and by night where there is one."""
    book, pictures = Picturebook(96), []
    for place in PLACES:
        for night in (False, True) if place.outdoors else (False,):
            pictures.append(
                book.draw(Scene((Item("cat", "orange", 0.5, 0.5, 0.62),), None, place.name, night, "plain"))
            )
    _save(pictures, 10, "places")


def relations() -> None:
    """Each relation, and counts from one to four."""
    book, pictures = Picturebook(96, seed=3), []
    seen: dict[object, int] = {}
    wanted = {relation.name: 3 for relation in RELATIONS} | {2: 3, 3: 3, 4: 3}
    found: dict[object, list[np.ndarray]] = {key: [] for key in wanted}  # type: ignore[type-arg]
    for index in range(5000):
        scene = book.scene(index)
        key: object = scene.relation or scene.count
        if scene.style == "plain" and seen.get(key, 0) < wanted.get(key, 0):  # type: ignore[call-overload]
            seen[key] = seen.get(key, 0) + 1
            found[key].append(book.draw(scene, index))
    for row in found.values():
        pictures += row
    _save(pictures, 12, "relations")


def styles() -> None:
    """Every style on the same four scenes."""
    book, pictures = Picturebook(96), []
    cat, car = Item("cat", "red", 0.75, 0.5, 0.5), Item("car", "blue", 0.43, 0.26, 0.55)
    tree, robot = Item("tree", None, 0.43, 0.74, 0.55), Item("robot", "green", 0.75, 0.5, 0.5)
    for style in STYLES:
        for items, relation, place in (
            ((cat,), None, "grass"),
            ((robot,), None, "city"),
            ((car, tree), "left of", "beach"),
            ((Item("fox", None, 0.75, 0.5, 0.5),), None, "forest"),
        ):
            pictures.append(book.draw(Scene(items, relation, place, False, style.name), 2))
    _save(
        [pictures[row * 4 + column] for column in range(4) for row in range(len(STYLES))],
        len(STYLES),
        "styles",
    )


def main() -> None:
    for make in (objects, colours, places, relations, styles):
        make()


if __name__ == "__main__":
    main()
