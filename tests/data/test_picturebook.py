"""The built-in corpus: the same everywhere, true in words, nothing cut off."""

from __future__ import annotations

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook import Picturebook, Scene, describes, is_held_out
from pictor.data.picturebook.font import find_font
from pictor.data.picturebook.recolour import recolour
from pictor.data.picturebook.vocabulary import COLOURS, PLACES, THINGS


def _font_or_skip() -> None:
    try:
        find_font()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def book() -> Picturebook:
    _font_or_skip()
    return Picturebook(64, seed=5)


def test_vocabulary_is_as_large_as_promised_and_unambiguous() -> None:
    assert len(THINGS) >= 60
    assert len(COLOURS) >= 8
    assert len(PLACES) >= 6
    names = [name for thing in THINGS for name in thing.names]
    assert len(set(names)) == len(names)
    assert len({thing.zh for thing in THINGS}) == len(THINGS)


def test_pictures_depend_on_seed_and_number_alone(book: Picturebook) -> None:
    again = Picturebook(64, seed=5)
    forwards = [book.picture(i) for i in range(6)]
    backwards = [again.picture(i) for i in reversed(range(6))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(book.picture(0), Picturebook(64, seed=6).picture(0))


def test_training_never_draws_a_held_out_composition(book: Picturebook) -> None:
    assert not any(is_held_out(s.thing, s.colour) for s in map(book.scene, range(3000)))
    held = [book.scene(i, held_out=True) for i in range(200)]
    assert all(is_held_out(s.thing, s.colour) for s in held)
    pairs = [(thing.name, colour.name) for thing in THINGS for colour in COLOURS]
    assert 0.06 < sum(is_held_out(*pair) for pair in pairs) / len(pairs) < 0.14


def test_captions_are_true_in_both_languages(book: Picturebook) -> None:
    chinese = 0
    for i in range(500):
        scene = book.scene(i)
        caption = book.caption(scene, book.rng(i, 22))
        assert describes(caption, scene)
        entry = next(thing for thing in THINGS if thing.name == scene.thing)
        assert any(name in caption.text for name in (*entry.names, entry.zh))
        if caption.colour is None:
            said = set(caption.text.replace(",", " ").split()) - set(" ".join(entry.names).split())
            assert not said & {colour.name for colour in COLOURS} - {
                "white",
                "blue",
            }  # places say "white", "blue sky"
        elif caption.text.isascii():
            assert caption.colour in caption.text
        else:
            assert next(c.zh for c in COLOURS if c.name == caption.colour)[0] in caption.text
        chinese += not caption.text.isascii()
    assert 0.3 < chinese / 500 < 0.5


def test_a_confused_caption_is_false(book: Picturebook) -> None:
    false = 0
    for i in range(300):
        scene = book.scene(i)
        rng = book.rng(i, 22)
        other = book.confused(scene, rng)
        assert other != scene
        false += not describes(book.caption(other, rng), scene)
    assert false > 250


def test_no_object_is_cut_off(book: Picturebook) -> None:
    for thing in THINGS:
        sprite = np.asarray(book.sprite(thing.name, None))[..., 3]
        border = np.concatenate([sprite[0], sprite[-1], sprite[:, 0], sprite[:, -1]])
        assert border.max() < 40, thing.name
        assert (sprite > 128).mean() > 0.08, thing.name


@pytest.mark.parametrize("colour", COLOURS, ids=lambda colour: colour.name)
def test_recoloured_objects_have_the_colour(book: Picturebook, colour: object) -> None:
    """For nearly all objects the median of what changed is nearest to the wanted colour."""
    values = {c.name: np.array(c.rgb, float) for c in COLOURS}
    right = 0
    for thing in THINGS:
        scene = Scene(thing=thing.name, colour=None, place="white", size=0.9, x=0.5, y=0.5)
        natural = book.sprite(thing.name, None)
        painted = book.sprite(thing.name, colour.name)  # type: ignore[attr-defined]
        before, after = np.asarray(natural.convert("RGBA")), np.asarray(painted.convert("RGBA"))
        changed = (np.abs(before.astype(int) - after).sum(-1) > 24) & (after[..., 3] > 200)
        if not changed.any():
            right += 1  # it had the colour already
            continue
        middle = np.median(after[changed][:, :3], axis=0)
        nearest = min(values, key=lambda name: float(np.linalg.norm(values[name] - middle)))
        right += nearest == colour.name  # type: ignore[attr-defined]
        assert book.draw(scene).shape == (64, 64, 3)
    assert right / len(THINGS) > 0.93


def test_recolouring_keeps_the_outline() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[2:6, 2:6] = (200, 30, 30, 255)
    out = recolour(rgba, (30, 60, 220))
    np.testing.assert_array_equal(out[..., 3], rgba[..., 3])
    assert out[3, 3, 2] > 180 > 60 > out[3, 3, 0]


def test_a_missing_font_is_one_clear_error(tmp_path: object) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Picturebook(64, font=tmp_path / "nothing.ttf")  # type: ignore[operator]
