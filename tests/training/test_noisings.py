"""Several samples of one drawn picture: what they share, what not, and that numbers alone decide."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

from pictor.data.picturebook import Picturebook
from pictor.training.captioned_latents import CaptionedPictures, latents_of
from pictor.training.objectives import build
from pictor.training.objectives.rectified_flow import LogitNormalTime
from pictor.training.pictures import BookPictures
from pictor.training.tokenizer import train_tokenizer

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def thrice() -> CaptionedPictures:
    return CaptionedPictures(
        pictures=BookPictures(Picturebook(32, 0)),
        tokenizer=train_tokenizer(["a red apple", "一只猫"], length=16),
        channels=4,
        factor=8,
        empty_captions=0.3,
        draw_time=LogitNormalTime(0.15, 0.0),
        noisings=3,
    )


def test_samples_of_a_picture_differ_in_time_and_noise(thrice: CaptionedPictures) -> None:
    drawn, once = thrice(0, 9), dataclasses.replace(thrice, noisings=1)(0, 3)
    np.testing.assert_array_equal(drawn["picture"], [0, 0, 0, 1, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(drawn["image"], once["image"])
    assert len(np.unique(drawn["t"])) == len(np.unique(drawn["lot"])) == 9
    correlation = np.corrcoef(drawn["eps"].reshape(9, -1))
    assert np.abs(correlation - np.eye(9)).max() < 0.5  # 64 numbers each
    assert "picture" not in once


def test_numbers_alone_decide_a_sample(thrice: CaptionedPictures) -> None:
    whole, part = thrice(0, 9), thrice(4, 4)
    for key in ("t", "eps", "ids", "lot"):
        np.testing.assert_array_equal(part[key], whole[key][4:8])
    np.testing.assert_array_equal(part["image"][part["picture"]], whole["image"][whole["picture"]][4:8])


def test_what_is_judged_shows_each_picture_once(thrice: CaptionedPictures) -> None:
    judged = thrice(0, 4, held_out=True)
    assert len(judged["image"]) == 4
    assert "picture" not in judged


def test_each_sample_meets_its_own_picture(thrice: CaptionedPictures) -> None:
    batch = thrice.batch(4, 4)
    latents = latents_of(batch, lambda image: image.float().mean((1, 2, 3)))
    expected = [float(batch["image"][place].float().mean()) for place in (0, 0, 1, 1)]
    assert latents.tolist() == pytest.approx(expected)


def test_pictures_of_a_folder_are_not_drawn_often(tmp_path: Path) -> None:
    table = {"kind": "diffusion", "data": str(tmp_path), "noisings": 2}
    with pytest.raises(InputError, match="noisings is of drawn pictures"):
        build(table, 0)
