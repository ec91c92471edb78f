"""Every family against diffusers' own pipelines: the same weights, noise, words and levels, to 1e-3.

Where their schedulers are odd (levels cut to integers, shifted twice, an end short of clean), their levels
are taken, and ours stay right.
"""

import dataclasses

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import tiny_families
from peer import NEGATIVE, PICTURE, PROMPT, SCALE, SIDE, STEPS, noise_of, ours, request, schedule, start_of

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*has no effect:pictor.PictorWarning"),
]

TEXT = [
    ("sd1", "StableDiffusionPipeline", "ddim"),
    ("sd1", "StableDiffusionPipeline", "euler"),
    ("sd1", "StableDiffusionPipeline", "dpmpp_2m"),
    ("sd2", "StableDiffusionPipeline", "ddim"),
    ("sd2", "StableDiffusionPipeline", "euler"),
    ("sd2", "StableDiffusionPipeline", "dpmpp_2m"),
    ("xl", "StableDiffusionXLPipeline", "ddim"),
    ("xl", "StableDiffusionXLPipeline", "euler"),
    ("xl", "StableDiffusionXLPipeline", "dpmpp_2m"),
    ("sd3", "StableDiffusion3Pipeline", "flow"),
    ("sd3-without-t5", "StableDiffusion3Pipeline", "flow"),
    ("flux", "FluxPipeline", "flow"),
    ("flux-quick", "FluxPipeline", "flow"),
    ("sana", "SanaPipeline", "flow"),
]


@pytest.mark.parametrize(("name", "kind", "solver"), TEXT)
def test_pictures_from_words(opened, name, kind, solver):
    theirs, studio = opened(name, kind)
    noise = noise_of(studio)
    options = {"negative_prompt": NEGATIVE}
    if name.startswith("flux"):
        options = {}
        levels = list(
            studio.plan(request(studio, "generate", num_steps=STEPS, negative_prompt="")).stages[0].levels
        )
    else:
        levels = schedule(theirs, solver)
    given = torch.from_numpy(noise)
    if name.startswith("flux"):
        given = theirs._pack_latents(given, *noise.shape)
    if name == "sana":
        options["use_resolution_binning"] = False
    count = "num_images_per_prompt"
    made = theirs(
        PROMPT,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        latents=given,
        width=SIDE,
        height=SIDE,
        output_type="pt",
        **{count: 2},
        **options,
    ).images.numpy()
    wish = request(studio, "generate", **({"negative_prompt": ""} if name.startswith("flux") else {}))
    if name == "flux-quick":  # without guidance among its inputs theirs has none
        wish = dataclasses.replace(wish, guidance_scale=1.0)
    start = start_of(theirs, levels, noise, solver)
    np.testing.assert_allclose(ours(studio, wish, levels, solver, state=start), made, atol=1e-3)


def test_flux_spaces_its_levels_as_diffusers_does(opened):
    theirs, studio = opened("flux", "FluxPipeline")
    seen = []

    def note(pipe, index, time, kwargs):
        seen.append((float(pipe.scheduler.sigmas[index]), float(time)))
        return kwargs

    theirs(PROMPT, num_inference_steps=STEPS, width=96, height=SIDE, callback_on_step_end=note)
    plan = studio.plan(
        request(studio, "generate", num_steps=STEPS, size=(96, SIDE), count=1, negative_prompt="")
    )
    mine = [(level.sigma, level.time) for level in plan.stages[0].levels[:-1]]
    np.testing.assert_allclose(mine, seen, rtol=1e-5)


def test_an_empty_negative_prompt_of_xl_is_zeros(opened):
    theirs, studio = opened("xl", "StableDiffusionXLPipeline")
    noise = noise_of(studio, 1)
    levels = schedule(theirs, "ddim")
    made = theirs(
        PROMPT,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        latents=torch.from_numpy(noise),
        width=SIDE,
        height=SIDE,
        output_type="pt",
    ).images.numpy()
    wish = request(studio, "generate", count=1, negative_prompt="")
    np.testing.assert_allclose(ours(studio, wish, levels, "ddim", state=noise), made, atol=1e-3)


MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[16:48, 8:40] = 255

IMAGE = [
    ("sd1", "StableDiffusionImg2ImgPipeline", "ddim"),
    ("sd1", "StableDiffusionImg2ImgPipeline", "euler"),
    ("sd2", "StableDiffusionImg2ImgPipeline", "dpmpp_2m"),
    ("xl", "StableDiffusionXLImg2ImgPipeline", "euler"),
    ("xl-refiner", "StableDiffusionXLImg2ImgPipeline", "ddim"),
    ("sd3", "StableDiffusion3Img2ImgPipeline", "flow"),
]


def drawn(monkeypatch, theirs, noise):
    """Let their pipeline draw this noise."""
    import sys

    module = sys.modules[type(theirs).__module__]
    monkeypatch.setattr(module, "randn_tensor", lambda *args, **kwargs: torch.from_numpy(noise))


@pytest.mark.parametrize(("name", "kind", "solver"), IMAGE)
def test_pictures_from_pictures(opened, monkeypatch, name, kind, solver):
    theirs, studio = opened(name, kind)
    noise = noise_of(studio, 1)
    levels = schedule(theirs, solver)
    drawn(monkeypatch, theirs, noise)
    made = theirs(
        PROMPT,
        image=PICTURE,
        strength=0.5,
        negative_prompt=NEGATIVE,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        output_type="pt",
    ).images.numpy()
    wish = request(studio, "transform", image=PICTURE, strength=0.5, num_steps=STEPS, count=1)
    last = levels[STEPS - STEPS // 2 :]
    np.testing.assert_allclose(ours(studio, wish, last, solver, noise=noise), made, atol=1e-3)


MASKED = [
    ("sd1", "StableDiffusionInpaintPipeline", "ddim", 1.0),
    ("sd1", "StableDiffusionInpaintPipeline", "euler", 1.0),
    ("sd1", "StableDiffusionInpaintPipeline", "dpmpp_2m", 0.5),
    ("sd1-inpaint", "StableDiffusionInpaintPipeline", "ddim", 1.0),
    ("sd1-inpaint", "StableDiffusionInpaintPipeline", "euler", 0.5),
    ("xl", "StableDiffusionXLInpaintPipeline", "ddim", 0.5),
    ("xl-inpaint", "StableDiffusionXLInpaintPipeline", "ddim", 1.0),
]


@pytest.mark.parametrize(("name", "kind", "solver", "strength"), MASKED)
def test_parts_of_pictures(opened, monkeypatch, name, kind, solver, strength):
    theirs, studio = opened(name, kind)
    noise = noise_of(studio, 1)
    levels = schedule(theirs, solver)
    drawn(monkeypatch, theirs, noise)
    made = theirs(
        PROMPT,
        image=PICTURE,
        mask_image=Image.fromarray(MASK),
        strength=strength,
        negative_prompt=NEGATIVE,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        width=SIDE,
        height=SIDE,
        output_type="pt",
    ).images.numpy()
    wish = request(studio, "inpaint", image=PICTURE, mask=MASK, strength=strength, num_steps=STEPS, count=1)
    last = levels[STEPS - int(STEPS * strength) :]
    if strength == 1.0:
        mine = ours(studio, wish, last, solver, state=start_of(theirs, levels, noise, solver))
    else:
        mine = ours(studio, wish, last, solver, noise=noise)
    np.testing.assert_allclose(mine, made, atol=1e-3)


@pytest.mark.parametrize("name", tiny_families.MAKERS)
def test_every_family_is_tried(name):
    assert name in {case[0] for case in (*TEXT, *IMAGE, *MASKED)}
