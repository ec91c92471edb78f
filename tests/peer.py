"""diffusers' pipelines beside our studio: the same noise, words and levels for both."""

import dataclasses

import diffusers
import numpy as np
from PIL import Image
from staged import decoded, stage_latents

from pictor.core.levels import CLEAN, Level
from pictor.tasks.registry import all_verbs

STEPS, SCALE, SIDE = 6, 3.0, 64
PROMPT, NEGATIVE = "a red apple on the left of a blue cat", "green"


PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)).resize(
    (SIDE, SIDE), Image.Resampling.BICUBIC
)


def noise_of(studio, count=2, seed=5):
    stride = studio.traits.latent_stride
    shape = (count, studio.traits.latent_channels, SIDE // stride, SIDE // stride)
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def schedule(theirs, solver):
    """Their scheduler of this name, its levels, and the factor between their first state and plain noise."""
    config = theirs.scheduler.config
    if solver == "flow":
        theirs.scheduler.set_timesteps(STEPS)
        sigmas, times = theirs.scheduler.sigmas.double(), theirs.scheduler.timesteps.double()
        return [
            *(Level(1 - s, s, t) for s, t in zip(sigmas[:-1].tolist(), times.tolist(), strict=True)),
            CLEAN,
        ]
    kind = {
        "ddim": diffusers.DDIMScheduler,
        "euler": diffusers.EulerDiscreteScheduler,
        "dpmpp_2m": diffusers.DPMSolverMultistepScheduler,
    }[solver]
    options = {"set_alpha_to_one": True} if solver == "ddim" else {"timestep_spacing": "linspace"}
    if solver == "dpmpp_2m":
        options["final_sigmas_type"] = "zero"
    theirs.scheduler = kind.from_config(config, **options)
    theirs.scheduler.set_timesteps(STEPS)
    times = theirs.scheduler.timesteps.double().tolist()
    if solver == "ddim":
        alphas = theirs.scheduler.alphas_cumprod.double()[theirs.scheduler.timesteps].tolist()
        return [*(Level(a**0.5, (1 - a) ** 0.5, t) for a, t in zip(alphas, times, strict=True)), CLEAN]
    sigmas = theirs.scheduler.sigmas.double().tolist()[:-1]
    pairs = [(1 / (1 + s * s) ** 0.5, s) for s in sigmas]
    return [*(Level(a, a * s, t) for (a, s), t in zip(pairs, times, strict=True)), CLEAN]


def ours(studio, request, levels, solver, *, state=None, noise=None):
    """The decoded pictures of a request on other levels, from a state or from noise."""
    plan = studio.plan(request)
    [stage] = plan.stages
    if state is not None:
        noise = state / np.float32(np.hypot(levels[0].alpha, levels[0].sigma))
    stage = dataclasses.replace(
        stage, levels=tuple(levels), solver="euler" if solver == "flow" else solver, noise=noise
    )
    pictures = decoded(studio.bundle, stage_latents(studio.bundle, stage, plan.seeds))
    assert pictures.std() > 0.02
    assert (pictures == 0).mean() + (pictures == 1).mean() < 0.5
    return pictures


def request(studio, verb, **wish):
    usual = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "size": (SIDE, SIDE), "count": 2}
    return all_verbs()[verb].request(**{**usual, **wish, "guidance_scale": SCALE})


def start_of(theirs, levels, noise, solver):
    """Their first state in our coordinates."""
    if solver != "euler":
        return noise
    return noise * np.float32(float(theirs.scheduler.init_noise_sigma) * levels[0].alpha)
