"""Diffusion in discrete steps: its noise against diffusers', its loss by hand, and pixels from end to end."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.core.noise import picture_noise
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

from diffusers import DDIMScheduler, DDPMPipeline, StableDiffusionPipeline

import pictor
from pictor.backends.export import export_folder
from pictor.core.levels import Level
from pictor.core.predictions import Mixture, x0_from_output
from pictor.evaluation.strips import denoising, noising
from pictor.families.registry import graphed_parts
from pictor.tasks.text2image import Text2Image
from pictor.training.noising import Noising, NoisingKeys, snr_weight
from pictor.training.objectives import build

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

PIXELS = {"kind": "diffusion", "size": 16, "channels": [16, 32], "attention": 1, "head_width": 8}


def lively(module: Any) -> None:
    """Fresh networks answer with next to nothing; these with numbers about 1."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in module.unet.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))


@pytest.fixture(scope="module")
def wordless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wordless") / "model"
    objective = build({**PIXELS, "prediction": "eps", "num_train_timesteps": 100}, 0)
    lively(objective.module)
    folder.mkdir()
    objective.save_draft(folder)
    return folder


@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "cosine"])
def test_noise_is_what_the_saved_scheduler_tells_diffusers(schedule: str, zero: bool, count: int) -> None:
    keys = NoisingKeys(schedule=schedule, zero_terminal_snr=zero, num_train_timesteps=count)  # type: ignore[arg-type]
    theirs = keys.scheduler(clips=True, spacing="trailing").alphas_cumprod
    torch.testing.assert_close(Noising(keys).alpha_N ** 2, theirs, rtol=2e-4, atol=1e-6)
    assert keys.path.at(keys.path.t_max).k > 10  # next to nothing of the picture is left, with 100 steps too


def test_shares_reach_every_timestep_and_no_further() -> None:
    noising = Noising(NoisingKeys(num_train_timesteps=50))
    assert noising.steps(torch.linspace(0, 1, 1001)).unique().tolist() == list(range(50))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_min_snr_weighs_the_error_of_the_picture(prediction: str) -> None:
    """However it is told: the weighted error of the prediction is min(SNR, gamma) times that of x0."""
    level = Level(0.6, 0.8, 0.0)
    x0, eps = torch.tensor([[[[0.3]]]]), torch.tensor([[[[-1.2]]]])
    noising = Noising(NoisingKeys(prediction=prediction, min_snr_gamma=0.4))  # type: ignore[arg-type]
    out = torch.tensor([[[[0.7]]]])
    made = x0_from_output(prediction, 0.6 * x0 + 0.8 * eps, out, [level])
    shaped = Mixture(*(torch.full((1, 1, 1, 1), number) for number in (0.6, 0.8)))
    expected = min((0.6 / 0.8) ** 2, 0.4) * (made - x0) ** 2
    torch.testing.assert_close(noising.error(out, x0, eps, shaped), expected.flatten())


def test_min_snr_of_a_large_gamma_is_the_snr() -> None:
    alpha, sigma = torch.tensor([0.6]), torch.tensor([0.8])
    assert float(snr_weight("eps", alpha, sigma, 100.0)) == 1.0
    assert float(snr_weight("x0", alpha, sigma, 100.0)) == pytest.approx(0.5625)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"prediction": "eps", "zero_terminal_snr": True}, "eps says nothing"),
        ({"min_snr_gamma": 5.0, "zero_terminal_snr": True}, "last timestep"),
        ({"autoencoder": "somewhere"}, "text_encoder is missing"),
        ({"empty_captions": 0.2}, "no text_encoder"),
        ({"prediction": "flow"}, "prediction"),
        ({"num_train_timesteps": 10}, "num_train_timesteps"),
    ],
)
def test_bad_recipes_are_one_error(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        build({**PIXELS, **wrong}, 0)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_the_loss_falls(prediction: str) -> None:
    torch.manual_seed(0)
    objective = build({**PIXELS, "prediction": prediction, "mix": {"places": ["white", "sky", "grass"]}}, 0)
    optimiser = torch.optim.AdamW(objective.module.parameters(), lr=3e-3)
    batch, losses = objective.batch(0, 16), []
    for _ in range(25):
        loss, _ = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]
    assert "ids" not in batch


def test_validation_knows_a_perfect_answer() -> None:
    """At each ratio the error is that of the picture: none where the network tells the truth."""
    objective = build({**PIXELS, "prediction": "x0"}, 0)
    truth: list[Any] = []
    encode = objective.encoder.forward

    def seen(image: Any) -> Any:
        truth.append(encode(image))
        return truth[-1]

    objective.encoder.forward = seen

    class Oracle(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anything = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x: Any, time: Any, ids: Any) -> Any:
            return truth[-1] + 0.5

    objective.module = Oracle()
    figures = objective.validate()
    assert set(figures) == {f"held_out_x0_mse_k{ratio}" for ratio in ("0.25", "1", "4")}
    assert all(0.05 < figure < 0.25 for figure in figures.values())  # 0.5 squared, less what is clipped


def theirs(folder: Path, noise: Any, steps: int, *, ancestral: bool, monkeypatch: Any) -> Any:
    """Pixels [H, W, 3] by diffusers' own pipeline from this noise."""
    pipe = DDPMPipeline.from_pretrained(folder)
    pipe.scheduler.set_timesteps(steps)
    x = torch.from_numpy(noise)[None]
    if not ancestral:
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, set_alpha_to_one=True)
        pipe.scheduler.set_timesteps(steps)
    drawn = iter(range(1, steps + 1))

    def fresh(shape: Any, **_: Any) -> Any:
        return torch.from_numpy(picture_noise(5, tuple(shape[1:]), step=next(drawn)))[None]

    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", fresh)
    options = {} if ancestral else {"use_clipped_model_output": True}
    for time in pipe.scheduler.timesteps:
        with torch.no_grad():
            out = pipe.unet(x, time).sample
        x = pipe.scheduler.step(out, time, x, **options).prev_sample
    return (x[0].clamp(-1, 1).permute(1, 2, 0).numpy() + 1) * 127.5


@pytest.mark.parametrize("ancestral", [True, False])
def test_diffusers_makes_the_same_picture_of_the_same_noise(
    wordless: Path, ancestral: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ho et al.'s ancestral sampling, and DDIM; estimates are clipped on both sides."""
    studio = pictor.load(wordless, backend="torch")
    solver = "ddpm" if ancestral else "ddim"
    [picture] = studio.generate(num_steps=10, solver=solver, spacing="trailing", seed=5)
    noise = picture_noise(5, (3, 16, 16), step=0)
    start = studio.bundle.path.at(99.0)
    scale = np.float32(np.hypot(start.alpha, start.sigma))
    expected = theirs(wordless, scale * noise, 10, ancestral=ancestral, monkeypatch=monkeypatch)
    assert np.asarray(expected).std() > 20
    assert np.abs(np.asarray(picture.image) - expected).max() < 1.5


def test_as_many_steps_as_in_training_pass_every_timestep(wordless: Path) -> None:
    plan = pictor.load(wordless).plan(Text2Image(num_steps=100))
    assert [level.time for level in plan.stages[0].levels[:-1]] == pytest.approx(list(range(99, -1, -1)))
    assert plan.stages[0].solver == "ddpm"


def test_graphs_make_the_same_picture(wordless: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(wordless, tmp_path / "model"))
    assert export_folder(folder, graphed_parts(folder)) == [folder / "unet" / "model.onnx"]
    one, other = (
        np.asarray(pictor.load(folder, backend=backend).generate(num_steps=4, seed=2)[0].image, int)
        for backend in ("onnx", "torch")
    )
    assert one.std() > 10
    assert np.abs(one - other).max() <= 2


def test_a_model_without_words_refuses_them(wordless: Path) -> None:
    studio = pictor.load(wordless)
    assert "text" not in studio.traits.abilities
    with pytest.raises(InputError, match="reads no words"):
        studio.generate("a red apple")


@pytest.fixture(scope="module")
def steered(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("steered") / "model"
    objective = build({**PIXELS, "text_encoder": str(tiny_folder), "num_steps": 3}, 0)
    lively(objective.module)
    folder.mkdir()
    objective.save_draft(folder)
    return folder


def test_words_steer_pixels(steered: Path) -> None:
    studio = pictor.load(steered)
    apple, other, again = (
        np.asarray(studio.generate(prompt, seed=1)[0].image, int)
        for prompt in ("a red apple", "two blue cars", "a red apple")
    )
    assert apple.shape == (16, 16, 3)
    assert (apple == again).all()
    assert np.abs(apple - other).max() > 2
    assert studio.traits.latent_stride == 1


def test_pixels_can_be_begun_with(steered: Path) -> None:
    """There is no autoencoder in between."""
    given = np.zeros((16, 16, 3), np.uint8)
    given[4:9, 3:12] = (200, 40, 30)
    studio = pictor.load(steered)
    assert (studio.bundle.autoencoder.encode(given) == given).all()
    [picture] = studio.vary(given, prompt="a red apple", amount=0.5, num_steps=4, seed=1)
    assert picture.image.size == (16, 16)


def test_latents_are_written_as_plain_stable_diffusion(tiny_folder: Path, tmp_path: Path) -> None:
    parts = {"autoencoder": str(tiny_folder / "vae"), "text_encoder": str(tiny_folder)}
    table = {**PIXELS, **parts, "size": 32, "prediction": "eps", "schedule": "scaled_linear"}
    objective = build(table, 0)
    loss, _ = objective.loss(objective.batch(0, 4))
    assert torch.isfinite(loss)
    objective.save_draft(tmp_path)
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    assert pipe.scheduler.config.prediction_type == "epsilon"
    assert not pipe.scheduler.config.clip_sample
    assert pipe("a red apple", num_inference_steps=2, height=32, width=32).images[0].size == (32, 32)
    assert pictor.load(tmp_path).traits.defaults.solver == "dpmpp_2m"


def test_a_run_goes_on_from_an_earlier_model(wordless: Path) -> None:
    onwards = build({**PIXELS, "start": str(wordless)}, 0).module.unet
    earlier = DDPMPipeline.from_pretrained(wordless).unet
    for mine, other in zip(onwards.parameters(), earlier.parameters(), strict=True):
        torch.testing.assert_close(mine, other)
    with pytest.raises(InputError, match="other channels or layers"):
        build({**PIXELS, "start": str(wordless), "channels": [32, 32]}, 0)


def test_strips_show_both_ways(steered: Path) -> None:
    studio = pictor.load(steered)
    given = np.zeros((16, 16, 3), np.uint8)
    given[:, 8:] = 255
    states = noising(studio, given, columns=5, seed=2)
    assert (states[0] == given).all()
    contrast = [float(state[:, 8:].mean() - state[:, :8].mean()) for state in states]
    assert contrast == sorted(contrast, reverse=True)
    assert abs(contrast[-1]) < 30
    wish = {"prompt": "a red apple", "num_steps": 4, "seed": 2}
    states, estimates = denoising(studio, columns=3, **wish)
    assert (states[-1] == np.asarray(studio.generate(**wish)[0].image)).all()
    assert (states[-1] == estimates[-1]).all()  # the last step ends at what is estimated
    assert len(states) == len(estimates) == 3
    assert np.abs(states[0].astype(int) - states[-1]).max() > 20
    with pytest.raises(InputError, match="columns"):
        noising(studio, given, columns=1)
