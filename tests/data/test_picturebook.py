"""The built-in corpus: the same everywhere, true in words, nothing cut off."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from pictor.core.errors import InputError
from pictor.data.picturebook import Item, Mix, Picturebook, Scene, corpus_identity, describes, is_held_out
from pictor.data.picturebook import scenes as scenes_module
from pictor.data.picturebook.captions import Said, caption
from pictor.data.picturebook.font import find_font
from pictor.data.picturebook.hold_out import pair_held_out, template_held_out, triple_held_out
from pictor.data.picturebook.places import PAINTERS
from pictor.data.picturebook.recolour import take_apart
from pictor.data.picturebook.styles import DRAWN
from pictor.data.picturebook.surroundings import PLACES, RELATION_BY_NAME, RELATIONS, STYLES
from pictor.data.picturebook.vocabulary import COLOURS, THING_BY_NAME, THINGS, Colour, article, plural

try:
    find_font()
    FONT = True
except InputError:
    FONT = False
needs_font = pytest.mark.skipif(not FONT, reason="no emoji font to draw the corpus from")
EVERYTHING = Mix(counted=0.3, related=0.4, styled=0.5, night=0.5, natural=0.3, small=0.5, chinese=0.5)


@pytest.fixture(scope="module")
def book() -> Picturebook:
    if not FONT:
        pytest.skip("no emoji font to draw the corpus from")
    return Picturebook(64, seed=5, mix=EVERYTHING)


def test_vocabulary_is_as_large_as_promised_and_unambiguous() -> None:
    assert len(THINGS) >= 300
    assert [colour.name for colour in COLOURS] == (
        [
            "red",
            "orange",
            "yellow",
            "green",
            "teal",
            "blue",
            "purple",
            "pink",
            "brown",
            "black",
            "white",
            "gray",
        ]
    )
    assert len(PLACES) >= 12
    assert set(PAINTERS) == {place.name for place in PLACES}
    assert set(DRAWN) == {style.name for style in STYLES}
    for names in ([n for t in THINGS for n in t.names], [n for t in THINGS for n in t.zh_names]):
        assert len(set(names)) == len(names)
    for relation in RELATIONS:
        assert RELATION_BY_NAME[relation.inverse].inverse == relation.name


def test_shares_of_what_is_held_out() -> None:
    pairs = [pair_held_out(t.name, c.name) for t in THINGS for c in COLOURS]
    assert 0.13 < np.mean(pairs) < 0.17
    rng = np.random.default_rng(0)
    names = [thing.name for thing in THINGS]
    triples = [(str(a), r.name, str(b)) for a, b in rng.choice(names, (500, 2)) for r in RELATIONS]
    assert 0.08 < np.mean([triple_held_out(*triple) for triple in triples]) < 0.12
    # What is one picture is held out as one.
    for first, relation, second in triples:
        if relation == "next to":
            assert triple_held_out(first, relation, second) == triple_held_out(second, relation, first)
        else:
            inverse = RELATION_BY_NAME[relation].inverse
            assert triple_held_out(first, relation, second) == triple_held_out(second, inverse, first)
    assert not pair_held_out("cat", None)


def test_pictures_depend_on_seed_and_number_alone(book: Picturebook) -> None:
    again = Picturebook(64, seed=5, mix=EVERYTHING)
    forwards = [book.picture(i) for i in range(8)]
    backwards = [again.picture(i) for i in reversed(range(8))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(book.picture(0), Picturebook(64, seed=6, mix=EVERYTHING).picture(0))


def test_identity_names_what_decides_the_pictures() -> None:
    same = corpus_identity(64, 5), corpus_identity(64, 5, Mix())
    assert same[0] == same[1]
    others = {corpus_identity(128, 5), corpus_identity(64, 6), corpus_identity(64, 5, EVERYTHING)}
    assert len(others | {same[0]}) == 4


def test_training_never_draws_a_held_out_composition(book: Picturebook) -> None:
    assert not any(is_held_out(scene) for scene in map(book.scene, range(3000)))
    assert all(is_held_out(book.scene(i, held_out=True)) for i in range(300))
    templates = {book.caption(book.scene(i), book.rng(i, 9)).template for i in range(3000)}
    assert not any(template_held_out(template) for template in templates)
    kept = set()
    for i in range(400):
        words = caption(book.scene(i), Said(), book.rng(i, 9), language="en", held_out_template=True)
        kept.add(words.template)
    assert kept
    assert not kept & templates


def test_the_mix_decides_the_kinds_of_scene(book: Picturebook) -> None:
    scenes = [book.scene(i) for i in range(3000)]
    shares = {
        "counted": np.mean([s.count > 1 for s in scenes]),
        "related": np.mean([s.relation is not None for s in scenes]),
        "natural": np.mean([s.subject.colour is None for s in scenes]),
    }
    assert abs(shares["counted"] - 0.3) < 0.06
    assert abs(shares["related"] - 0.4) < 0.06
    assert 0.3 < shares["natural"] < 0.45  # some objects take no colour
    single = Picturebook(64, mix=Mix(counted=0, related=0, styled=0, night=0, natural=0, small=0, chinese=0))
    for i in range(300):
        scene = single.scene(i)
        assert (scene.count, scene.relation, scene.style, scene.night) == (1, None, "plain", False)
        assert (scene.subject.colour is None) == (THING_BY_NAME[scene.subject.thing].surface == "never")
        assert single.caption(scene, single.rng(i, 9)).language == "en"


def test_objects_stand_apart_and_whole(book: Picturebook) -> None:
    for scene in map(book.scene, range(2000)):
        for item in scene.items:
            assert item.size / 2 <= item.x <= 1 - item.size / 2
            assert item.size / 2 <= item.y <= 1 - item.size / 2
        if scene.relation is not None:
            first, second = scene.items
            away = {
                "on": second.y - first.y,
                "under": first.y - second.y,
                "left of": second.x - first.x,
                "right of": first.x - second.x,
                "next to": abs(first.x - second.x),
            }[scene.relation]
            assert away > 0.35


def test_captions_are_true_in_both_languages(book: Picturebook) -> None:
    languages = set()
    for i in range(1500):
        scene = book.scene(i)
        words = book.caption(scene, book.rng(i, 22), full=i % 2 == 0)
        assert describes(words, scene)
        entry, text = THING_BY_NAME[scene.subject.thing], words.text
        languages.add(words.language)
        if words.language == "zh":
            assert any(name in text for name in entry.zh_names)
            said = {c.name for c in COLOURS if c.zh in text or c.zh[0] + "的" in text}
        else:
            names = entry.names if scene.count == 1 else [plural(name) for name in entry.names]
            assert any(name in text for name in names)
            assert text.isascii()
        if words.colour is not None:
            colour = next(c for c in COLOURS if c.name == words.colour)
            assert colour.zh[0] in text if words.language == "zh" else any(w in text for w in colour.words)
        if i % 2 == 0:
            named = (words.thing, words.colour, words.count, words.place, words.night, words.relation)
            assert named == (
                *(scene.subject.thing, scene.subject.colour, scene.count),
                *(scene.place, scene.night, scene.relation),
            )
            assert words.style == (None if scene.style == "plain" else scene.style)
        elif words.language == "zh" and words.colour is None and words.other_colour is None:
            places = {"white", "black", "yellow", "pink", "blue"}
            assert not said - places or any("色" in n for t in THINGS for n in t.zh_names)
    assert languages == {"en", "zh"}


@pytest.mark.parametrize(
    ("name", "several"),
    [
        ("mouse", "mice"),
        ("slice of cake", "slices of cake"),
        ("wolf", "wolves"),
        ("police officer", "police officers"),
        ("dragon", "dragons"),
        ("cherry blossom", "cherry blossoms"),
        ("strawberry", "strawberries"),
        ("torch", "torches"),
        ("key", "keys"),
        ("die", "dice"),
        ("dice", "dice"),
    ],
)
def test_plurals(name: str, several: str) -> None:
    assert plural(name) == several


@pytest.mark.parametrize(
    ("words", "before"),
    [
        ("hourglass", "an"),
        ("orange cat", "an"),
        ("unicorn", "a"),
        ("ufo", "a"),
        ("umbrella", "an"),
        ("horse", "a"),
    ],
)
def test_articles_go_by_sound(words: str, before: str) -> None:
    assert article(words) == before


def test_no_name_of_what_takes_a_colour_is_of_another_colour() -> None:
    """ "A blue red lantern" would contradict itself."""
    for thing in THINGS:
        if thing.surface != "never":
            assert not {word for name in thing.names for word in name.split()} & {c.name for c in COLOURS}
    assert not {"红酒", "红灯笼"} & {name for thing in THINGS for name in thing.zh_names}


def test_a_confused_caption_is_false(book: Picturebook) -> None:
    for i in range(600):
        scene = book.scene(i)
        other = book.confused(scene, book.rng(i, 22))
        assert other != scene
        assert describes(book.caption(other, book.rng(i, 24)), other)
        assert not describes(book.caption(scene, book.rng(i, 23), full=True), other)


@needs_font
def test_a_scene_of_the_only_thing_that_can_be_counted_is_confused_otherwise() -> None:
    book = Picturebook(32, mix=Mix(counted=1, related=0, things=("grapes", "bread", "cat")))
    for i in range(100):
        scene = book.scene(i)
        assert book.confused(scene, book.rng(i, 22)) != scene


def test_one_picture_has_several_true_readings() -> None:
    cat, dog = Item("cat", "red", 0.4, 0.26, 0.5), Item("dog", None, 0.4, 0.74, 0.5)
    scene = Scene((cat, dog), "left of", "grass", False, "plain")
    swapped = Scene((dog, cat), "right of", "grass", False, "plain")
    near = Scene((dog, cat), "next to", "grass", False, "plain")
    rng = np.random.default_rng(0)
    for one in (scene, swapped, near):
        words = caption(one, Said(), rng, language="en")
        assert all(describes(words, other) for other in (scene, swapped, near)), words.text
    mirrored = Scene((dog, Item("cat", "red", 0.4, 0.9, 0.5)), "left of", "grass", False, "plain")
    assert not describes(caption(scene, Said(), rng, language="zh"), mirrored)


@needs_font
def test_no_object_is_cut_off(book: Picturebook) -> None:
    for thing in THINGS:
        cover = book.sprite(thing.name, None)[..., 3]
        border = np.concatenate([cover[0], cover[-1], cover[:, 0], cover[:, -1]])
        assert border.max() < 40, thing.name
        assert (cover > 128).mean() > 0.05, thing.name


@pytest.mark.parametrize("colour", COLOURS, ids=lambda colour: colour.name)
def test_recoloured_objects_have_the_colour(book: Picturebook, colour: Colour) -> None:
    """A good part of each object changes, and nearly always its middle is nearest the wanted colour."""
    values = {c.name: np.array(c.rgb, float) for c in COLOURS}
    right, coloured = 0, [thing for thing in THINGS if thing.surface != "never"]
    for thing in coloured[::3]:
        painted = book.sprite(thing.name, colour.name).astype(int)
        paint = book._drawing(thing.name).paint[..., 0]
        changed = (paint > 0.5) & (painted[..., 3] > 250)
        assert changed.sum() > 0.10 * (painted[..., 3] > 128).sum(), thing.name
        middle = np.median(painted[changed][:, :3], axis=0)
        right += min(values, key=lambda name: float(np.linalg.norm(values[name] - middle))) == colour.name
    assert right / len(coloured[::3]) > 0.93


def test_recolouring_keeps_the_outline_and_is_linear_in_the_paint() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[2:6, 2:6] = (200, 30, 30, 255)
    rgba[5, 5] = (0, 0, 0, 128)
    drawing = take_apart(rgba, "main")
    out = drawing.painted((30, 60, 220))
    np.testing.assert_array_equal(out[..., 3], rgba[..., 3])
    assert out[3, 3, 2] > 180 > 60 > out[3, 3, 0]
    np.testing.assert_array_equal(out[5, 5], drawing.plain[5, 5])  # the outline stays
    assert (out[..., :3] <= out[..., 3:]).all()  # premultiplied


@needs_font
@pytest.mark.parametrize("style", [style.name for style in STYLES if style.name != "plain"])
def test_every_style_changes_the_picture_and_keeps_its_size(book: Picturebook, style: str) -> None:
    scene = Scene((Item("cat", "red", 0.8, 0.5, 0.5),), None, "grass", False, style)
    plain = book.draw(Scene(scene.items, None, "grass", False, "plain"))
    drawn = book.draw(scene)
    assert drawn.shape == (64, 64, 3)
    assert drawn.dtype == np.uint8
    assert np.abs(drawn.astype(int) - plain).mean() > 4


@needs_font
def test_night_is_darker_than_day(book: Picturebook) -> None:
    for place in PLACES:
        if place.outdoors:
            cat = (Item("cat", None, 0.3, 0.5, 0.5),)
            day, night = (book.draw(Scene(cat, None, place.name, dark, "plain")) for dark in (False, True))
            assert night.mean() < 0.8 * day.mean(), place.name


def test_a_missing_font_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Picturebook(64, font=tmp_path / "nothing.ttf")


@pytest.mark.parametrize(
    "wrong", [{"counted": -0.1}, {"styled": float("nan")}, {"counted": 0.6, "related": 0.6}]
)
def test_a_mix_that_is_none_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"mix\."):
        Mix(**wrong)


def test_a_book_can_be_of_a_few_things(tmp_path: Path) -> None:
    if not FONT:
        pytest.skip("no emoji font to draw the corpus from")
    names = ("cat", "apple", "bread", "zebra")
    book = Picturebook(32, mix=Mix(counted=0.4, related=0.4, things=names))
    scenes = [book.scene(i) for i in range(400)]
    assert {item.thing for scene in scenes for item in scene.items} == set(names)
    assert not any(scene.count > 1 and scene.subject.thing == "bread" for scene in scenes)
    for i, scene in enumerate(scenes):
        other = book.confused(scene, book.rng(i, 5))
        assert {item.thing for item in other.items} <= set(names)
    uncounted = Picturebook(32, mix=Mix(counted=1, related=0, things=("bread", "corn", "garlic")))
    assert all(uncounted.scene(i).count == 1 for i in range(50))
    assert book.identity != Picturebook(32, mix=Mix(counted=0.4, related=0.4)).identity


def test_a_book_can_be_of_a_few_colours_and_places(book: Picturebook) -> None:
    colours, places = ("red", "teal", "gray"), ("sea", "room", "mars")
    narrow = Picturebook(32, mix=Mix.of({"colours": list(colours), "places": list(places), "natural": 0}))
    scenes = [narrow.scene(i) for i in range(300)]
    assert {scene.place for scene in scenes} == set(places)
    assert {item.colour for scene in scenes for item in scene.items} == {*colours, None}


@needs_font
def test_what_no_colour_can_be_seen_of_keeps_its_own() -> None:
    book = Picturebook(32, mix=Mix(colours=("white", "black", "gray"), natural=0, styled=1))
    hidden = [scene for scene in map(book.scene, range(400)) if scene.style == "pastel"]
    assert hidden
    assert {item.colour for scene in hidden for item in scene.items} == {None}


@needs_font
@pytest.mark.parametrize(
    "mix", [Mix(natural=1, related=0), Mix(things=("zebra", "rainbow", "princess"), related=0)]
)
def test_a_mix_without_held_out_compositions_is_one_error(mix: Mix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes_module, "_TRIES", 300)
    book = Picturebook(32, mix=mix)
    with pytest.raises(InputError, match=r"related=0.*Lower mix\.natural"):
        book.scene(0, held_out=True)
    assert book.scene(0).relation is None


@needs_font
def test_two_given_things_in_a_relation(book: Picturebook) -> None:
    scene = book.related(3, "cat", "under", "dog")
    assert scene == book.related(3, "cat", "under", "dog")
    assert (scene.subject.thing, scene.relation, scene.items[1].thing) == ("cat", "under", "dog")
    assert scene.subject.y > scene.items[1].y
    assert len({book.related(i, "cat", "under", "dog").place for i in range(100)}) > 10


@needs_font
def test_the_scenes_of_a_number_stay_as_trained_models_know_them() -> None:
    """A digest of the first ones: models record the seed and the numbers that they learnt."""
    book = Picturebook(32, seed=3)
    told = [
        (item.thing, item.colour, scene.relation, scene.place, scene.night, scene.style)
        for number in range(500)
        for held_out in (False, True)
        for scene in [book.scene(number, held_out=held_out)]
        for item in scene.items
    ]
    assert hashlib.sha256(repr(told).encode()).hexdigest()[:16] == "710be9015aada469"


def test_a_font_of_letters_is_one_clear_error(tmp_path: Path) -> None:
    letters, damaged = tmp_path / "letters.ttf", tmp_path / "damaged.ttf"
    letters.write_bytes(ImageFont.load_default(20).font_bytes)
    damaged.write_text("no font")
    for path, says in ((letters, "without colour"), (damaged, "cannot be opened")):
        with pytest.raises(InputError, match=says) as caught:
            find_font(path)
        assert caught.value.param == "font"


@pytest.mark.parametrize("names", [("cat", "dog"), ("cat", "dog", "gryphon")])
@pytest.mark.parametrize("which", ["things", "colours", "places"])
def test_names_that_the_book_lacks_are_refused(which: str, names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match=rf"mix\.{which}"):
        Mix(**{which: names})  # type: ignore[arg-type]
