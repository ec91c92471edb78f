"""Models that read no words: their sets beside real ones, and what is said of networks that are rivals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pictor.core.errors import InputError
from pictor.data.picturebook import Mix, Picturebook
from pictor.data.picturebook.font import find_font
from pictor.evaluation.evaluate import MODEL, REAL
from pictor.evaluation.judge import Judge, default_judge
from pictor.evaluation.runs.reading import read_run
from pictor.evaluation.runs.rivals import rivalry
from pictor.evaluation.runs.run_page import run_page
from pictor.evaluation.runs.trace import parts
from pictor.evaluation.training_book import TrainingBook
from pictor.evaluation.unprompted import (
    REFERENCE,
    Unprompted,
    evaluate_unprompted,
    unprompted_document,
    unprompted_table,
)
from pictor.evaluation.unprompted_page import unprompted_page

BOOK = TrainingBook(
    seed=3,
    mix=Mix(
        counted=0,
        related=0,
        styled=0,
        small=0,
        things=("apple", "mushroom", "fish"),
        places=("white", "blue", "pink"),
    ),
)


class Player:
    """Draws pictures of the book by their seeds, so many different ones."""

    def __init__(self, different: int) -> None:
        self.book = Picturebook(32, BOOK.seed, None, BOOK.mix)
        self.different = different
        self.traits = SimpleNamespace(name="player", defaults=SimpleNamespace(size=(32, 32)))
        self.bundle = SimpleNamespace(model_hash="0" * 64)
        self.seeds: list[int] = []

    def generate(self, *, seed: int, count: int) -> list[Any]:
        numbers = range(seed, seed + count)
        self.seeds += numbers
        return [SimpleNamespace(image=Image.fromarray(self._draw(n % self.different))) for n in numbers]

    def _draw(self, number: int) -> NDArray[np.uint8]:
        return self.book.draw(self.book.scene(number), number)


@pytest.fixture(scope="module")
def found() -> dict[int, Unprompted]:
    try:
        find_font()
    except InputError as error:
        pytest.skip(str(error))
    judge = Judge(default_judge())
    made = {}
    for different in (1, 10_000):
        player = Player(different)
        made[different] = evaluate_unprompted(player, judge, pictures=96, seed=5, trained_on=BOOK)  # type: ignore[arg-type]
        assert player.seeds == list(range(5, 101))
    return made


def test_real_pictures_are_as_good_as_real_ones_and_one_picture_is_not(found: dict[int, Unprompted]) -> None:
    whole, one = found[10_000], found[1]
    (mine, floor), (alike, _) = whole.distributions, one.distributions
    assert (mine.source, floor.source) == (MODEL, REAL)
    assert mine.frechet < 1.3 * floor.frechet
    assert alike.frechet > 3 * floor.frechet
    assert mine.manifold is not None
    assert alike.manifold is not None
    assert mine.manifold.recall > 0.8
    assert alike.manifold.coverage < 0.1
    assert one.vendi[MODEL] == pytest.approx(1.0, abs=1e-3)
    assert whole.vendi[MODEL] == pytest.approx(whole.vendi[REAL], rel=0.1)


def test_things_that_are_left_out_are_told(found: dict[int, Unprompted]) -> None:
    assert found[10_000].missed(MODEL) < 0.2
    assert 0.5 < found[1].missed(MODEL) < 0.8  # two of three things
    assert 0 < found[1].missed(REAL) < 0.2  # real against real, by chance alone
    assert found[1].missed(REFERENCE) == 0
    assert set(found[1].shown[REAL]) >= set(BOOK.mix.things)
    text = unprompted_table(found[1])
    assert f"{100 * found[1].missed(MODEL):.1f}% of the model's" in text
    assert f"{100 * found[1].missed(REAL):.1f}% of as many other real renders" in text
    assert all(thing in text for thing in BOOK.mix.things)
    report = json.loads(json.dumps(unprompted_document(found[1])))
    assert report["vendi"][MODEL] == found[1].vendi[MODEL]
    assert report["missed"] == {source: found[1].missed(source) for source in (MODEL, REAL)}


def test_the_page_holds_the_figures_and_samples(found: dict[int, Unprompted]) -> None:
    page = unprompted_page(replace(found[1], model="<b>one</b>"))
    assert "<b>one" not in page
    assert page.count("<img") == len(found[1].samples) == 64
    assert f"{100 * found[1].missed(REAL):.1f}% of as many other real renders" in page
    assert page.count(f"{found[1].distributions[0].frechet:.3f}") == 1
    assert "http" not in page


def test_without_a_book_the_whole_picturebook_is_named(found: dict[int, Unprompted]) -> None:
    assert found[1].notes == []
    other = evaluate_unprompted(
        Player(10_000),  # type: ignore[arg-type]
        Judge(default_judge()),
        pictures=16,
        trained_on=None,
    )
    assert "whole picturebook" in unprompted_table(other)
    assert "whole picturebook" in unprompted_page(other)
    assert "whole picturebook" in unprompted_document(other)["notes"][0]


def test_sets_that_are_too_small_are_refused() -> None:
    with pytest.raises(InputError, match="8 pictures"):
        evaluate_unprompted(None, None, pictures=8, trained_on=BOOK)  # type: ignore[arg-type]


def test_a_lost_balance_is_told() -> None:
    assert rivalry({"psnr": 20.0}) == []
    assert rivalry({"real_accuracy": 0.99, "drawn_accuracy": 0.97, "diversity": 0.9}) == [
        "the discriminator wins"
    ]
    assert rivalry({"real_accuracy": 0.5, "drawn_accuracy": 0.55}) == [
        "the discriminator hardly tells drawn pictures"
    ]
    assert rivalry({"real_accuracy": 0.6, "drawn_accuracy": 0.9, "diversity": 0.2}) == [
        "balanced",
        "it takes too many for drawn ones",
        "samples alike: 20% of real variety",
    ]


def test_the_course_of_rivals_shows_their_figures(tmp_path: Path) -> None:
    recipe = {"name": "gan", "samples": 100, "batch_size": 10, "objective": {"kind": "gan"}}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    lines = [
        {
            "samples": samples,
            "step": samples // 10,
            "loss": 1.4,
            "rate": 0.1,
            "samples_per_second": 5.0,
            "generator_loss": 1.0,
            "real_accuracy": 0.7,
            "drawn_accuracy": 0.7,
            "diversity": samples / 100,
        }
        for samples in range(10, 101, 10)
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = read_run(tmp_path)
    traced = parts(run)
    assert len(traced) == 10
    assert traced[3].figures["diversity"] == pytest.approx(0.4)
    assert "samples alike: 40% of real variety" in traced[3].observation
    assert "samples alike" not in traced[8].observation
    page = run_page(run)
    assert "samples alike: 10% of real variety" in page
    assert "<th>diversity</th>" in page or ">diversity<" in page
