"""A model's folder says which book it was trained on, and prompts and retrieval keep to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook import Mix
from pictor.data.picturebook.font import find_font
from pictor.evaluation.library import Library
from pictor.evaluation.prompts import PromptBook
from pictor.evaluation.training_book import TrainingBook, training_book

THINGS = ("cat", "dog", "apple")


def test_a_folder_says_its_book(tmp_path: Path) -> None:
    assert training_book(tmp_path) is None
    (tmp_path / "pictor.json").write_text("{}")
    assert training_book(tmp_path) is None
    table = {"picturebook": {"seed": 4, "mix": {"counted": 0.5, "things": list(THINGS)}}}
    (tmp_path / "pictor.json").write_text(json.dumps(table))
    assert training_book(tmp_path) == TrainingBook(seed=4, mix=Mix(counted=0.5, things=THINGS))


@pytest.mark.parametrize(
    "said", [{}, {"seed": 0, "mix": {"sizes": 1}}, {"seed": "x", "mix": {}}, {"seed": 1, "mix": 3}]
)
def test_a_wrong_book_is_one_clear_error(tmp_path: Path, said: object) -> None:
    (tmp_path / "pictor.json").write_text(json.dumps({"picturebook": said}))
    with pytest.raises(InputError, match="picturebook"):
        training_book(tmp_path)


def test_prompts_and_library_keep_to_the_things() -> None:
    try:
        find_font()
    except InputError as error:
        pytest.skip(str(error))
    prompts = PromptBook(32, within=Mix(things=THINGS, colours=("red", "blue", "gray"))).prompts(
        ("single", "related"), 6
    )
    assert {item.thing for prompt in prompts for item in prompt.scene.items} <= set(THINGS)
    colours = {item.colour for prompt in prompts for item in prompt.scene.items}
    assert colours <= {"red", "blue", "gray"}
    library = Library(32, 0, 50, mix=Mix(things=THINGS))
    assert {item.thing for scene in library.scenes for item in scene.items} == set(THINGS)
