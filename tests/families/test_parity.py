"""Every family against diffusers' own pipelines: the same weights, noise, words and levels, to 1e-3.

Where their schedulers are odd (levels cut to integers, shifted twice, an end short of clean), their levels
are taken, and ours stay right.
"""

import dataclasses
import warnings

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import tiny_families
from staged import decoded, stage_latents

import pictor
from pictor.core.levels import CLEAN, Level

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*has no effect:pictor.PictorWarning"),
]

STEPS, SCALE, SIDE = 6, 3.0, 64
PROMPT, NEGATIVE = "a red apple on the left of a blue cat", "green"


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tiny_families.build(name, tmp_path_factory.mktemp("families") / name)
        return made[name]

    return folder


@pytest.fixture
def opened(folder_of, monkeypatch):
    """Their pipeline of a class, and our studio, on the same folder."""
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    # Their encoders draw from a distribution, ours take its mode.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())

    def both(name, kind):
        folder = folder_of(name)
        absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3-without-t5" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = getattr(diffusers, kind).from_pretrained(folder, torch_dtype=torch.float32, **absent)
        theirs.set_progress_bar_config(disable=True)
        return theirs, pictor.load(folder)

    return both


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
    from pictor.tasks.registry import all_verbs

    usual = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "size": (SIDE, SIDE), "count": 2}
    return all_verbs()[verb].request(**{**usual, **wish, "guidance_scale": SCALE})


def start_of(theirs, levels, noise, solver):
    """Their first state in our coordinates."""
    if solver != "euler":
        return noise
    return noise * np.float32(float(theirs.scheduler.init_noise_sigma) * levels[0].alpha)


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


PICTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)).resize(
    (SIDE, SIDE), Image.Resampling.BICUBIC
)
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


CONTROLLED = [
    ("sd1", "StableDiffusionControlNetPipeline", 0.0),
    ("sd1", "StableDiffusionControlNetPipeline", 0.7),
    ("xl", "StableDiffusionXLControlNetPipeline", 1.0),
]


@pytest.mark.parametrize(("name", "kind", "weight"), CONTROLLED)
def test_pictures_that_follow_shapes(folder_of, tmp_path, name, kind, weight):
    folder = folder_of(name)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(4)
        unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
        network = diffusers.ControlNetModel.from_unet(unet, conditioning_channels=3)
        for parameter in network.parameters():  # its last layers begin as zeros
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
        network.save_pretrained(tmp_path / "control")
        theirs = getattr(diffusers, kind).from_pretrained(
            folder, controlnet=network, torch_dtype=torch.float32
        )
    theirs.set_progress_bar_config(disable=True)
    studio = pictor.load(folder, controlnet=tmp_path / "control")
    noise = noise_of(studio)
    levels = schedule(theirs, "ddim")
    made = theirs(
        PROMPT,
        image=PICTURE,
        controlnet_conditioning_scale=weight,
        negative_prompt=NEGATIVE,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        num_images_per_prompt=2,
        latents=torch.from_numpy(noise),
        output_type="pt",
    ).images.numpy()
    wish = request(studio, "generate", control=PICTURE, control_weight=weight)
    mine = ours(studio, wish, levels, "ddim", state=noise)
    np.testing.assert_allclose(mine, made, atol=1e-3)
    plain = ours(studio, request(studio, "generate"), levels, "ddim", state=noise)
    assert (abs(plain - mine).max() > 0.01) == (weight > 0)


def picture_adapter(folder, unet, plus):
    """An adapter's file and image encoder with random weights, as they are published."""
    import transformers

    width, seen = unet.config.cross_attention_dim, 24
    torch.manual_seed(6)
    encoder = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            projection_dim=seen,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=28,
            patch_size=14,
        )
    )
    encoder.save_pretrained(folder / "image_encoder")
    if plus:
        projection = diffusers.models.embeddings.IPAdapterPlusImageProjection(
            embed_dims=32, output_dims=width, hidden_dims=64, depth=4, dim_head=64, heads=1, num_queries=4
        ).state_dict()
        parts = {
            "ln0": "0.norm1",
            "ln1": "0.norm2",
            "attn.to_q": "0.to_q",
            "attn.to_out.0": "0.to_out",
            "ff.0": "1.0",
            "ff.1.net.0.proj": "1.1",
            "ff.1.net.2": "1.3",
        }
        names = {name: name for name in ("norm_out", "proj_in", "proj_out", "latents")}
        for layer in range(4):
            names |= {f"layers.{layer}.{ours}": f"layers.{layer}.{theirs}" for ours, theirs in parts.items()}
        tensors = {}
        for ours, theirs in names.items():
            tensors |= {
                f"image_proj.{name.replace(ours, theirs)}": value
                for name, value in projection.items()
                if name.startswith(ours)
            }
        for layer in range(4):
            key, value = (projection[f"layers.{layer}.attn.to_{sign}.weight"] for sign in "kv")
            tensors[f"image_proj.layers.{layer}.0.to_kv.weight"] = torch.cat([key, value])
    else:
        tensors = {
            "image_proj.proj.weight": torch.randn(4 * width, seen) * 0.3,
            "image_proj.proj.bias": torch.zeros(4 * width),
            "image_proj.norm.weight": torch.ones(width),
            "image_proj.norm.bias": torch.zeros(width),
        }
    blocks = {"down": unet.config.block_out_channels, "up": unet.config.block_out_channels[::-1]}
    number = 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            way, _, rest = name.partition("_")
            channels = blocks[way][int(rest.split(".")[1])] if way in blocks else blocks["down"][-1]
            for part in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{number}.{part}.weight"] = torch.randn(channels, width) * 0.3
            number += 2
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "ip.safetensors")


LIKE = [
    ("sd1", "StableDiffusionPipeline", False),
    ("sd1", "StableDiffusionPipeline", True),
    ("xl", "StableDiffusionXLPipeline", False),
]


@pytest.mark.parametrize(("name", "kind", "plus"), LIKE)
def test_pictures_like_a_picture(opened, folder_of, tmp_path, name, kind, plus):
    import transformers

    theirs, _ = opened(name, kind)
    picture_adapter(tmp_path, theirs.unet, plus)
    size = {"shortest_edge": 28}
    theirs.register_modules(
        image_encoder=transformers.CLIPVisionModelWithProjection.from_pretrained(tmp_path / "image_encoder"),
        feature_extractor=transformers.CLIPImageProcessorPil(
            size=size, crop_size={"height": 28, "width": 28}
        ),
    )
    theirs.load_ip_adapter(
        str(tmp_path), subfolder="", weight_name="ip.safetensors", image_encoder_folder=None
    )
    theirs.set_ip_adapter_scale(0.7)
    studio = pictor.load(folder_of(name), ip_adapter=tmp_path / "ip.safetensors")
    noise = noise_of(studio)
    levels = schedule(theirs, "ddim")
    made = theirs(
        PROMPT,
        ip_adapter_image=PICTURE,
        negative_prompt=NEGATIVE,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        num_images_per_prompt=2,
        latents=torch.from_numpy(noise),
        output_type="pt",
    ).images.numpy()
    wish = request(studio, "generate", like=PICTURE, like_weight=0.7)
    mine = ours(studio, wish, levels, "ddim", state=noise)
    np.testing.assert_allclose(mine, made, atol=1e-3)
    without = ours(studio, request(studio, "generate"), levels, "ddim", state=noise)
    plain = pictor.load(folder_of(name))
    np.testing.assert_allclose(
        without, ours(plain, request(plain, "generate"), levels, "ddim", state=noise), atol=1e-4
    )
    assert abs(without - mine).max() > 0.01


@pytest.mark.parametrize("name", tiny_families.MAKERS)
def test_every_family_is_tried(name):
    assert name in {case[0] for case in (*TEXT, *IMAGE, *MASKED)}
