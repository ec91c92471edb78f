"""Cascades: the second stage by an oracle, its crops, and both stages from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictor.core.errors import InputError, ModelError
from pictor.core.levels import vp_cosine
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

import pictor
from pictor.families.parts.cascading import SuperResolution, enlarged, shrunk
from pictor.training.objectives import build, cascade

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


def untrained(folder: Path, size: int) -> str:
    """A model of pixels that has learnt nothing."""
    folder.mkdir()
    shape = {"size": size, "channels": [16, 32], "attention": 1, "head_width": 8, "num_steps": 2}
    build({"kind": "diffusion", **shape}, 0).save_draft(folder)
    return str(folder)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A cascade over such a model."""
    base = untrained(tmp_path_factory.mktemp("base") / "model", 16)
    shape = {"patch": 1, "channels": [16, 32], "size": 32, "crop": 16, "crops": 2, "num_steps": 2}
    return {"kind": "cascade", "base": base, **shape}


def test_the_second_stage_finds_what_a_perfect_network_knows() -> None:
    """And shows it the small picture, noised as much as it is told."""
    path, rng = vp_cosine(100), np.random.default_rng(0)
    truth = rng.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
    seen = []

    def run(x: Any, time: Any, told: Any) -> Any:
        seen.append((x[:, 3:], told))
        level = path.at(float(time[0]))
        lacking = (truth - enlarged(small, 2)) / 0.25
        return (x[:, :3] * level.alpha - lacking) / level.sigma  # v, solved for what gives the truth back

    small = shrunk(truth, 2)
    options = {"path": path, "prediction": "v", "scale": 2, "multiple": 1, "spread": 0.25, "num_steps": 3}
    large = SuperResolution(run=run, augmentation=0.0, **options)(small)
    np.testing.assert_allclose(large, truth, atol=1e-4)
    assert len(seen) == 3
    np.testing.assert_allclose(seen[0][0], enlarged(small, 2), atol=0.3)
    assert float(seen[0][1][0]) == 0.0
    SuperResolution(run=run, augmentation=0.5, **options)(small)
    assert float(seen[-1][1][0]) == pytest.approx(49.5)
    assert np.abs(seen[-1][0] - enlarged(small, 2)).std() > 0.3


def answering(run: Any, **options: Any) -> SuperResolution:
    """A second stage whose network answers with x0."""
    usual = {"multiple": 1, "spread": 0.5, "augmentation": 0.1, "num_steps": 2}
    return SuperResolution(run=run, path=vp_cosine(50), prediction="x0", **(usual | options))


def test_a_picture_does_not_depend_on_its_neighbours() -> None:
    stage = answering(lambda x, time, told: x[:, 3:], scale=4)
    small = np.random.default_rng(1).uniform(-1, 1, (2, 3, 4, 6)).astype(np.float32)
    both = stage(small)
    assert both.shape == (2, 3, 16, 24)
    np.testing.assert_array_equal(both[1:], stage(small[1:]))


@pytest.mark.parametrize("patch", [1, 2, 4])
def test_what_is_saved_paints_as_what_learns(table: dict[str, Any], tmp_path: Path, patch: int) -> None:
    """By the same network, of squares of pixels of the size that it learnt with."""
    torch.manual_seed(0)
    objective = build({**table, "patch": patch, "prediction": "x0", "augmentation": 0.0}, 0)
    objective.save(tmp_path)
    small = np.random.default_rng(3).uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)
    opened = pictor.load(tmp_path)
    made, expected = opened.bundle.autoencoder.enlarge(small), objective._second()(small)
    np.testing.assert_allclose(made, expected, atol=0.02)  # half of the weights' digits are kept
    assert np.abs(expected - enlarged(small, 2)).max() > 0.1


def test_crops_show_one_place_twice(table: dict[str, Any]) -> None:
    objective = build(table, 0)
    batch = objective.batch(0, 6)
    assert batch["large"].shape == batch["like"].shape == batch["eps"].shape == (6, 3, 16, 16)
    near = (batch["large"] - batch["like"]).square().mean((1, 2, 3))
    far = (batch["large"] - batch["like"].roll(2, 0)).square().mean((1, 2, 3))
    assert float(near.mean()) < 0.3 * float(far.mean())
    part = objective.batch(3, 2)
    for key, tensor in part.items():
        torch.testing.assert_close(tensor, batch[key][3:5])


def test_the_loss_falls(table: dict[str, Any]) -> None:
    torch.manual_seed(0)
    objective = build(table, 0)
    optimiser = torch.optim.AdamW(objective.module.parameters(), lr=3e-3)
    batch, losses = objective.batch(0, 8), []
    for _ in range(25):
        loss, _ = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_a_cascade_is_saved_whole_and_paints_large(
    table: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cascade, "_VALIDATION", 2)
    objective = build(table, 0)
    figures = objective.validate()
    assert set(figures) == {"psnr", "bicubic_psnr", "sharpness", "bicubic_sharpness"}
    assert figures["bicubic_psnr"] > figures["psnr"]  # it has learnt nothing
    assert figures["bicubic_sharpness"] < 1
    folder = tmp_path / "model"
    objective.save(folder)
    studio, side = pictor.load(folder), table["size"]
    wish = {"seed": 3, "num_steps": 2}
    one, again = (studio.generate(**wish)[0] for _ in range(2))
    assert one.image.size == (side, side)
    assert (np.asarray(one.image) == np.asarray(again.image)).all()
    base = pictor.load(table["base"]).generate(**wish)[0]
    assert base.image.size == (side // 2, side // 2)
    assert one.recipe.model_hash != base.recipe.model_hash
    latents = studio.bundle.autoencoder.encode(np.zeros((1, 3, side, side), np.float32))
    assert latents.shape[2] * studio.traits.latent_stride == side
    with pytest.raises(InputError, match="graph"):
        pictor.load(folder, backend="onnx")
    (folder / "pictor.json").write_text("{}")
    with pytest.raises(ModelError, match="second stage"):
        pictor.load(folder)


def test_bad_recipes_are_one_error(table: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="factor of 2, 4 or 8"):
        build({**table, "size": table["size"] + 8}, 0)
    with pytest.raises(InputError, match="empty_captions"):
        build({**table, "empty_captions": 0.2}, 0)
    with pytest.raises(InputError, match="crop"):
        build({**table, "crop": table["size"] + 16}, 0)
    with pytest.raises(InputError, match="multiple of 32"):
        build({**table, "patch": 4, "channels": [16, 16, 16, 16]}, 0)


def test_pictures_of_any_sides_are_filled_up_for_the_network(table: dict[str, Any], tmp_path: Path) -> None:
    """12x20 becomes 24x40, which is no multiple of the 16 that the network needs; and so do seams."""
    build({**table, "patch": 4, "channels": [16, 16, 16]}, 0).save(tmp_path)
    studio = pictor.load(tmp_path)
    for options in ({}, {"tile": "xy"}):
        made = studio.generate(size=(40, 24), seed=1, num_steps=2, **options)[0]
        assert made.image.size == (40, 24)
    seen = []

    def run(x: Any, time: Any, told: Any) -> Any:
        seen.append(x.shape[2:])
        return 0 * x[:, :3]

    stage = answering(run, scale=2, multiple=16, augmentation=0.0, num_steps=1)
    small = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 3, 5, 17)).astype(np.float32)
    np.testing.assert_allclose(stage(small), enlarged(small, 2), atol=1e-6)
    assert seen == [(16, 48)]


def test_the_base_may_compute_in_half(table: dict[str, Any], tmp_path: Path) -> None:
    build(table, 0).save(tmp_path)
    made = pictor.load(tmp_path, dtype="bfloat16").generate(seed=1, num_steps=1)[0]
    assert made.image.size == (table["size"],) * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"in_channels": 54},
        {"in_channels": 6e30},
        {"in_channels": "24"},
        {"block_out_channels": [16] * 40},
        {"block_out_channels": 16},
    ],
)
def test_a_damaged_second_stage_is_one_error(
    table: dict[str, Any], tmp_path: Path, wrong: dict[str, Any]
) -> None:
    build(table, 0).save(tmp_path)
    file = tmp_path / "super_resolution" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(ModelError, match="of no second stage"):
        pictor.load(tmp_path)


def test_crops_fit_the_narrowest_picture(table: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = property(lambda _: [(32, 32), (64, 16)])
    monkeypatch.setattr(type(build(table, 0).source.pictures), "sizes", sizes)
    with pytest.raises(InputError, match="at most 16"):
        build({**table, "crop": 32}, 0)
