"""The autoencoder of latent diffusion: its losses, its adversary, and a denoiser that begins on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

import pictor
from pictor.evaluation import latents
from pictor.training.kinds import recipe_of_kind
from pictor.training.loop import train
from pictor.training.objectives import autoencoder_kl, build
from pictor.training.parts import encode, open_autoencoder
from pictor.training.patch_critic import PatchCritic
from pictor.training.planes import planes
from pictor.training.recipe import Recipe, validated

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

TINY = {"kind": "autoencoder_kl", "size": 32, "channels": [8, 8, 16], "latents": 5}
ADVERSARY = {"after": 64, "channels": 8, "levels": 2, "weight": 0.7}
EMBEDDED = Path(pictor.__file__).parent / "embedded"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A short run without an adversary, and its losses."""
    folder, losses = tmp_path_factory.mktemp("grid") / "run", []
    table = {"name": "tiny", "samples": 400, "batch_size": 8, "ema_widths": [0.05], "objective": TINY}
    table["optimiser"] = {"learning_rate": 4e-3, "weight_decay": 0.0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autoencoder_kl, "_VALIDATION", 32)
        patch.setattr(autoencoder_kl, "_MEASURED", 64)
        patch.setattr(autoencoder_kl, "export_part", lambda folder, part: None)  # ten seconds
        recipe = validated(Recipe, table, "the test")
        train(recipe, folder, on_progress=lambda progress: losses.append(progress.loss))
    return folder, losses


def test_it_learns_and_its_codes_have_unit_spread(run: tuple[Path, list[float]]) -> None:
    folder, losses = run
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    autoencoder = open_autoencoder(folder / "model").float()
    image = planes(build(TINY, 0).batch(64, 32)["image"])  # type: ignore[attr-defined]
    assert float(encode(autoencoder, image).std()) == pytest.approx(1, rel=0.1)


def test_a_denoiser_begins_on_it(run: tuple[Path, list[float]]) -> None:
    table = {"kind": "rectified_flow", "size": 32, "channels": [32, 32], "text_encoder": str(EMBEDDED)}
    objective: Any = build({**table, "autoencoder": str(run[0] / "model")}, 0)
    batch = objective.batch(0, 2)
    assert batch["eps"].shape == (2, 5, 8, 8)
    loss = objective.loss(batch)[0].detach()
    assert float(loss) == pytest.approx(2, abs=0.7)  # two unit variances, of which nothing is known


def test_a_survey_of_a_grid(
    run: tuple[Path, list[float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latents, "_COUNT", 64)
    found = latents.survey(run[0] / "model", tmp_path)
    assert found.divergence == []
    assert found.frechet["real"] < found.frechet["reconstructions"]
    assert (tmp_path / "reconstructions.png").is_file()
    assert json.loads((run[0] / "model" / "pictor.json").read_text())["defaults"]["size"] == [32, 32]


def test_before_its_time_the_adversary_changes_nothing() -> None:
    plain, contested = (build(TINY | more, 0) for more in ({}, {"adversary": ADVERSARY}))  # type: Any
    contested.module.autoencoder.load_state_dict(plain.module.autoencoder.state_dict())
    for first, same in ((0, True), (24, True), (32, False), (64, False)):
        batch = plain.batch(first, 8)
        apart = contested.loss(batch)[0] - plain.loss(batch)[0]
        assert (float(apart.detach().abs()) < 1e-6) is same
        contested.module.zero_grad()
        contested.loss(batch)[0].backward()
        told = [parameter.grad for parameter in contested.module.critic.parameters()]
        assert all(grad is not None for grad in told)
        assert any(bool(grad.any()) for grad in told) is not same


def test_the_adversary_learns_before_it_is_heeded() -> None:
    plain, contested = (build(TINY | more, 0) for more in ({}, {"adversary": ADVERSARY}))  # type: Any
    contested.module.autoencoder.load_state_dict(plain.module.autoencoder.state_dict())
    for first, same in ((40, True), (64, False)):
        batch = plain.batch(first, 8)
        gradients = []
        for objective in (plain, contested):
            objective.module.zero_grad()
            objective.loss(batch)[0].backward()
            gradients.append([one.grad.clone() for one in objective.module.autoencoder.parameters()])
        assert all(torch.allclose(one, other) for one, other in zip(*gradients, strict=True)) is same


def test_each_of_both_networks_learns_from_its_own_loss() -> None:
    """The autoencoder from what the critic makes of its pictures, the critic from the hinge alone."""
    objective: Any = build(TINY | {"adversary": ADVERSARY}, 0)
    batch = objective.batch(100, 4)
    image, critic = planes(batch["image"]), objective.module.critic
    autoencoder = objective.module.autoencoder

    def decoded() -> torch.Tensor:
        codes = autoencoder.encode(image).latent_dist
        return autoencoder.decode(codes.mean + codes.std * batch["noise"]).sample

    of_real, of_made = critic(image), critic(decoded().detach())
    hinge = (1 - of_real).clamp_min(0).mean() + (1 + of_made).clamp_min(0).mean()
    expected = torch.autograd.grad(hinge, list(critic.parameters()))
    objective.loss(batch)[0].backward()
    for parameter, grad in zip(critic.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad, atol=1e-6, rtol=1e-4)
    # By the last layer's weights both terms weigh 1 : 0.7, which is what lambda is for.
    last = autoencoder.decoder.conv_out.weight
    plain: Any = build(TINY, 0)
    plain.module.autoencoder.load_state_dict(autoencoder.state_dict())
    plain.loss(batch)[0].backward()
    by_pixels = plain.module.autoencoder.decoder.conv_out.weight.grad
    (by_critic,) = torch.autograd.grad(-critic(decoded()).mean(), last)
    ratio = by_pixels.norm() / by_critic.norm()
    torch.testing.assert_close(last.grad, by_pixels + 0.7 * ratio * by_critic, atol=1e-6, rtol=1e-3)


def test_a_patch_is_as_large_as_is_said() -> None:
    for levels, side in ((1, 16), (2, 34), (3, 70)):
        critic = PatchCritic(8, levels)
        # Normalisation looks at the whole picture, but not at what a pixel is beside others.
        critic.layers = torch.nn.Sequential(
            *(m for m in critic.layers if not isinstance(m, torch.nn.GroupNorm))
        )
        image = torch.rand(1, 3, 144, 144, requires_grad=True)
        verdict = critic(image)
        verdict[0, 0, verdict.shape[2] // 2, verdict.shape[3] // 2].backward()
        rows = image.grad.abs().sum((0, 1, 3)).nonzero().flatten()
        assert int(rows.max() - rows.min()) + 1 == side


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"channels": [8, 8]}, "channels needs 3"),
        ({"factor": 8}, "channels needs 4"),
        ({"size": 34}, "multiple of 4"),
        ({"adversary": {"weight": 1.0}}, "adversary.after"),
        ({"empty_captions": 0.1}, "empty_captions"),
    ],
)
def test_bad_recipes_are_one_error(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(TINY | keys, 0)


def test_the_recipe_is_whole() -> None:
    wished = recipe_of_kind("autoencoder-kl").objective
    assert autoencoder_kl.Config.model_validate({k: v for k, v in wished.items() if k != "kind"}).factor == 4
