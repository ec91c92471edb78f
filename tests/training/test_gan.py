"""The objective "gan": its losses against closed forms, one scalar for two networks, and a run end to end."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictor.cli import main
from pictor.core.errors import InputError, ModelError
from pictor.data.picturebook.font import find_font
from pictor.engine.reproduce import reproduce
from pictor.engine.studio import load

torch = pytest.importorskip("torch")

import torch.nn.functional as F

from pictor.training.kinds import recipe_of_kind
from pictor.training.loop import train
from pictor.training.objectives import build, gan
from pictor.training.objectives.gan import GanObjective, diversity, energy_distance, relativistic, slopes
from pictor.training.recipe import Optimiser, Recipe

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

MIX = {"counted": 0, "related": 0, "styled": 0, "places": ["white", "blue", "pink"]}
TINY = {"kind": "gan", "size": 32, "width": 8, "noise": 12, "mix": MIX}


def objective(**more: Any) -> GanObjective:
    torch.manual_seed(0)
    return gan.build({key: value for key, value in (TINY | more).items() if key != "kind"}, 0)


def gradients(made: GanObjective, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    made.module.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: p.grad.clone() for name, p in made.module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("style", ["r3gan", "dcgan"])
def test_one_scalar_teaches_each_network_its_own_loss_alone(style: str) -> None:
    made = objective(style=style, **({"penalty": 0} if style == "r3gan" else {}))
    batch = made.batch(0, 6)
    total, figures = made.loss(batch)
    both = gradients(made, total)

    see, real = made.module.discriminator, batch["image"].permute(0, 3, 1, 2) / 127.5 - 1
    drawn = made.module.generator(batch["noise"])
    if style == "dcgan":
        generator = -F.logsigmoid(see(drawn)).mean()
        discriminator = -F.logsigmoid(see(real)).mean() - F.logsigmoid(-see(drawn.detach())).mean()
    else:
        generator = -F.logsigmoid(see(drawn) - see(real).detach()).mean()
        discriminator = -F.logsigmoid(see(real) - see(drawn.detach())).mean()
    alone = {name: g for name, g in gradients(made, generator).items() if name.startswith("generator.")}
    made.module.zero_grad()
    others = {
        name: g for name, g in gradients(made, discriminator).items() if name.startswith("discriminator.")
    }
    assert both.keys() == alone.keys() | others.keys()
    for name, gradient in (alone | others).items():
        torch.testing.assert_close(both[name], gradient, rtol=1e-3, atol=2e-5, msg=name)
    torch.testing.assert_close(total, generator + discriminator)
    torch.testing.assert_close(figures["generator_loss"], generator.detach())


def test_losses_and_penalties_are_their_closed_forms() -> None:
    ahead, behind = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 1.0])
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(1.0))) / 2
    assert float(relativistic(ahead, behind)) == pytest.approx(expected, rel=1e-6)

    class Ball(torch.nn.Module):
        """|x|^2 / 2, whose gradient is x."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.square().sum((1, 2, 3)) / 2

    x = torch.rand(3, 3, 4, 4)
    torch.testing.assert_close(slopes(Ball(), x), x.square().sum((1, 2, 3)))


def test_the_penalties_teach_the_discriminator_by_their_weight() -> None:
    free, held = objective(penalty=0), objective(penalty=4.0)
    batch = free.batch(0, 4)
    loose, _ = free.loss(batch)
    tight, figures = held.loss(batch)
    assert float(figures["r1"]) > 0
    assert float(figures["r2"]) > 0
    torch.testing.assert_close(tight - loose, 2.0 * (figures["r1"] + figures["r2"]))
    with_penalty, without = gradients(held, tight), gradients(free, loose)
    moved = {
        name
        for name, gradient in without.items()
        if not torch.allclose(with_penalty[name], gradient, rtol=1e-4, atol=1e-7)
    }
    assert {"discriminator.body.0.weight", "discriminator.tail.weight"} <= moved
    assert not any(name.startswith("generator.") for name in moved)


def test_a_share_of_a_batch_is_penalised() -> None:
    made = objective(penalised=0.5)
    batch = made.batch(0, 4)
    real = batch["image"].permute(0, 3, 1, 2) / 127.5 - 1
    _, figures = made.loss(batch)
    torch.testing.assert_close(figures["r1"], slopes(made.module.discriminator, real[:2]).mean().detach())


def test_diversity_and_distance_know_copies() -> None:
    torch.manual_seed(0)
    real, drawn = torch.rand(2, 16, 3, 32, 32).repeat_interleave(1, 0)
    real, drawn = (F.interpolate(x[:, :, :8, :8], scale_factor=4) for x in (real, drawn))
    assert float(diversity(drawn, real)) == pytest.approx(1.0, abs=0.1)
    pairs = drawn[:8].repeat(2, 1, 1, 1)
    assert float(diversity(pairs, real)) < 1e-6
    assert float(energy_distance(drawn, real)) == pytest.approx(0.0, abs=0.02)
    assert float(energy_distance(drawn + 1, real)) > 0.5


def test_batches_are_functions_of_their_numbers() -> None:
    made = objective()
    whole, part = made.batch(0, 6), pickle.loads(pickle.dumps(made.drawer()))(4, 2)
    for name, array in part.items():
        np.testing.assert_array_equal(array, whole[name][4:])
    assert whole["image"].shape == (6, 32, 32, 3)
    assert whole["noise"].shape == (6, 12)


@pytest.mark.parametrize("style", ["r3gan", "dcgan"])
@pytest.mark.parametrize("size", [32, 64, 128])
def test_levels_fit_the_size(style: str, size: int) -> None:
    network = objective(style=style, size=size, noise=3, width=4).module
    drawn = network.generator(torch.randn(2, 3))
    assert drawn.shape == (2, 3, size, size)
    assert drawn.abs().max() <= 1
    assert network.discriminator(drawn).shape == (2,)


def test_what_penalties_are_taken_of_is_not_normalised_by_its_neighbours() -> None:
    see, image = objective().module.discriminator, torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(see(image)[:1], see(image[:1]))
    normalised = objective(style="dcgan").module.discriminator
    assert not torch.allclose(normalised(image)[:1], normalised(image[:1]))


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 48},
        {"style": "dcgan", "penalty": 1.0},
        {"penalty": 0, "penalised": 0.5},
        {"empty_captions": 0.1},
        {"generator_rate": 0},
    ],
)
def test_recipes_that_would_be_ignored_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        objective(**wrong)


def test_the_discriminator_learns_faster_than_a_still_generator() -> None:
    made = objective(generator_rate=0.5)
    assert {made.rate(name) for name, _ in made.module.named_parameters()} == {0.5, 1.0}
    optimiser = torch.optim.AdamW(made.module.discriminator.parameters(), 2e-3)
    losses = []
    for number in range(12):
        optimiser.zero_grad()
        loss, figures = made.loss(made.batch(8 * number, 8))
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(figures["discriminator_loss"]))
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


@pytest.mark.parametrize("style", ["r3gan", "dcgan"])
def test_a_run_draws_the_same_pictures_on_both_runtimes(style: str, tmp_path: Path) -> None:
    recipe = Recipe(
        name="gan",
        samples=48,
        batch_size=8,
        ema_widths=(0.1,),
        optimiser=Optimiser(learning_rate=5e-3, betas=(0.0, 0.99)),
        preview_minutes=10,
        preview_prompts=("one", "two"),
        objective=TINY | {"style": style},
    )
    outcome = train(recipe, tmp_path / "run")
    assert outcome.finished
    assert outcome.model is not None
    assert all(np.isfinite(value) for value in outcome.figures.values())
    assert len(list((tmp_path / "run" / "previews").glob("*.png"))) == 1

    graph, network = load(tmp_path / "run"), load(tmp_path / "run", backend="torch")
    assert (graph.bundle.backend, network.bundle.backend) == ("onnx", "torch")
    made = graph.generate(seed=3, count=3)
    first, second = (np.asarray(one.image, int) for one in made[:2])
    assert first.shape == (32, 32, 3)
    assert np.abs(first - second).max() > 2
    other = np.asarray(network.generate(seed=4)[0].image, int)
    assert np.abs(other - second).max() <= 1
    assert reproduce(made[1].recipe, graph).image.tobytes() == made[1].image.tobytes()

    typical = [np.asarray(one.image, int) for one in graph.generate(seed=0, count=3, temperature=0.0)]
    assert all(np.array_equal(one, typical[0]) for one in typical)
    spread = [
        np.std([np.asarray(p.image, float) for p in graph.generate(seed=0, count=6, temperature=t)], 0)
        for t in (0.05, 0.4)
    ]
    assert 0 < spread[0].mean() < spread[1].mean()
    with pytest.raises(InputError, match="reads no words"):
        graph.generate("a red apple")
    with pytest.raises(InputError):
        graph.generate(size=(64, 64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"style": ["r3gan"]},
        {"style": "other"},
        {"noise": 10**11},
        {"noise": True},
        {"channels": [64, -8]},
        {"channels": [64, 8.5]},
        {"channels": [8] * 20},
        {"channels": []},
    ],
)
def test_a_damaged_generator_is_one_error(tmp_path: Path, wrong: dict[str, Any]) -> None:
    objective().save_draft(tmp_path)
    file = tmp_path / "generator" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | wrong))
    with pytest.raises(ModelError, match="of no generator"):
        load(tmp_path)


def test_the_command_line_measures_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, report = tmp_path / "model", tmp_path / "report"
    model.mkdir()
    objective().save_draft(model)
    assert main(["evaluate", str(model), "--count", "1", "--out", str(report)]) == 0
    out = capsys.readouterr().out
    assert "16 pictures of 32x32" in out
    assert "Vendi" in out
    told = json.loads((report / "report.json").read_text())
    assert told["pictures"] == 16
    assert told["distributions"][0]["frechet"] > told["distributions"][1]["frechet"]
    assert main(["evaluate", str(model), "--count", "1", "--steps", "4"]) == 2
    assert "does not denoise" in capsys.readouterr().err


def test_what_is_kept_has_statistics_of_its_own_weights() -> None:
    """The averaged weights made none of the batches that batch normalisation remembers."""
    made = objective(style="dcgan")
    with torch.no_grad():
        for parameter in made.module.generator.head.parameters():
            parameter.mul_(30.0)
    kept = made._settled().requires_grad_(False)
    seen = torch.randn(256, 12, generator=torch.Generator().manual_seed(5))
    inside = kept.body[0](kept.head(seen).unflatten(1, (-1, 4, 4)))
    assert float(inside.mean()) == pytest.approx(0.0, abs=0.1)
    assert float(inside.std()) == pytest.approx(1.0, abs=0.1)
    assert float(made.module.generator.body[0].running_mean.abs().max()) == 0.0  # the trained one stays


def test_the_shipped_recipe_is_one(tmp_path: Path) -> None:
    recipe = recipe_of_kind("gan")
    made = build(recipe.objective, recipe.seed)
    assert sum(p.numel() for p in made.module.parameters()) < 5e6
    model = tmp_path / "model"
    model.mkdir()
    made.save_draft(model)  # type: ignore[attr-defined]
    assert json.loads((model / "pictor.json").read_text())["picturebook"]["mix"]["things"][0] == "apple"


def test_copies_of_a_picture_are_no_lack_of_variety() -> None:
    torch.manual_seed(0)
    few = torch.rand(3, 3, 8, 8)
    shown = few.repeat(4, 1, 1, 1)
    assert float(diversity(torch.rand(12, 3, 8, 8), shown)) == pytest.approx(1.0, abs=0.4)
    assert float(diversity(few[:1].repeat(12, 1, 1, 1), shown)) == 0.0
    assert float(diversity(torch.rand(2, 3, 8, 8), few[:1].repeat(2, 1, 1, 1))) == 1.0
