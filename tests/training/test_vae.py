"""The variational autoencoder of vectors: its bound, its training, its draws, what its codes tell."""

from __future__ import annotations

import itertools
import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pictor.core.errors import InputError, ModelError
from pictor.data.picturebook.font import find_font
from pictor.engine.reproduce import reproduce
from pictor.engine.studio import load

torch = pytest.importorskip("torch")

from torch import nn

from pictor.core.plan import Drawing
from pictor.evaluation import latents
from pictor.families.bundle import Opening
from pictor.families.variational import open_with_coder
from pictor.training.kinds import recipe_of_kind
from pictor.training.loop import train
from pictor.training.objectives import build, vae
from pictor.training.recipe import Recipe, validated

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

TINY = {"kind": "vae", "size": 32, "numbers": 6, "channels": [8, 16, 16]}


def recipe(samples: int = 960, **keys: Any) -> Recipe:
    table = {"name": "tiny", "samples": samples, "batch_size": 16, "ema_widths": [0.05], "preview_minutes": 0}
    optimiser = {"learning_rate": 3e-3, "weight_decay": 0.0}
    return validated(Recipe, {**table, "optimiser": optimiser, "objective": TINY | keys}, "the test")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A short run and its losses."""
    folder, losses = tmp_path_factory.mktemp("vae") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vae, "_VALIDATION", 32)
        train(recipe(), folder, on_progress=lambda progress: losses.append(progress.loss))
    return folder, losses


class Linear(nn.Module):
    """The exact posterior of x = W z + b + spread * noise (Bishop 2006, equation 12.42), and its decoder."""

    def __init__(self, weight_NK: torch.Tensor, bias_N: torch.Tensor, spread: float) -> None:
        super().__init__()
        self.weight, self.bias, self.spread = weight_NK, bias_N, spread
        precision = torch.eye(weight_NK.shape[1]) + weight_NK.T @ weight_NK / spread**2
        self.covariance = precision.inverse()

    def forward(self, image: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
        mean = (image.flatten(1) - self.bias) @ self.weight @ self.covariance / self.spread**2
        code = mean + self.covariance.diagonal().sqrt() * noise
        out = (code @ self.weight.T + self.bias).view_as(image)
        return out, mean, self.covariance.diagonal().log().expand_as(mean)


def test_the_bound_is_tight_where_the_posterior_is_exact() -> None:
    spread, k = 0.4, 3
    objective: Any = build(TINY | {"spread": spread}, 0)
    numbers = 3 * 32 * 32
    generator = torch.Generator().manual_seed(1)
    # Orthogonal columns: only then the posterior's numbers are independent, as an encoder tells them.
    weight = torch.linalg.qr(torch.randn(numbers, k, generator=generator))[0] * torch.tensor([30.0, 8.0, 2.0])
    bias = torch.randn(numbers, generator=generator) * 0.1
    objective.module.network = Linear(weight, bias, spread)
    image = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8, generator=generator)
    # The likelihood is of second degree in the noise: all signs of ones give its mean exactly.
    noise = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=k)))
    batch = {"image": image.expand(8, -1, -1, -1), "noise": noise, "number": torch.arange(8)}
    loss, figures = objective.loss(batch)
    loss = loss.detach()
    exact = torch.distributions.LowRankMultivariateNormal(bias, weight, torch.full((numbers,), spread**2))
    x = (image.permute(0, 3, 1, 2).float() / 127.5 - 1).flatten()
    assert float(loss) == pytest.approx(-float(exact.log_prob(x)) / numbers, rel=1e-5)
    assert float(figures["elbo"]) == pytest.approx(-float(loss))
    objective.module.network.covariance *= 1.5  # of a worse posterior it is lower
    assert float(objective.loss(batch)[0].detach()) > float(loss) + 1e-5


def test_divergence_is_that_of_draws_and_of_the_library() -> None:
    mean, log_variance = torch.tensor([0.7, -2.0, 0.0]), torch.tensor([-1.0, 0.5, 0.0])
    told = vae.divergences(mean, log_variance)
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    p = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
    torch.testing.assert_close(told, torch.distributions.kl_divergence(q, p))
    torch.manual_seed(0)
    z = q.sample((200_000,))
    torch.testing.assert_close(told, (q.log_prob(z) - p.log_prob(z)).mean(0), atol=0.01, rtol=0)
    again = latents.divergences(mean.numpy(), log_variance.numpy())
    np.testing.assert_allclose(again, told.numpy(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
def test_likelihoods(kind: Any) -> None:
    x, centre = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    whole = {"gaussian": torch.distributions.Normal, "laplace": torch.distributions.Laplace}[kind]
    told = vae.log_likelihood(kind, x, centre, torch.tensor([math.log(0.3)]))
    torch.testing.assert_close(told, whole(centre, 0.3).log_prob(x).sum((1, 2, 3)))


def test_gradients_flow_through_the_draw() -> None:
    """Without noise the spread of codes has no part in what is decoded; with it, it has; the mean always."""
    objective: Any = build(TINY | {"beta": 0.0}, 0)
    batch = objective.batch(0, 4)
    for noise, touched in ((torch.zeros_like(batch["noise"]), False), (batch["noise"], True)):
        objective.module.zero_grad()
        objective.loss({**batch, "noise": noise})[0].backward()
        of_mean, of_spread = objective.module.network.head.bias.grad.chunk(2)
        assert float(of_mean.abs().min()) > 0
        assert bool((of_spread != 0).all()) is touched
        assert float(objective.module.log_spread.grad.abs()) > 0


def test_beta_rises_with_the_samples_numbers() -> None:
    plain, warmed = (build(TINY | {"beta": 3.0, "warm_up": w}, 0) for w in (0, 100))
    batch: Any = plain.batch(0, 4)
    warmed.module.load_state_dict(plain.module.state_dict())
    for number, share in ((0, 0.01), (49, 0.5), (99, 1.0), (5000, 1.0)):
        at = {**batch, "number": torch.full((4,), number)}
        figures = plain.loss(at)[1]
        each, kl = 3 * 32 * 32, float(figures["kl"])
        expected = -float(figures["elbo"]) + (3.0 * share - 1) * kl / each
        assert float(warmed.loss(at)[0].detach()) == pytest.approx(expected, rel=1e-5)


def test_samples_are_functions_of_their_numbers() -> None:
    objective: Any = build(TINY, 3)
    whole, part = objective.batch(0, 6), pickle.loads(pickle.dumps(objective.drawer()))(2, 3)
    for name, array in part.items():
        np.testing.assert_array_equal(array, whole[name][2:5].numpy())
    assert float(whole["noise"].std()) == pytest.approx(1, abs=0.3)


def test_it_learns_and_draws_and_a_picture_can_be_made_again(run: tuple[Path, list[float]]) -> None:
    folder, losses = run
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    (report,) = [line["validation"] for line in lines if "validation" in line]
    assert report["psnr"] > 10
    assert report["used_numbers"] >= 1
    model, torches = load(folder), load(folder, backend="torch", device="cpu")
    assert model.bundle.backend == "onnx"
    made = model.generate(count=3, seed=5)
    pixels = [np.asarray(picture.image, np.int16) for picture in made]
    assert pixels[0].shape == (32, 32, 3)
    assert np.abs(pixels[0] - pixels[1]).mean() > 1
    np.testing.assert_array_equal(np.asarray(reproduce(made[1].recipe, model).image), pixels[1])
    np.testing.assert_array_equal(np.asarray(model.generate(seed=6)[0].image), pixels[1])
    other = np.asarray(torches.generate(seed=6)[0].image, np.int16)
    assert np.abs(other - pixels[1]).max() <= 2
    still = [np.asarray(picture.image) for picture in model.generate(count=2, seed=1, temperature=0.0)]
    np.testing.assert_array_equal(still[0], still[1])
    with pytest.raises(InputError, match="prompt"):
        model.generate("a red apple")


def test_a_stopped_run_ends_where_it_would_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vae, "_VALIDATION", 32)
    monkeypatch.setattr(vae, "export_part", lambda folder, part: None)  # whose seconds are not needed here
    short = recipe(samples=96, warm_up=64)
    train(short, tmp_path / "whole")
    stops = iter([False, False, True])
    with pytest.raises(Exception, match="--resume"):
        train(short, tmp_path / "parts", should_stop=lambda: next(stops))
    train(short, tmp_path / "parts", resume=True)
    weights = [
        tmp_path / name / "model" / "vae" / "diffusion_pytorch_model.safetensors"
        for name in ("whole", "parts")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_traversals_change_what_is_drawn(run: tuple[Path, list[float]]) -> None:
    model = run[0] / "model"
    index = json.loads((model / "model_index.json").read_text())
    _, coder = open_with_coder(model, index, Opening())
    code = np.zeros(6, np.float32)
    picture = np.asarray(latents.traversals(coder, code, [4, 1], steps=3)).astype(int)
    cells = [[picture[y : y + 32, x : x + 32] for x in (0, 34, 68)] for y in (0, 34)]
    np.testing.assert_array_equal(cells[0][1], coder.decode(code))  # the middle is where it begins
    np.testing.assert_array_equal(cells[0][1], cells[1][1])
    for row in cells:
        assert not np.array_equal(row[0], row[2])
    assert not np.array_equal(cells[0][0], cells[1][0])
    one = coder.draw(Drawing(size=(32, 32), conditions=()), [9], lambda done, total: None)[0]
    mean, log_variance = coder.encode(one)
    assert mean.shape == log_variance.shape == (6,)


def test_a_survey(run: tuple[Path, list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents, "_COUNT", 64)
    assert latents.main([str(run[0]), "--out", str(tmp_path / "seen")]) == 0
    found = json.loads((tmp_path / "seen" / "latents.json").read_text())
    assert set(found["frechet"]) == {"real", "reconstructions", "prior"}
    assert found["frechet"]["real"] < min(found["frechet"]["reconstructions"], found["frechet"]["prior"])
    assert len(found["divergence"]) == 6
    assert found["divergence"] == sorted(found["divergence"], reverse=True)
    sides = {"reconstructions": 6, "prior": 8, "traversals": 6, "ways": 5}
    for name, rows in sides.items():
        with Image.open(tmp_path / "seen" / f"{name}.png") as image:
            assert image.height == rows * 34 - 2
    assert latents.main([str(tmp_path), "--out", str(tmp_path)]) == 2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"size": 36}, "multiple of 8"),
        ({"spread": -1.0}, "above 0"),
        ({"channels": [0, 8, 8]}, "at least 1"),
        ({"empty_captions": 0.1}, "empty_captions"),
        ({"likelihood": "cauchy"}, "likelihood"),
        ({"depth": 3}, "depth"),
    ],
)
def test_bad_recipes_are_one_error(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(TINY | keys, 0)


def test_damaged_folders_are_one_error(run: tuple[Path, list[float]], tmp_path: Path) -> None:
    index = json.loads((run[0] / "model" / "model_index.json").read_text())
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "config.json").write_text('{"numbers": 0, "size": 32}')
    with pytest.raises(ModelError, match="autoencoder"):
        open_with_coder(tmp_path, index, Opening())


def test_the_recipe_is_whole() -> None:
    wished = recipe_of_kind("vae")
    assert validated(vae.Config, {k: v for k, v in wished.objective.items() if k != "kind"}, "vae").size == 64
