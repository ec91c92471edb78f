"""The embedded model itself: what the README and its card promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from staged import decoded, plain_stage, stage_latents

import pictor
from pictor.core.levels import CLEAN, Level
from pictor.core.plan import Conditions
from pictor.data.picturebook import Picturebook
from pictor.data.picturebook.vocabulary import THINGS
from pictor.evaluation.training_book import TrainingBook, training_book

FOLDER = Path(pictor.__file__).parent / "embedded"
COLOURS = {
    "red": (222, 32, 38),
    "green": (52, 168, 60),
    "blue": (36, 96, 224),
    "yellow": (252, 216, 32),
}


@pytest.fixture(scope="module")
def studio() -> pictor.Studio:
    return pictor.load()


def test_tracked_weights_stay_small() -> None:
    components = Path(__file__).parents[1] / "recipes"
    weights = [*FOLDER.rglob("*.safetensors"), *components.rglob("*.safetensors")]
    assert sum(file.stat().st_size for file in weights) < 40e6


def test_the_card_names_what_a_user_needs() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for word in ("corpus", "recipe", "hardware", "limits", "Open Font License", "picturebook-cpu"):
        assert word.lower() in card.lower(), word


def test_it_says_what_it_can_be_asked() -> None:
    """Its own part of the picturebook, which `pictor evaluate` keeps to."""
    mix = training_book(FOLDER).mix
    assert len(mix.things) == 102
    assert not set(mix.things) - {thing.name for thing in THINGS}
    assert training_book(FOLDER) != TrainingBook()


def test_the_same_seed_gives_the_same_bytes(studio: pictor.Studio, tmp_path: Path) -> None:
    files = []
    for number in range(2):
        path = tmp_path / f"{number}.png"
        pictor.load().generate("a red apple", seed=11)[0].save(path)
        files.append(path.read_bytes())
    assert files[0] == files[1]


def test_a_picture_of_a_batch_is_the_picture_alone(studio: pictor.Studio) -> None:
    batch = studio.generate("一只蓝色的猫", seed=40, count=5)
    for number, picture in enumerate(batch):
        alone = studio.generate("一只蓝色的猫", seed=40 + number)[0]
        difference = np.abs(np.asarray(picture.image, int) - np.asarray(alone.image, int))
        assert difference.max() <= 2


@pytest.mark.parametrize("language", ["a {en} balloon on a white background", "白色背景上的一个{zh}气球"])
@pytest.mark.parametrize("colour", COLOURS)
def test_the_named_colour_is_seen(studio: pictor.Studio, language: str, colour: str) -> None:
    """Of four balloons at least three have the middle that was asked for."""
    zh = {"red": "红色的", "green": "绿色的", "blue": "蓝色的", "yellow": "黄色的"}
    right = 0
    for picture in studio.generate(language.format(en=colour, zh=zh[colour]), seed=0, count=4):
        pixels = np.asarray(picture.image, float).reshape(-1, 3)
        object_ = pixels[np.ptp(pixels, axis=1) > 70]
        if len(object_):
            middle = np.median(object_, axis=0)
            near = min(COLOURS, key=lambda name: float(np.linalg.norm(middle - COLOURS[name])))
            right += near == colour
    assert right >= 3


def test_diffusers_makes_the_same_picture() -> None:
    """Plain StableDiffusionPipeline, its own scheduler, from the same latents: to 1e-3."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    from pictor.families.registry import open_bundle

    pipe = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    steps, scale = 8, 3.0
    bundle = open_bundle(FOLDER)
    side = bundle.traits.defaults.size[0] // bundle.traits.latent_stride
    shape = (2, bundle.traits.latent_channels, side, side)
    latents = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    theirs = pipe(
        "a blue cat on grass",
        negative_prompt="red",
        guidance_scale=scale,
        num_inference_steps=steps,
        num_images_per_prompt=2,
        latents=torch.from_numpy(latents),
        output_type="pt",
    ).images.numpy()
    # Their scheduler starts just short of pure noise and cuts times to integers: its levels are taken.
    pairs = zip(pipe.scheduler.sigmas[:-1].double().tolist(), pipe.scheduler.timesteps.tolist(), strict=True)
    levels = [*(Level(1.0 - sigma, sigma, float(time)) for sigma, time in pairs), CLEAN]
    conditions = Conditions(prompt="a blue cat on grass", negative_prompt="red", guidance_scale=scale)
    stage = plain_stage(conditions, latents, levels, "euler", bundle.traits.latent_stride)
    ours = decoded(bundle, stage_latents(bundle, stage, [0, 1]))
    assert ours.std() > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_its_enlarger_comes_nearer_than_bicubic(studio: pictor.Studio) -> None:
    """Pictures of its own, made small and enlarged again."""
    from PIL import Image

    def error(image: Image.Image, whole: Image.Image) -> float:
        return float(np.square(np.asarray(image, float) - np.asarray(whole, float)).mean())

    for prompt in ("a red apple on grass", "a yellow car on a white background"):
        whole = studio.generate(prompt, seed=1)[0].image
        small = whole.resize((64, 64), Image.Resampling.BICUBIC)
        [large] = studio.upscale(small, scale=2)
        assert large.image.size == whole.size
        bicubic = small.resize(whole.size, Image.Resampling.BICUBIC)
        assert error(large.image, whole) < 0.95 * error(bicubic, whole)


def test_two_objects_stand_as_the_prompt_says(studio: pictor.Studio) -> None:
    """The colours of an apple and a car, on the sides where they belong."""
    for left, right, prompt in (
        ("red", "blue", "a red apple left of a blue car"),
        ("blue", "red", "a red apple right of a blue car"),
    ):
        made = studio.generate(prompt, seed=0, count=4)
        right_way = 0
        for picture in made:
            pixels = np.asarray(picture.image, float)
            near = [np.square(pixels - COLOURS[name]).sum(2) < 90**2 for name in (left, right)]
            if all(mask.any() for mask in near):
                first, second = (float(np.nonzero(mask)[1].mean()) for mask in near)
                right_way += first < second
        assert right_way >= 3, prompt


def test_it_tells_what_renders_show_in_both_languages(studio: pictor.Studio) -> None:
    try:
        book = Picturebook(128, 0, mix=training_book(FOLDER).mix)
    except pictor.InputError as error:
        pytest.skip(str(error))
    right = 0
    scenes = (book.scene(2_100_000_000 + number) for number in range(200))
    alone = [(number, scene) for number, scene in enumerate(scenes) if len(scene.items) == 1][:24]
    for number, scene in alone:
        picture = book.draw(scene, 2_100_000_000 + number)
        [found] = studio.describe(picture, top=1)
        [same] = studio.describe(picture, top=1, language="zh")
        assert (found.thing, found.colour, found.place) == (same.thing, same.colour, same.place)
        right += found.thing == scene.items[0].thing
    assert right >= 0.85 * len(alone)


def test_of_candidates_the_fitting_ones_are_kept(studio: pictor.Studio) -> None:
    prompt = "a robot, pixel art"
    every = [picture.image.tobytes() for picture in studio.generate(prompt, seed=0, count=4)]
    [best] = studio.generate(prompt, seed=0, candidates=4)
    assert best.image.tobytes() in every
