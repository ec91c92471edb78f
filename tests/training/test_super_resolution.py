"""The network that enlarges: its pairs, what it sees, and a rehearsal of its training."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictor.core.errors import InputError
from pictor.data.picturebook import Mix, is_held_out
from pictor.data.picturebook.font import find_font
from pictor.training.enlarger_pairs import EnlargerPairs, psnr, worn

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from pictor.backends.base import ENLARGER
from pictor.backends.enlarger import EnlargerNetwork
from pictor.backends.onnx import OnnxModule
from pictor.backends.torch import TorchModule
from pictor.families.parts.enlarging import reach
from pictor.training.loop import train
from pictor.training.objectives import build, super_resolution
from pictor.training.recipe import Recipe as TrainingRecipe
from pictor.training.recipe import read_recipe, validated

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

TINY = {"kind": "super_resolution", "size": 64, "crop": 16, "crops": 4, "channels": 16, "blocks": 1}
RECIPE = Path(__file__).parents[2] / "recipes" / "picturebook-cpu" / "enlarger.toml"


def pairs() -> EnlargerPairs:
    return EnlargerPairs(64, 16, 4, 9, None, Mix())


def test_pairs_are_functions_of_their_numbers_and_of_one_place() -> None:
    whole, part = pairs()(0, 24), pickle.loads(pickle.dumps(pairs()))(13, 5)
    for name, array in part.items():
        np.testing.assert_array_equal(array, whole[name][13:18])
    assert whole["small"].shape == (24, 16, 16, 3)
    assert whole["large"].shape == (24, 32, 32, 3)
    small = whole["small"].astype(float)
    shrunk = whole["large"].astype(float).reshape(24, 16, 2, 16, 2, 3).mean((2, 4))
    elsewhere = np.roll(shrunk, 1, axis=0)
    errors = np.abs(small - shrunk).mean((1, 2, 3))
    assert errors.mean() < 0.25 * np.abs(small - elsewhere).mean()
    assert len(np.unique(errors.round(3))) > 12


def test_pictures_are_worn_in_several_ways_and_never_moved() -> None:
    large = pairs().book.picture(2)
    seen = np.stack([worn(large, np.random.default_rng(i)) for i in range(60)]).astype(float)
    assert seen.shape == (60, 32, 32, 3)
    assert len(np.unique(seen.reshape(60, -1), axis=0)) > 35
    plain = large.astype(float).reshape(32, 2, 32, 2, 3).mean((1, 3))
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        moved = np.roll(plain, (dy, dx), (0, 1))
        assert np.abs(seen.mean(0) - plain).mean() < 0.5 * np.abs(seen.mean(0) - moved).mean()


def test_validation_shows_held_out_compositions() -> None:
    book = pairs()
    for scale in (2, 4):
        small, large = book.held_out(3, scale)
        assert small.shape == (64 // scale, 64 // scale, 3)
        np.testing.assert_array_equal(large, book.book.picture(3, held_out=True))
    assert is_held_out(book.book.scene(3, held_out=True))


def test_untrained_it_is_the_bilinear_enlargement() -> None:
    image = torch.rand(2, 3, 9, 5)
    expected = F.interpolate(image, scale_factor=2, mode="bilinear")
    torch.testing.assert_close(EnlargerNetwork(8, 2)(image), expected)


@pytest.mark.parametrize("blocks", [0, 1, 3])
def test_a_pixel_depends_on_what_pieces_overlap_by_and_no_more(blocks: int) -> None:
    network = EnlargerNetwork(8, blocks)
    torch.nn.init.normal_(network.tail.weight)
    image = torch.rand(1, 3, 31, 31, requires_grad=True)
    network(image)[..., 30:32, 30:32].sum().backward()  # of the pixel at 15, 15
    rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert 15 - int(rows.min()) == int(rows.max()) - 15 == reach(blocks)


def test_both_runtimes_run_what_is_saved(tmp_path: Path) -> None:
    torch.manual_seed(0)
    objective: Any = build(TINY, 0)
    torch.nn.init.normal_(objective.module.tail.weight, std=0.1)
    objective.save(tmp_path / "enlarger")
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 13, 21)).astype(np.float32)
    graph = OnnxModule(tmp_path / "enlarger" / "model.onnx", threads=1).run(image=image)["large"]
    loaded = TorchModule(tmp_path, ENLARGER, device="cpu").run(image=image)["large"]
    with torch.no_grad():
        trained = objective.module(torch.from_numpy(image)).numpy()
    assert graph.shape == (1, 3, 26, 42)
    np.testing.assert_allclose(graph, loaded, atol=1e-5)
    np.testing.assert_allclose(graph, trained, atol=5e-3)
    assert np.abs(trained).std() > 0.1


def test_a_rehearsal_of_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two seconds it leaves the bilinear enlargement behind that it began with."""
    monkeypatch.setattr(super_resolution, "_VALIDATION", 6)
    table = {"name": "rehearsal", "samples": 1600, "batch_size": 16, "ema_widths": [0.05], "objective": TINY}
    table["optimiser"] = {"learning_rate": 3e-3, "weight_decay": 0.0, "cool_down": 0.5}
    losses: list[float] = []
    outcome = train(
        validated(TrainingRecipe, table, "the rehearsal"),
        tmp_path / "run",
        on_progress=lambda progress: losses.append(progress.loss),
    )
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    assert sorted(file.name for file in (tmp_path / "run" / "model").iterdir()) == [
        "config.json",
        "diffusion_pytorch_model.safetensors",
        "model.onnx",
    ]
    figures = outcome.figures
    assert set(figures) == {
        f"{name}_{who}" for name in ("x2", "x4", "x2_worn") for who in ("psnr", "bicubic_psnr")
    }
    with torch.no_grad():
        untrained = build(TINY, 0).validate()
    assert figures["x2_psnr"] > untrained["x2_psnr"] + 0.3
    assert figures["x2_worn_psnr"] > untrained["x2_worn_psnr"] + 0.3


def test_psnr() -> None:
    black = np.zeros((2, 2, 3), np.uint8)
    assert psnr(black, black + 255) == pytest.approx(0.0)
    assert psnr(black, black + 1) == pytest.approx(20 * np.log10(255))


def test_bicubic_figures_are_of_bicubic_enlargement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(super_resolution, "_VALIDATION", 1)
    objective: Any = build(TINY, 0)
    with torch.no_grad():
        figures = objective.validate()
    small, large = objective.pairs.held_out(0, 4)
    bicubic = np.asarray(Image.fromarray(small).resize((64, 64), Image.Resampling.BICUBIC))
    assert figures["x4_bicubic_psnr"] == pytest.approx(psnr(bicubic, large))


def test_the_shipped_recipe_is_valid_and_its_network_is_small(tmp_path: Path) -> None:
    recipe = read_recipe(RECIPE)
    objective = build(recipe.objective, recipe.seed)
    assert 2 * sum(weight.numel() for weight in objective.module.parameters()) < 500_000


def test_crops_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="crop can be at most 32"):
        build(TINY | {"crop": 33}, 0)
