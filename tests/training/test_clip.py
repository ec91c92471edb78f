"""CLIP on the picturebook and on one's own pictures, with a picture encoder of our own."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

import pictor
from pictor.cli import main
from pictor.core.errors import InputError
from pictor.data.picturebook import Mix, Picturebook
from pictor.data.picturebook.font import find_font
from pictor.engine.describe import Description
from pictor.evaluation.telling import similarity_matrix, told
from pictor.training.loop import train
from pictor.training.objectives import build
from pictor.training.objectives.contrastive import _recall
from pictor.training.phrase_bank import PhraseBank, _phrases, names_of, true_phrases
from pictor.training.picture_views import varied
from pictor.training.recipe import Recipe

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

THINGS = ("apple", "cat", "star", "bread")
EYE = {"eye": "convolutional", "stages": [[8, 2, 0], [16, 2, 1]], "size": 32}


@pytest.fixture(scope="module")
def table(tiny_folder: Path) -> dict[str, object]:
    mix = {"things": list(THINGS), "places": ["white", "grass", "snow"], "related": 0.3}
    return {"kind": "contrastive", "text_encoder": str(tiny_folder), "views": 3, "mix": mix, **EYE}


@pytest.fixture(scope="module")
def trained(table: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = {"name": "clip", "samples": 60, "batch_size": 12, "ema_widths": (), "objective": table}
    outcome = train(Recipe.model_validate(recipe), tmp_path_factory.mktemp("clip") / "run")
    assert outcome.model is not None
    recalls = {f"held_out_{of}_recall_at_{k}" for of in ("caption", "picture") for k in (1, 5)}
    assert outcome.figures.keys() >= recalls | {"held_out_thing", "held_out_colour"}
    return outcome.model


def test_what_is_trained_draws_and_describes_on_both_backends(trained: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    said = [
        pictor.load(trained, backend=backend).describe(picture, top=3)
        for backend in ("onnx", "torch")
        if backend == "torch" or (trained / "unet" / "model.onnx").is_file()
    ]
    for one, other in zip(said[0], said[-1], strict=True):
        assert one.thing in THINGS
        assert (one.text, one.probability) == (other.text, pytest.approx(other.probability, abs=1e-3))
    assert pictor.load(trained, backend="torch").generate("a red cat", num_steps=1, seed=1)


def test_its_graph_computes_what_the_network_does(trained: Path) -> None:
    from pictor.backends.base import PICTURE_ENCODER
    from pictor.backends.onnx import OnnxModule
    from pictor.backends.torch import TorchModule

    image = np.random.default_rng(1).standard_normal((3, 3, 32, 32), np.float32)
    theirs = TorchModule(trained, PICTURE_ENCODER, device="cpu").run(image=image)["embeds"]
    ours = OnnxModule(trained / "image_encoder" / PICTURE_ENCODER.graph).run(image=image)["embeds"]
    assert theirs.shape == (3, 32)
    assert np.ptp(theirs, axis=0).max() > 0
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_it_learns(table: dict[str, object]) -> None:
    torch.manual_seed(0)
    objective = build(table, 0)
    batch = objective.batch(0, 48)
    weights = [p for p in objective.module.parameters() if p.requires_grad]
    assert not any(p.requires_grad for p in objective.module.text_encoder.parameters())
    optimiser = torch.optim.AdamW(weights, lr=3e-3)
    losses = []
    for _ in range(30):
        loss, figures = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
    assert figures.keys() == {"retrieval", "thing_loss", "look_loss", "place_loss", "style_loss"}


def test_a_run_goes_on_from_a_model(table: dict[str, object], trained: Path) -> None:
    onwards = build(table | {"start": str(trained), "phrases": 0}, 0)
    record = json.loads((trained / "image_encoder" / "vocabulary.json").read_text(encoding="utf-8"))
    assert float(onwards.module.scale.detach()) == pytest.approx(record["scale"])
    assert float(onwards.module.offset.detach()) == pytest.approx(record["offset"])
    [file] = (trained / "image_encoder").glob("*.safetensors")
    state = onwards.module.picture_encoder.state_dict()
    for name, tensor in load_file(file).items():
        torch.testing.assert_close(state[name], tensor.to(state[name].dtype))
    with pytest.raises(InputError, match="another network than the recipe's"):
        build(table | {"start": str(trained), "stages": [[8, 2, 0]], "phrases": 0}, 0)


def test_samples_depend_on_their_numbers_alone(table: dict[str, object]) -> None:
    samples = build(table | {"varied": True, "phrases": 0}, 3).drawer()
    whole, again = samples(0, 9), pickle.loads(pickle.dumps(samples))(3, 6)
    np.testing.assert_array_equal(whole["image"][3:], again["image"])
    plain = build(table, 3).drawer()(0, 9)
    for first in (0, 3, 6):
        for other in (1, 2):
            np.testing.assert_array_equal(plain["image"][first], plain["image"][first + other])
            np.testing.assert_array_equal(plain["labels"][first], plain["labels"][first + other])
    assert not np.array_equal(whole["image"][0], whole["image"][1]) or not np.array_equal(
        whole["image"][3], whole["image"][4]
    )


def test_a_true_phrase_says_what_the_scene_shows() -> None:
    from pictor.data.picturebook.phrases import phrase_tables
    from pictor.families.parts.describing import Words

    book = Picturebook(32, 0, mix=Mix(things=THINGS, related=0.3, night=0.5))
    words, rng = Words(**phrase_tables(THINGS)["en"]), np.random.default_rng(0)
    for number in range(60):
        scene = book.scene(number)
        true = true_phrases(scene, THINGS, rng)
        thing = THINGS[true["thing"]]
        phrases = _phrases(words, thing)
        item = next(item for item in scene.items if item.thing == thing)
        assert {thing, THINGS[true["also"]]} == {item.thing for item in scene.items}
        night = " at night" if scene.night else ""
        style = scene.style if scene.style != "plain" else ""
        assert phrases[true["look"]] == words.caption(thing, scene.count, item.colour)
        assert phrases[52 + true["place"]] == words.caption(thing, place=f"{scene.place}{night}")
        assert phrases[52 + 29 + true["style"]] == words.caption(thing, style=style)


def test_phrases_are_told_apart_by_cross_entropy() -> None:
    """Where nothing is seen all are alike; where each phrase lies alone, seeing it tells everything."""
    places: dict[str, int] = {}

    def encode(texts: list[str]) -> torch.Tensor:
        return torch.nn.functional.one_hot(
            torch.tensor([places.setdefault(text, len(places)) for text in texts]), 1000
        ).float()

    bank = PhraseBank(THINGS, encode)
    asked = {
        "language": [0, 0],
        "thing": [1, 3],
        "also": [1, 3],
        "look": [15, 2],
        "place": [4, 0],
        "style": [0, 2],
    }
    true = {name: torch.tensor(values) for name, values in asked.items()}
    blind = bank(torch.zeros(2, 1000), true)
    # Bread has no number, and so a quarter of the phrases.
    expected = {"thing": np.log(4), "look": np.log(52 * 13) / 2, "place": np.log(29), "style": np.log(7)}
    for name, loss in blind.items():
        assert float(loss) == pytest.approx(expected[name], rel=1e-5)
    rows = bank.phrases_LTND[true["language"], true["thing"]]
    for name, first in (("look", 0), ("place", 52), ("style", 81)):
        seen = 50 * rows[torch.arange(2), first + true[name]]
        assert float(bank(seen, true)[name]) < 1e-3
    both = true | {"also": torch.tensor([2, 3])}
    named = 50 * (bank.phrases_LTND[0, 1, 0] + bank.phrases_LTND[0, 2, 0])
    assert float(bank(torch.stack([named, 50 * rows[1, 0]]), both)["thing"]) == pytest.approx(np.log(2) / 2)


def test_recall_counts_rows_with_something_right_among_the_best() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [1.0, 3.0, 2.0]])
    labels = torch.tensor([[1, 0, 0], [0, 1, 0], [1, 0, 0]], dtype=torch.bool)
    assert [_recall(logits, labels, k) for k in (1, 2, 3, 9)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_views_keep_their_size_and_their_sides() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:, :24, 0] = 200
    views = [varied(picture, np.random.default_rng(seed)) for seed in range(40)]
    assert all(view.shape == picture.shape and view.dtype == np.uint8 for view in views)
    assert 4 <= sum(np.array_equal(view, picture) for view in views) <= 20
    for view in views:
        assert view[:, :16, 0].mean() > view[:, 32:, 0].mean() + 60


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch": 8}, "patch given, which a convolutional eye does not have"),
        ({"eye": "transformer"}, "stages given, which a transformer eye does not have"),
        ({"text_encoder": None, "phrases": 1.0}, "phrases are the picturebook's"),
        ({"length": 24}, "length and layers are the given text_encoder's own"),
        ({"empty_captions": 0.1}, "empty_captions"),
        ({"views": 0}, "views"),
        ({"start": "nowhere"}, "nowhere holds no picture encoder"),
        ({"text_encoder": None, "start": "nowhere"}, "not the text_encoder that it was trained with"),
    ],
)
def test_bad_recipes(table: dict[str, object], change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build(table | change, 0)


def test_pictures_of_ones_own_are_described_in_their_captions(tmp_path: Path, tiny_folder: Path) -> None:
    pytest.importorskip("pyarrow")
    pictures, colours = tmp_path / "pictures", ("red", "green", "blue")
    pictures.mkdir()
    for number in range(30):
        pixels = np.full((40, 40, 3), 30, np.uint8)
        pixels[..., number % 3] = 200 - number
        Image.fromarray(pixels).save(pictures / f"{number:02d}.png")
        (pictures / f"{number:02d}.txt").write_text(f"a {colours[number % 3]} field", encoding="utf-8")
    options = ["--size", "32", "--val", "0.3", "--json"]
    assert main(["data", "prepare", str(pictures), "--out", str(tmp_path / "data"), *options]) == 0
    own = {"data": str(tmp_path / "data"), "text_encoder": str(tiny_folder), "kind": "contrastive", **EYE}
    objective = build(own, 0)
    labels = objective.batch(0, 12)["labels"].numpy()
    assert labels.shape == (12, 12)
    assert labels.sum() > 12
    torch.manual_seed(0)
    objective.module.train()
    optimiser = torch.optim.AdamW((p for p in objective.module.parameters() if p.requires_grad), lr=3e-3)
    for step in range(20):
        loss, _ = objective.loss(objective.batch(12 * step, 12))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    objective.module.eval()
    with torch.no_grad():
        figures = objective.validate()
    assert figures["held_out_caption_recall_at_1"] == 1.0
    assert "held_out_thing" not in figures
    (tmp_path / "model").mkdir()
    objective.save(tmp_path / "model")
    assert not (tmp_path / "model" / "README.md").exists()
    found = pictor.load(tmp_path / "model").describe(pixels, top=3)
    assert {one.text for one in found} <= {f"a {colour} field" for colour in colours}
    assert found[0].text == "a blue field"
    with pytest.raises(InputError, match="phrases are the picturebook's"):
        build(own | {"phrases": 1.0}, 0)


def test_the_kind_is_a_recipe_that_builds_of_a_base(tmp_path: Path, tiny_folder: Path) -> None:
    from pictor.training.kinds import recipe_of_kind
    from pictor.training.objectives.contrastive import Config

    recipe = recipe_of_kind("clip", base=tiny_folder)
    config = Config.model_validate({key: value for key, value in recipe.objective.items() if key != "kind"})
    assert config.text_encoder == tiny_folder
    assert config.phrase_weight == 1.0
    assert names_of(config.mix.things) == config.mix.things


def test_a_description_is_compared_with_the_scene() -> None:
    book = Picturebook(32, 0, mix=Mix(things=THINGS, related=0, night=1.0))
    scene = next(scene for n in range(99) if (scene := book.scene(n)).night and scene.style == "plain")
    item = scene.subject
    said = {
        "thing": item.thing,
        "count": scene.count,
        "colour": item.colour,
        "place": f"{scene.place} at night",
    }
    assert all(told(Description(text="", **said), scene).values())
    wrong = Description(text="", **(said | {"place": scene.place, "style": "pixel art"}))
    assert [name for name, right in told(wrong, scene).items() if not right] == ["background", "style"]


def test_the_matrix_shows_certainty_as_ink() -> None:
    pictures = [np.full((20, 20, 3), value, np.uint8) for value in (0, 250)]
    sheet = np.asarray(similarity_matrix(pictures, ["one", "two"], np.array([[1.0, 0.0], [0.0, 1.0]])))
    left, step = sheet.shape[1] - 2 * 68, 68
    cells = [[sheet[step * (1 + r) + 8, left + step * c + 8] for c in (0, 1)] for r in (0, 1)]
    assert (cells[0][0] == cells[1][1]).all()
    assert cells[0][0][2] > cells[0][0][0] + 100
    assert (cells[0][1] == 255).all()
    assert sheet[10, left + 10].max() < 30
