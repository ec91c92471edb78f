"""The whole evaluation, with models and judges whose figures can be foretold."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictor.core.errors import InputError, MissingExtraError
from pictor.core.notices import PictorWarning
from pictor.data.picturebook.font import find_font

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

from oracle import Oracle

from pictor.evaluation import evaluate as module
from pictor.evaluation.evaluate import Evaluation, Wish, evaluate
from pictor.evaluation.page import page
from pictor.evaluation.prompts import PromptBook
from pictor.evaluation.report import cell, document, table
from pictor.evaluation.training_book import TrainingBook

WISH = Wish(count=3, seed=3, trained_on=TrainingBook())
SIDE = 32


class Perfect:
    """Looks its prompts up and answers with a new render; its autoencoder keeps every second picture."""

    def __init__(self, book: PromptBook) -> None:
        self.draw = book.book.draw
        self.scenes = {p.text: p.scene for p in book.prompts(WISH.kinds, WISH.count)}
        size = SimpleNamespace(size=(SIDE, SIDE))
        self.traits = SimpleNamespace(name="perfect", defaults=size, latent_channels=3)
        self.bundle = SimpleNamespace(model_hash="0" * 64, autoencoder=self)
        self.seeds: list[int] = []

    def plan(self, request: Any) -> Any:
        facts = {"num_steps": 4, "guidance_scale": 1.0, "solver": "euler", "spacing": "uniform"}
        return SimpleNamespace(describe=lambda _index: facts | {"prompt": request.prompt})

    def generate(self, text: str, *, seed: int, count: int, **options: object) -> list[Any]:
        assert options == {"num_steps": None, "guidance_scale": None, "solver": None}
        self.seeds += range(seed, seed + count)
        pictures = [self.draw(self.scenes[text], 1000 + n) for n in range(count)]
        return [SimpleNamespace(image=Image.fromarray(picture)) for picture in pictures]

    def encode(self, image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return image

    def decode(self, image: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
        return np.where((np.arange(len(image)) % 2 == 0)[:, None, None, None], image, -1)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    """Sees what every book of the evaluation draws; its library is a small one."""
    made = Oracle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LIBRARY", 300)
        patch.setattr(module, "_ANY", 20)
        for name in ("PromptBook", "Library"):
            # One book of each kind serves all tests: drawing a thing for the first time is slow.
            patch.setattr(module, name, _shared(getattr(module, name), made))
        yield made


def _shared(kind: Callable[..., Any], oracle: Oracle) -> Callable[..., Any]:
    @functools.cache
    def informed(*arguments: Any) -> Any:
        made = kind(*arguments)
        oracle.learn(made.book)
        return made

    return informed


@pytest.fixture
def perfect(oracle: Oracle) -> Perfect:
    return Perfect(module.PromptBook(SIDE, WISH.seed, None))


@pytest.fixture(scope="module")
def found(oracle: Oracle) -> Evaluation:
    return evaluate(Perfect(module.PromptBook(SIDE, WISH.seed, None)), oracle, WISH)  # type: ignore[arg-type]


def _all(found: Evaluation, source: str, **where: Any) -> float:
    shares = cell(found, source, **where)
    assert shares is not None
    return shares["all correct"].share


def test_a_perfect_model_is_perfect_and_so_are_real_renders(found: Evaluation) -> None:
    assert _all(found, "model") == _all(found, "real renders") == 1
    assert len(found.pictures) == len(found.real) == len(found.prompts) == 4 * 2 * 2 * 3


def test_the_other_rows_are_what_they_say(found: Evaluation) -> None:
    assert 0.4 < _all(found, "autoencoder") < 0.6  # half of the renders were painted black
    assert _all(found, "shuffled captions") < 0.2
    # Training has no picture of a held-out composition, and so one that is all correct cannot be found.
    assert _all(found, "retrieval", split="held out") == 0


def test_attributes_are_judged_where_they_are_asked_for(found: Evaluation) -> None:
    def names(kind: str) -> set[str]:
        return set(cell(found, "model", kind=kind) or {})

    common = {"object", "colour", "background", "all correct"}
    assert names("single") == names("counted") == common | {"count"}
    assert names("related") == common | {"relation"}
    assert names("styled") == common | {"count", "style"}


def test_sets_memory_and_diversity(found: Evaluation) -> None:
    by = {(one.split, one.source): one for one in found.distributions}
    assert set(by) == {
        (split, source)
        for split in ("all", "seen", "held out")
        for source in ("model", "real renders", "autoencoder")
    }
    near = by["all", "real renders"].manifold
    black = by["all", "autoencoder"].manifold
    assert near is not None
    assert black is not None
    assert by["all", "autoencoder"].frechet > by["all", "real renders"].frechet
    assert black.density < near.density
    assert found.memory is not None
    assert len(found.memory.made) == len(found.memory.nearest) == len(found.pictures)
    assert 0.25 < found.memory.nearer < 0.75  # new renders against new renders
    assert 1 <= found.diversity.made <= found.diversity.pictures
    assert found.diversity.made == pytest.approx(found.diversity.real, rel=0.3)
    assert 1 <= found.diversity.same_prompt_made <= 8


def test_a_model_that_copies_training_pictures_is_noticed(
    oracle: Oracle, perfect: Perfect, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = module.Library(SIDE, 0, 300, None)
    copies = iter(range(10_000))

    def copy(text: str, *, seed: int, count: int, **options: object) -> list[Any]:
        return [
            SimpleNamespace(image=Image.fromarray(made.draw([next(copies) % 60])[0])) for _ in range(count)
        ]

    monkeypatch.setattr(perfect, "generate", copy)
    monkeypatch.setattr(module, "_ANY", 300)
    wish = replace(WISH, kinds=("single",), count=2)
    found = evaluate(perfect, oracle, wish)  # type: ignore[arg-type]
    assert found.memory is not None
    assert found.memory.made.max() == 0
    assert found.memory.nearer == 1
    assert found.memory.suspicious == 1
    np.testing.assert_array_equal(found.memory.nearest[0], found.pictures[0])


def test_what_cannot_be_measured_is_said(
    oracle: Oracle, perfect: Perfect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(image: object) -> None:
        raise MissingExtraError("this needs torch")

    monkeypatch.setattr(perfect, "encode", refuse)
    wish = replace(WISH, kinds=("single",), count=1)
    found = evaluate(perfect, oracle, wish)  # type: ignore[arg-type]
    assert "autoencoder" not in found.marks
    assert "shuffled captions" not in found.marks
    assert [note.split(":")[0] for note in found.notes] == ["autoencoder", "shuffled captions"]
    assert all(one.manifold is None for one in found.distributions)
    text = table(found)
    assert "not measured" in text
    assert all(note in text for note in found.notes)
    assert "needs the torch extra" in page(found)
    monkeypatch.setattr(perfect.traits, "latent_channels", 0)
    found = evaluate(perfect, oracle, wish)  # type: ignore[arg-type]
    assert "autoencoder" not in found.marks
    assert found.notes[0] == "autoencoder: not measured (the model has none)"


def test_warnings_of_many_prompts_are_told_once(
    oracle: Oracle, perfect: Perfect, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = perfect.generate

    def warns(text: str, **options: Any) -> list[Any]:
        warnings.warn(f"{text} was cut", PictorWarning, stacklevel=2)
        return generate(text, **options)

    monkeypatch.setattr(perfect, "generate", warns)
    found = evaluate(perfect, oracle, replace(WISH, kinds=("single",), count=2))  # type: ignore[arg-type]
    assert found.notes == [f"10 prompts had warnings, the first: {found.prompts[0].text} was cut"]


def test_without_a_book_nothing_is_called_a_training_picture(oracle: Oracle, perfect: Perfect) -> None:
    found = evaluate(perfect, oracle, replace(WISH, kinds=("single",), count=2, trained_on=None))  # type: ignore[arg-type]
    assert found.memory is None
    assert "retrieval" not in found.marks
    [note] = found.notes
    assert note.startswith("retrieval, memory: not measured")
    report = json.loads(json.dumps(document(found), allow_nan=False))
    assert report["memory"] is None
    assert report["prompts"][0]["distance_to_training"] is None
    for text in (table(found), page(found)):
        assert note in text
        assert "Memory" not in text
        assert "training pictures" not in text


def test_the_memory_line_says_how_much_was_searched(found: Evaluation) -> None:
    words = "of the first 300 drawn for training; a run sees more"
    assert words in table(found)
    assert words in page(found)
    memory = document(found)["memory"]
    assert memory["searched"] == words
    assert memory["training_pictures_searched"] == 300


def test_what_is_compared_are_different_scenes(found: Evaluation) -> None:
    """As many of them as pictures, in either set of real renders."""
    assert len({picture.tobytes() for picture in found.real}) == len(found.pictures)
    floor = next(one for one in found.distributions if (one.split, one.source) == ("all", "real renders"))
    assert abs(floor.kernel) < 4 * floor.kernel_error


def test_progress_counts_every_picture(oracle: Oracle, perfect: Perfect) -> None:
    seen: list[tuple[int, int]] = []
    wish = replace(WISH, kinds=("single",), count=2)
    evaluate(perfect, oracle, wish, on_progress=lambda p: seen.append((p.done, p.total)))  # type: ignore[arg-type]
    assert seen[-1][0] == seen[-1][1] == len(perfect.seeds)
    assert len(set(perfect.seeds)) == len(perfect.seeds)  # no two pictures share their noise
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_no_work_is_done_for_a_wish_that_cannot_be(oracle: Oracle, perfect: Perfect) -> None:
    for wish in (Wish(count=0), Wish(kinds=("some",))):
        with pytest.raises(InputError):
            evaluate(perfect, oracle, wish)  # type: ignore[arg-type]
    assert not perfect.seeds


def test_the_document_and_the_page_hold_the_figures(found: Evaluation) -> None:
    report = json.loads(json.dumps(document(found), allow_nan=False))
    [whole] = [
        row
        for row in report["accuracy"]
        if (row["source"], row["split"], row["language"], row["kind"]) == ("model", "all", "all", "all")
    ]
    assert whole["shares"]["all correct"]["right"] == whole["shares"]["all correct"]["total"] == 48
    assert 0.9 < whole["shares"]["all correct"]["low"] < 1
    assert len(report["prompts"]) == 48
    assert report["wish"]["kinds"] == list(WISH.kinds)
    html = page(found)
    assert html.count("<img") == 2 * 48 + 2 * 16 + 8 * len(found.diversity.rows)
    assert "http" not in html  # nothing is fetched from elsewhere
    assert "src='data:image/png;base64," in html
    assert "100 (" in html


def test_the_page_escapes_what_it_shows(found: Evaluation) -> None:
    html = page(replace(found, model="<script>x</script>"))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
