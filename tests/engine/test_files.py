"""Files are written whole or not at all, and what is read is not trusted."""

import pytest
from PIL import Image

from pictor import InputError
from pictor.engine.files import read_picture, write_file
from pictor.engine.pictures import check_png


def test_a_link_is_followed_to_another_folder(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "there" / "picture.png")
    assert write_file(link, b"data", overwrite=True) == link
    assert link.is_symlink()
    assert [file.name for file in (tmp_path / "there").iterdir()] == ["picture.png"]
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["link.png", "there"]


@pytest.mark.parametrize("name", ["a" * 300 + ".png", "a\0.png"])
def test_names_that_cannot_be(tmp_path, name):
    with pytest.raises(InputError, match="cannot write"):
        check_png(tmp_path / name)
    with pytest.raises(InputError, match="there is no file"):
        read_picture(tmp_path / name)


def test_only_kinds_that_carry_recipes_are_read(tmp_path):  # the reader of EPS would start Ghostscript
    Image.new("RGB", (8, 8)).save(tmp_path / "x.eps")
    with pytest.raises(InputError, match="cannot identify"):
        read_picture(tmp_path / "x.eps")
