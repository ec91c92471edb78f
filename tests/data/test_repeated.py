"""Pictures that are drawn once and come again."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook import Mix, Picturebook
from pictor.data.picturebook.font import find_font
from pictor.data.picturebook.repeated import RepeatedPicturebook

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


def _repeated(folder: Path | None, **options: object) -> RepeatedPicturebook:
    return RepeatedPicturebook(32, 5, count=7, folder=folder, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("keep", [True, False])
def test_the_first_pictures_come_again(tmp_path: Path, keep: bool) -> None:
    plain, book = Picturebook(32, 5), _repeated(tmp_path if keep else None)
    for index in (3, 10, 6, 3, 17):
        assert book.scene(index) == plain.scene(index % 7)
        np.testing.assert_array_equal(book.picture(index), plain.picture(index % 7))


def test_a_kept_picture_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _repeated(tmp_path).picture(2)
    drawn: list[int] = []
    real = Picturebook.draw

    def counted(self: Picturebook, scene: object, index: int = 0) -> object:
        drawn.append(index)
        return real(self, scene, index)  # type: ignore[arg-type]

    monkeypatch.setattr(Picturebook, "draw", counted)
    other = pickle.loads(pickle.dumps(_repeated(tmp_path)))
    np.testing.assert_array_equal(other.picture(9), expected)
    assert not drawn
    other.picture(4)
    _repeated(tmp_path).picture(4)
    assert drawn == [4]


def test_what_is_not_the_books_own_picture_is_never_taken_from_the_file(tmp_path: Path) -> None:
    plain, book = Picturebook(32, 5), _repeated(tmp_path)
    book.picture(2)
    held_out = plain.scene(2, held_out=True)
    assert book.scene(2, held_out=True) == held_out
    np.testing.assert_array_equal(book.draw(held_out, 2), plain.draw(held_out, 2))
    assert not np.array_equal(book.picture(2), plain.draw(held_out, 2))
    for changed in (book.picture(2), book.picture(2)):
        changed[:] = 0  # the reader's own copy


def test_other_books_keep_their_pictures_elsewhere(tmp_path: Path) -> None:
    for book in (_repeated(tmp_path), _repeated(tmp_path, mix=Mix(related=0.0))):
        np.testing.assert_array_equal(book.picture(1), Picturebook(32, 5, mix=book.mix).picture(1))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_book_may_be_opened_larger_and_smaller(tmp_path: Path) -> None:
    plain = Picturebook(32, 5)
    for count in (3, 9, 2):
        book = RepeatedPicturebook(32, 5, count=count, folder=tmp_path)
        for index in range(count):
            np.testing.assert_array_equal(book.picture(index), plain.picture(index))
    with pytest.raises(InputError, match="pictures is 0"):
        RepeatedPicturebook(32, count=0)


def test_captions_go_on_being_new() -> None:
    book = _repeated(None)
    texts = {book.caption(book.scene(i), book.rng(i, 31)).text for i in range(0, 210, 7)}
    assert len(texts) > 3
