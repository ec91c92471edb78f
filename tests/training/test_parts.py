"""The pieces of training against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pictor.core.errors import InputError

torch = pytest.importorskip("torch")

from pictor.training.ema import WeightAverage, width_to_exponent
from pictor.training.linear_code import fit_linear_code, install_linear_code
from pictor.training.recipe import Recipe, read_recipe, validated
from pictor.training.schedule import rate_factor

RECIPES = sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))


def test_rate_rises_holds_and_falls() -> None:
    factors = [rate_factor(seen, 1000, 0.1, 0.3) for seen in range(0, 1001, 50)]
    assert 0 < factors[0] < 0.01
    assert factors[2:15] == [1.0] * 13
    assert factors[-1] == 0.0
    assert factors[17] == pytest.approx(0.5)
    assert rate_factor(0, 10, 0.0, 0.0) == 1.0


@pytest.mark.parametrize("width", [0.05, 0.1, 0.2])
def test_average_has_the_promised_width(width: float) -> None:
    """The weight that step s keeps is read off by averaging indicator sequences."""
    steps, module = 400, torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.zero_()
    average = WeightAverage(module, width)
    kept = np.zeros(steps)
    beta = [(1 - 1 / step) ** (average.gamma + 1) for step in range(1, steps + 1)]
    for s in range(steps):
        kept[s] = (1 - beta[s]) * np.prod(beta[s + 1 :])
    times = np.arange(1, steps + 1) / steps
    mean = (kept * times).sum()
    assert kept.sum() == pytest.approx(1.0)
    assert np.sqrt((kept * (times - mean) ** 2).sum()) == pytest.approx(width, rel=0.05)
    for step in range(1, steps + 1):  # the class itself, on weight = step / steps
        with torch.no_grad():
            module.weight.fill_(step / steps)
        average.update(module, step)
    assert float(average.tensors["weight"]) == pytest.approx(mean, rel=1e-4)
    assert width_to_exponent(0.1) == pytest.approx(6.94, abs=0.01)


def test_swap_twice_changes_nothing() -> None:
    module = torch.nn.Linear(3, 2)
    average = WeightAverage(module, 0.1)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    average.update(module, 1)
    with torch.no_grad():
        module.weight.add_(1.0)
    average.swap(module)
    torch.testing.assert_close(module.weight, before["weight"])
    average.swap(module)
    torch.testing.assert_close(module.weight, before["weight"] + 1.0)


@pytest.mark.parametrize(("factor", "channels"), [(8, 32), (4, 12)])
def test_the_encoder_is_the_linear_code(factor: int, channels: int) -> None:
    from diffusers import AutoencoderTiny

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (20, 4, 4, 3))
    pictures = np.kron(noise, np.ones((1, 8, 8, 1))).astype(np.uint8) // 2 + rng.integers(
        0, 99, (20, 32, 32, 3), dtype=np.uint8
    )
    code = fit_linear_code(pictures, factor, channels, whitening=0.6, spread=0.4)
    levels = factor.bit_length()
    network = AutoencoderTiny(
        latent_channels=channels,
        encoder_block_out_channels=(48,) * levels,
        num_encoder_blocks=(0,) * levels,
        decoder_block_out_channels=(8,) * levels,
        num_decoder_blocks=(1,) * levels,
    )
    install_linear_code(network.encoder, code)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1
    side = 32 // factor
    patches = (
        x.reshape(20, 3, side, factor, side, factor)
        .permute(0, 2, 4, 1, 3, 5)
        .reshape(20, side, side, -1)
        .double()
    )
    expected = (patches - torch.from_numpy(code.mean)) @ torch.from_numpy(code.weight).T
    with torch.no_grad():
        coded = network.encoder(x)
    torch.testing.assert_close(coded, expected.permute(0, 3, 1, 2).float(), atol=2e-5, rtol=1e-4)
    assert float(coded.std()) == pytest.approx(0.4, rel=0.02)
    # The reported quality is that of the least-squares inverse.
    flat = expected.reshape(-1, channels)
    back = flat @ torch.linalg.pinv(torch.from_numpy(code.weight)).T + torch.from_numpy(code.mean)
    error = float((back - patches.reshape(len(back), -1)).square().mean())
    assert code.psnr == pytest.approx(10 * np.log10(4 / error), abs=0.02)


def test_every_shipped_recipe_parses() -> None:
    assert RECIPES
    for path in RECIPES:
        recipe = read_recipe(path)
        assert recipe.samples >= recipe.batch_size
        module = __import__(f"pictor.training.objectives.{recipe.objective['kind']}", fromlist=["Config"])
        options = {key: value for key, value in recipe.objective.items() if key != "kind"}
        validated(module.Config, options, str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = 'a'\nsamples = 10\nsize = 3\n[objective]\nkind='autoencoder'", "size"),
        ("name = 'a'\nsamples = -1\n[objective]\nkind='autoencoder'", "samples"),
        ("name = 'a/b'\nsamples = 1\n[objective]\nkind='autoencoder'", "name"),
        ("name = 'a'\nsamples = 1\n[optimiser]\nrate = 1\n[objective]", "optimiser.rate"),
        ("name = ", "cannot be read"),
    ],
)
def test_a_bad_recipe_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(path)


def test_an_unknown_objective_names_the_known() -> None:
    from pictor.training.objectives import build

    with pytest.raises(InputError, match=r"one of autoencoder, .*contrastive, .*rectified_flow"):
        build({"kind": "magic"}, 0)
    assert Recipe(name="a", samples=1, objective={}).ema_widths == (0.10, 0.05)
