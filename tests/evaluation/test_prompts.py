"""Prompts, the reference set and the library of training pictures."""

from __future__ import annotations

import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook import Scene, describes, is_held_out
from pictor.data.picturebook.font import find_font
from pictor.evaluation.library import Library
from pictor.evaluation.prompts import KINDS, Prompt, PromptBook, check_wish, kind_of

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def book() -> PromptBook:
    return PromptBook(32, 5)


@pytest.fixture(scope="module")
def prompts(book: PromptBook) -> list[Prompt]:
    return book.prompts(KINDS, 6)


def test_every_cell_is_filled_with_what_it_promises(prompts: list[Prompt]) -> None:
    cells: dict[tuple[str, bool, str], int] = {}
    for place, prompt in enumerate(prompts):
        assert prompt.number == place
        assert kind_of(prompt.scene) == prompt.kind
        assert (prompt.scene.style != "plain") == (prompt.kind == "styled")
        assert is_held_out(prompt.scene) == prompt.held_out
        assert prompt.caption.language == prompt.language
        assert prompt.text.isascii() == (prompt.language == "en")
        assert prompt.caption.colour is not None
        assert describes(prompt.caption, prompt.scene)
        key = (prompt.kind, prompt.held_out, prompt.language)
        cells[key] = cells.get(key, 0) + 1
    assert len(cells) == len(KINDS) * 4
    assert set(cells.values()) == {6}


def test_captions_name_everything(prompts: list[Prompt]) -> None:
    for prompt in prompts:
        scene, words = prompt.scene, prompt.caption
        assert words.thing == scene.subject.thing
        assert words.colour == scene.subject.colour
        assert words.place == scene.place
        assert words.night == scene.night
        assert words.count == scene.count
        assert words.relation == scene.relation
        assert words.style == (None if scene.style == "plain" else scene.style)


def test_both_languages_ask_for_the_same_scenes_and_a_seed_for_others(
    book: PromptBook, prompts: list[Prompt]
) -> None:
    def scenes(language: str) -> list[Scene]:
        return [p.scene for p in prompts if p.language == language]

    assert scenes("en") == scenes("zh")
    assert prompts == book.prompts(KINDS, 6)
    assert prompts[:6] == book.prompts(("single",), 8)[:6]
    assert prompts != PromptBook(32, 6).prompts(KINDS, 6)


def test_the_reference_set_is_of_the_same_kinds_and_of_other_scenes(
    book: PromptBook, prompts: list[Prompt]
) -> None:
    reference = book.reference(prompts)
    assert [kind_of(s) for s in reference] == [p.kind for p in prompts]
    assert [is_held_out(s) for s in reference] == [p.held_out for p in prompts]
    assert len(set(reference)) == len(prompts)
    assert not set(reference) & {p.scene for p in prompts}


@pytest.mark.parametrize(
    ("kinds", "count", "param"),
    [((), 4, "kinds"), (("single", "single"), 4, "kinds"), (("many",), 4, "kinds"), (KINDS, 0, "count")],
)
def test_wishes_that_cannot_be(kinds: tuple[str, ...], count: int, param: str) -> None:
    with pytest.raises(InputError) as caught:
        check_wish(kinds, count)
    assert caught.value.param == param


def test_the_nearest_training_picture_is_the_one_that_shares_most(prompts: list[Prompt]) -> None:
    library = Library(32, 0, 600)
    assert not any(is_held_out(scene) for scene in library.scenes)
    scene = library.scenes[17]
    words = library.book.caption(scene, library.book.rng(17, 1), language="en", full=True)
    [first, *others] = library.nearest(words, 5)
    assert describes(words, library.scenes[first])
    assert len(set(others)) == 4
    for prompt in prompts:
        found = library.scenes[library.nearest(prompt.caption)[0]]
        if prompt.held_out:  # training has no such composition
            assert not describes(prompt.caption, found)


def test_a_relation_and_its_inverse_are_one_to_the_library() -> None:
    from dataclasses import replace

    library = Library(32, 0, 400)
    number = next(i for i, scene in enumerate(library.scenes) if scene.relation == "on")
    scene = library.scenes[number]
    inverse = replace(scene, relation="under", items=scene.items[::-1])
    words = library.book.caption(inverse, library.book.rng(0, 1), language="en", full=True)
    assert words.relation == "under"
    assert library.nearest(words)[0] == number
