"""The engine against diffusers' own pipeline: the same weights, latents, embeddings and levels."""

import dataclasses
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from staged import decoded, plain_stage, stage_latents

from pictor.core.levels import CLEAN, Level
from pictor.core.plan import Conditions
from pictor.families.registry import open_bundle

# diffusers' schedulers and numpy 2 have not met yet.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = 6
CONDITIONS = Conditions(prompt="a red apple", negative_prompt="blue", guidance_scale=3.0)


@pytest.fixture(scope="module")
def pipeline(vivid_folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = diffusers.StableDiffusionPipeline.from_pretrained(vivid_folder, torch_dtype=torch.float32)
    made.set_progress_bar_config(disable=True)
    return made


def flow(pipeline):
    """The folder's own scheduler, and its levels with the integer times that it tells the network."""
    scheduler = diffusers.DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(STEPS)
    pairs = zip(scheduler.sigmas[:-1].double().tolist(), scheduler.timesteps.tolist(), strict=True)
    return scheduler, [*(Level(1.0 - sigma, sigma, float(time)) for sigma, time in pairs), CLEAN]


def vp(pipeline):
    """Plain Stable Diffusion: noise prediction on a variance preserving path."""
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False
    )
    scheduler.set_timesteps(STEPS)
    alphas = scheduler.alphas_cumprod.double()[scheduler.timesteps].tolist()
    pairs = zip(alphas, scheduler.timesteps.tolist(), strict=True)
    return scheduler, [*(Level(a**0.5, (1.0 - a) ** 0.5, float(time)) for a, time in pairs), CLEAN]


@pytest.mark.parametrize(("make", "prediction", "name"), [(flow, "flow", "euler"), (vp, "eps", "ddim")])
def test_decoded_pictures_agree(pipeline, vivid_folder, monkeypatch, make, prediction, name):
    scheduler, levels = make(pipeline)
    latents = np.random.default_rng(5).standard_normal((2, 16, 8, 8)).astype(np.float32)
    monkeypatch.setattr(pipeline, "scheduler", scheduler)
    theirs = pipeline(
        CONDITIONS.prompt,
        negative_prompt=CONDITIONS.negative_prompt,
        guidance_scale=CONDITIONS.guidance_scale,
        num_inference_steps=STEPS,
        num_images_per_prompt=2,
        latents=torch.from_numpy(latents),
        output_type="pt",
    ).images.numpy()
    bundle = open_bundle(vivid_folder)
    bundle = dataclasses.replace(bundle, traits=dataclasses.replace(bundle.traits, prediction=prediction))
    stage = plain_stage(CONDITIONS, latents, levels, name, bundle.traits.latent_stride)
    ours = decoded(bundle, stage_latents(bundle, stage, [0, 1]))
    assert ours.std() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
