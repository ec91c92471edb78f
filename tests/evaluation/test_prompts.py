"""Prompts, the reference set and the library of training pictures."""

from __future__ import annotations

from itertools import permutations

import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook import Item, Mix, Scene, describes, is_held_out
from pictor.data.picturebook.font import find_font
from pictor.data.picturebook.hold_out import pair_held_out, triple_held_out, unseen_under_every_name
from pictor.data.picturebook.surroundings import RELATION_BY_NAME
from pictor.data.picturebook.vocabulary import THINGS
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


def test_every_prompt_is_of_a_scene_of_its_own_and_a_seed_gives_others(
    book: PromptBook, prompts: list[Prompt]
) -> None:
    assert len({prompt.scene for prompt in prompts}) == len(prompts)
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


def _pictured(one: str, relation: str, other: str) -> list[Scene]:
    """The pictures of which "ONE RELATION OTHER" is true, by every name that a scene may give them."""
    first, second = Item(one, "red", 0.4, 0, 0), Item(other, "red", 0.4, 0, 0)
    if relation in ("on", "under"):
        ways = [(first, relation, second), (second, RELATION_BY_NAME[relation].inverse, first)]
    else:
        orders = [(first, second), (second, first)]
        orders = {"left of": orders[:1], "right of": orders[1:], "next to": orders}[relation]
        ways = [
            way
            for left, right in orders
            for way in (
                (left, "left of", right),
                (right, "right of", left),
                (left, "next to", right),
                (right, "next to", left),
            )
        ]
    return [Scene((a, b), name, "grass", False, "plain") for a, name, b in ways]


def test_a_held_out_relation_is_held_out_under_every_name_and_in_colours_that_are_seen(
    book: PromptBook,
) -> None:
    prompts = [p for p in book.prompts(("related",), 20) if p.held_out]
    assert {p.scene.relation for p in prompts} == set(RELATION_BY_NAME)
    scenes = [p.scene for p in prompts] + book.reference(prompts)
    for scene in scenes:
        other = scene.other
        assert other is not None
        assert not any(pair_held_out(item.thing, item.colour) for item in scene.items)
        pictured = _pictured(scene.subject.thing, str(scene.relation), other.thing)
        assert all(triple_held_out(s.subject.thing, str(s.relation), s.items[1].thing) for s in pictured)
        assert unseen_under_every_name(scene.subject.thing, str(scene.relation), other.thing)


def test_one_name_that_training_may_use_is_enough_to_be_seen() -> None:
    names = [thing.name for thing in THINGS[:60]]
    pairs = list(permutations(names, 2))
    for relation, share in (("on", 0.1), ("right of", 0.01), ("next to", 0.001)):
        found = [pair for pair in pairs if unseen_under_every_name(pair[0], relation, pair[1])]
        assert 0.5 * share * len(pairs) <= len(found) <= 2 * share * len(pairs) + 4
        for one, other in found:
            scenes = _pictured(one, relation, other)
            assert all(triple_held_out(s.subject.thing, str(s.relation), s.items[1].thing) for s in scenes)


def test_nothing_is_asked_for_where_the_background_shows_more_of_it() -> None:
    behind = {"sky": "cloud", "desert": "sun", "space": "star"}
    book = PromptBook(32, within=Mix(things=tuple(behind.values()), places=tuple(behind), night=0.0))
    for prompt in book.prompts(("single", "counted"), 20):
        assert behind[prompt.scene.place] != prompt.scene.subject.thing
    night = PromptBook(32, within=Mix(things=("star", "crescent moon", "cat"), night=1.0))
    dark = [p.scene for p in night.prompts(("counted",), 20) if p.scene.night]
    assert dark
    assert {scene.subject.thing for scene in dark} == {"cat"}


@pytest.mark.parametrize(
    ("kind", "within"),
    [
        ("counted", Mix(things=("grapes", "bread", "socks"))),
        ("single", Mix(things=("zebra", "rainbow", "princess"))),
        ("related", Mix(things=("grapes", "bread", "socks"))),
    ],
)
def test_a_kind_that_the_book_does_not_hold_is_one_error(kind: str, within: Mix) -> None:
    with pytest.raises(InputError, match=f"{kind!r}.*things=3.*Leave {kind} out") as caught:
        PromptBook(32, within=within).prompts((kind,), 4)
    assert caught.value.param == "kinds"


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
