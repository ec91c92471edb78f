"""The judge's views, labels and training, at a tiny scale."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook import Item, Picturebook, Scene, is_held_out
from pictor.data.picturebook.font import find_font
from pictor.training.judge_views import CLASSES, NO_LABEL, JudgeViews, in_reading_order, labels, shrunk, view

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

A, B = Item("cat", "red", 0.4, 0.26, 0.5), Item("apple", None, 0.4, 0.74, 0.5)
PAIR = Scene((A, B), "left of", "grass", False, "plain")


def test_objects_are_named_in_reading_order_whatever_the_words_say() -> None:
    inverse = Scene((B, A), "right of", "grass", False, "plain")
    assert in_reading_order(PAIR) == in_reading_order(inverse) == ("side", (A, B))
    assert in_reading_order(replace(PAIR, relation="next to")) == ("side", (A, B))
    upper, lower = replace(A, x=0.5, y=0.3), replace(B, x=0.5, y=0.7)
    assert in_reading_order(Scene((upper, lower), "on", "sea", False, "plain")) == ("stack", (upper, lower))
    assert in_reading_order(Scene((lower, upper), "under", "sea", False, "plain")) == (
        "stack",
        (upper, lower),
    )
    assert in_reading_order(Scene((A, A, A), None, "sea", True, "plain")) == ("3", (A,))


def test_labels_name_every_attribute() -> None:
    told = labels(PAIR)
    named = {name: CLASSES[name.rstrip("12")][number] for name, number in told.items()}
    assert named == {
        "layout": "side",
        "place": "grass",
        "night": "day",
        "style": "plain",
        "thing1": "cat",
        "colour1": "red",
        "thing2": "apple",
        "colour2": "natural",
    }
    single = labels(Scene((A,), None, "sea", True, "neon"))
    assert single["thing2"] == single["colour2"] == NO_LABEL
    assert CLASSES["night"][single["night"]] == "night"


def test_views_keep_what_a_picture_shows() -> None:
    """Never mirrored, never tinted: close to the plain view, and grey stays grey."""
    book = Picturebook(128, 3)
    picture = book.picture(1)
    plain = shrunk(picture, 64).astype(float)
    np.testing.assert_allclose(plain, picture.reshape(64, 2, 64, 2, 3).mean((1, 3)), atol=1)
    seen = np.stack([view(picture, 64, np.random.default_rng(i)) for i in range(60)]).astype(float)
    assert len(np.unique(seen.reshape(60, -1), axis=0)) > 40
    error, mirrored = (np.abs(seen - one).mean() for one in (plain, plain[:, ::-1]))
    assert error < 0.6 * mirrored
    grey = np.full((128, 128, 3), 128, np.uint8)
    tints = [view(grey, 64, np.random.default_rng(i)).mean((0, 1)) for i in range(60)]
    assert np.ptp(tints, axis=1).max() < 4
    assert np.ptp(tints, axis=0).max() > 5


def test_views_are_functions_of_their_numbers_and_show_both_kinds_of_composition() -> None:
    views = JudgeViews(32, (64, 32), 2, 9, None)
    whole, part = views(0, 24), pickle.loads(pickle.dumps(views))(13, 5)
    for name, array in part.items():
        np.testing.assert_array_equal(array, whole[name][13:18])
    assert whole["image"].shape == (24, 32, 32, 3)
    # Two views of one picture agree on what it shows and differ in how.
    assert (whole["thing1"][0::2] == whole["thing1"][1::2]).all()
    assert not np.array_equal(whole["image"][0::2], whole["image"][1::2])
    scenes = [views.books[0].scene(i, held_out=i % 5 == 0) for i in range(10)]
    assert [is_held_out(scene) for scene in scenes] == [i % 5 == 0 for i in range(10)]
    assert [CLASSES["thing"][i] for i in whole["thing1"][:20:2]] == [
        in_reading_order(scene)[1][0].thing for scene in scenes
    ]


torch = pytest.importorskip("torch")

from pictor.training.judge_network import EACH, WHOLE, JudgeNetwork, save_judge
from pictor.training.objectives import build

TINY = {"kind": "judge", "size": 32, "drawn": [32], "stages": [[16, 2, 0], [32, 2, 1], [32, 2, 0]]}


def test_the_classes_of_the_network_are_those_of_the_labels() -> None:
    assert sorted(CLASSES) == sorted((*WHOLE, *EACH))


def test_the_judge_learns_and_second_objects_are_passed_over_where_there_are_none() -> None:
    torch.manual_seed(0)
    objective = build(TINY, 0)
    batch = objective.batch(0, 64)
    assert (batch["thing2"] == NO_LABEL).any()
    assert (batch["thing2"] != NO_LABEL).any()
    optimiser = torch.optim.AdamW(objective.module.parameters(), 5e-3)
    losses = []
    for _ in range(30):
        loss, figures = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert figures["thing_accuracy"] > 0.3
    alone = {name: tensor[batch["thing2"] == NO_LABEL] for name, tensor in batch.items()}
    assert torch.isfinite(objective.loss(alone)[0])


def test_the_saved_judge_is_the_trained_one_and_small(tmp_path: Path) -> None:
    """Normalisation folded, in half precision, run by ONNX Runtime: the same answers."""
    from safetensors.torch import load_file

    from pictor.backends.onnx import OnnxModule

    torch.manual_seed(0)
    objective = build(TINY, 4)
    with torch.no_grad():
        for _ in range(3):  # running statistics that are not the initial ones
            objective.loss(objective.batch(0, 16))
    network = objective.module.eval()
    objective.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "judge.onnx",
        "model.safetensors",
    ]
    stored = load_file(tmp_path / "model.safetensors")
    assert all(tensor.dtype == torch.float16 for tensor in stored.values())
    assert not any("norm" in name for name in stored)
    image = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(image)
    found = OnnxModule(tmp_path / "judge.onnx", threads=1).run(image=image.numpy())
    assert sorted(found) == sorted(expected)
    for name, tensor in expected.items():
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=5e-3 * float(tensor.abs().max()))
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["classes"] == CLASSES
    assert network.training is False


def test_the_two_readers_can_tell_left_from_right() -> None:
    """A network whose readers look at opposite halves tells a picture from its mirror image."""
    network = JudgeNetwork(dict.fromkeys((*WHOLE, *EACH), 3), 32, ((8, 2, 0), (8, 2, 0))).eval()
    with torch.no_grad():
        half = torch.arange(8).repeat(8) < 4
        network.where[0] = torch.where(half, 0.0, -50.0)
        network.where[1] = torch.where(half, -50.0, 0.0)
        left = torch.zeros(1, 3, 32, 32)
        left[..., 10:] = -1
        told, mirrored = network(left), network(left.flip(-1))
    assert float((told["thing1"] - told["thing2"]).abs().max()) > 1e-3
    torch.testing.assert_close(told["layout"].argmax(), mirrored["layout"].argmax())
    assert float((told["thing1"] - mirrored["thing1"]).abs().max()) > 1e-3


def test_the_shipped_recipe_is_valid_and_its_judge_is_small_enough(tmp_path: Path) -> None:
    from pictor.training.recipe import read_recipe

    recipe = read_recipe(Path(__file__).parents[2] / "recipes" / "judge" / "judge.toml")
    objective = build(recipe.objective, recipe.seed)
    assert recipe.ema_widths == ()
    weights = {name: tensor for name, tensor in objective.module.state_dict().items() if "norm" not in name}
    assert 2 * sum(tensor.numel() for tensor in weights.values()) < 4_000_000


def test_a_judge_cannot_be_saved_without_the_exporter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pictor.core.errors import MissingExtraError

    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    network = JudgeNetwork(dict.fromkeys((*WHOLE, *EACH), 3), 32, ((8, 2, 0),))
    with pytest.raises(MissingExtraError):
        save_judge(network, {"size": 32}, tmp_path)
