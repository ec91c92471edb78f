"""The public face, on a real if tiny model."""

import dataclasses
import inspect
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pictor
from pictor import Cancelled, InputError, ModelError, Recipe
from pictor.engine.files import read_picture
from pictor.engine.pictures import sheet
from pictor.engine.reproduce import compare, reproduce
from pictor.tasks.inputs import digest


@pytest.fixture(scope="module")
def studio(vivid_folder):
    return pictor.load(vivid_folder)


def test_generate(studio):
    [picture] = studio.generate("a red apple", seed=3, num_steps=4, guidance_scale=2.0, size=(64, 32))
    assert picture.image.size == (64, 32)
    assert picture.image.mode == "RGB"
    assert picture.frames == ()
    recipe = picture.recipe
    assert (recipe.prompt, recipe.seed, recipe.num_steps, recipe.guidance_scale) == ("a red apple", 3, 4, 2.0)
    assert (recipe.width, recipe.height) == (64, 32)
    assert (recipe.solver, recipe.spacing, recipe.task) == ("euler", "uniform", "text2image")
    assert (recipe.version, recipe.backend, recipe.dtype) == (pictor.__version__, "onnx", "float32")
    assert len(recipe.model_hash) == 64


def test_the_same_seed_gives_the_same_bytes(studio, vivid_folder, tmp_path):
    first, second = (maker.generate("a cat", num_steps=3) for maker in (studio, pictor.load(vivid_folder)))
    one, two = first[0].save(tmp_path / "one.png"), second[0].save(tmp_path / "two.png")
    assert one.read_bytes() == two.read_bytes()
    assert compare(first[0].image, studio.generate("a cat", num_steps=3, seed=1)[0].image).maximum > 0


def test_pictures_of_a_batch_are_the_pictures_alone(studio):
    together = studio.generate("a blue star", seed=10, count=3, num_steps=4)
    assert [picture.recipe.seed for picture in together] == [10, 11, 12]
    assert [picture.recipe.count for picture in together] == [1, 1, 1]
    for picture in together:
        [alone] = studio.generate("a blue star", seed=picture.recipe.seed, num_steps=4)
        assert compare(picture.image, alone.image).maximum <= 2


def test_files_carry_both_texts(studio, tmp_path):
    [picture] = studio.generate("红 apple, é", negative_prompt="dog", num_steps=2)
    path = picture.save(tmp_path / "picture.png")
    image, texts = read_picture(path)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(picture.image))
    assert Recipe.from_json(texts["pictor"]) == picture.recipe
    assert texts["parameters"].startswith("红 apple, é\nNegative prompt: dog\nSteps: 2, Sampler: Euler,")
    assert list(tmp_path.iterdir()) == [path]


def test_save_refuses_other_kinds_of_files(studio, tmp_path):
    [picture] = studio.generate("a", num_steps=1)
    for name in ("picture.jpg", "picture", "missing/picture.png"):
        with pytest.raises(InputError, match="cannot write"):
            picture.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_frames_strip_and_film(studio):
    [picture] = studio.generate("a cat", num_steps=3, frames=True)
    assert len(picture.frames) == 3
    assert compare(picture.frames[-1], picture.image).identical
    strip = picture.strip()
    assert strip.image.size == (192, 64)
    assert compare(strip.image.crop((128, 0, 192, 64)), picture.image).identical
    assert strip.recipe.layout == "strip"
    with Image.open(io.BytesIO(picture.film())) as film:
        assert film.n_frames == 3
        assert film.info["comment"].startswith(b"a cat\nSteps: 3")
    with pytest.raises(InputError, match="frames"):
        studio.generate("a cat", num_steps=1)[0].strip()


def test_sheet(studio):
    pictures = studio.generate("a cat", num_steps=1, count=3)
    made = sheet(pictures)
    assert made.image.size == (64 * 2 + 2, 64 * 2 + 2)
    assert compare(made.image.crop((0, 66, 64, 130)), pictures[2].image).identical
    assert (made.recipe.layout, made.recipe.count, made.recipe.seed) == ("grid", 3, 0)


def test_reproduce(studio):
    pictures = studio.generate("a dog", num_steps=3, seed=5, count=2, solver="ddpm", frames=True)
    for picture in (pictures[1], pictures[1].strip(), sheet(pictures)):
        assert compare(reproduce(picture.recipe, studio).image, picture.image).identical


def test_reproduce_needs_the_same_model(studio, tiny_copy):
    file = tiny_copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    [picture] = studio.generate("a dog", num_steps=1)
    with pytest.raises(ModelError, match="--model"):
        reproduce(picture.recipe, pictor.load(tiny_copy))


def test_a_recipe_with_adapters_is_not_followed_without_them(studio):
    [picture] = studio.generate("a", num_steps=1)
    recipe = dataclasses.replace(picture.recipe, adapters={"lora": "0" * 64})
    with pytest.raises(InputError, match="made with lora"):
        reproduce(recipe, studio)


def test_compare():
    one, other = Image.new("RGB", (2, 1)), Image.new("RGB", (2, 1))
    assert compare(one, other).identical
    other.putpixel((1, 0), (0, 255, 0))
    assert (compare(one, other).maximum, compare(one, other).mean) == (255, 42.5)
    assert not compare(one, Image.new("RGB", (1, 2))).identical


def test_cancel(studio):
    seen = []
    with pytest.raises(Cancelled):
        studio.generate("a", num_steps=9, on_progress=seen.append, should_stop=lambda: len(seen) == 2)
    assert [progress.done for progress in seen] == [1, 2]


def test_latents_are_injected(studio):
    from pictor.core.noise import picture_noise

    [noise] = studio.generate("a", num_steps=2, seed=8)
    [given] = studio.generate("a", num_steps=2, latents=picture_noise(8, (16, 8, 8)))
    assert compare(noise.image, given.image).identical
    latents = picture_noise(8, (16, 8, 8))
    assert given.recipe.inputs == {"latents": digest(latents[None])}


def test_several_prompts_at_once(studio):
    pictures = studio.generate(["a cat", "a (red:1.4) dog " * 20], num_steps=2, count=2, seed=6)
    assert [(p.recipe.prompt[:5], p.recipe.seed) for p in pictures] == [
        ("a cat", 6),
        ("a cat", 7),
        ("a (re", 6),
        ("a (re", 7),
    ]
    page = sheet(pictures)
    assert compare(page.image, reproduce(page.recipe, studio).image).identical


def test_a_prompt_that_changes_on_its_way(studio):
    plain, changed, other = (
        studio.generate(prompt, num_steps=4)[0].image for prompt in ("a cat", "a [cat:dog:0.5]", "a dog")
    )
    assert compare(plain, changed).maximum > 0
    assert compare(other, changed).maximum > 0
    late = studio.generate("a [cat:dog:1.0]", num_steps=4)[0].image
    assert compare(plain, late).identical


def test_verbs_have_the_signatures_of_their_requests(studio):
    parameters = inspect.signature(studio.transform).parameters
    assert list(parameters)[:2] == ["image", "prompt"]
    assert parameters["strength"].default == 0.6
    assert {"on_progress", "should_stop", "frames"} <= set(parameters)
    assert "generate" in dir(studio)
    with pytest.raises(AttributeError, match="juggle"):
        studio.juggle("a")
    with pytest.raises(TypeError):
        studio.generate("a", "b")


def test_bad_input_computes_nothing(studio):
    with pytest.raises(InputError, match="width 60"):
        studio.generate("a", size=(60, 64), on_progress=lambda _: pytest.fail("it computed"))


def test_embedded_model_is_the_default(monkeypatch, tmp_path):
    monkeypatch.setattr(pictor, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(ModelError, match="embedded"):
        pictor.load()


def test_torch_backend_makes_the_same_picture(studio, vivid_folder):
    pytest.importorskip("torch")
    [ours] = studio.generate("a red apple", num_steps=3)
    [theirs] = pictor.load(vivid_folder, backend="torch").generate("a red apple", num_steps=3)
    assert theirs.recipe.backend == "torch"
    assert compare(ours.image, theirs.image).maximum <= 2


def test_version_is_that_of_the_package():
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == pictor.__version__


def test_exports():
    for name in pictor.__all__:
        assert getattr(pictor, name) is not None
    assert set(pictor.__all__) <= set(dir(pictor))
    with pytest.raises(AttributeError):
        _ = pictor.paint


def test_importing_pictor_costs_nothing():
    code = (
        "import sys, pictor; print([m for m in ('numpy', 'onnxruntime', 'typer', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_everything_below_training_works_without_torch(vivid_folder):
    code = f"""
import pkgutil, sys
for name in ("torch", "diffusers", "transformers", "accelerate", "onnx", "onnxscript"):
    sys.modules[name] = None
import pictor
for package in ("core", "sampling", "families", "tasks", "engine", "cli"):
    parent = __import__(f"pictor.{{package}}", fromlist=["x"])
    for module in pkgutil.walk_packages(parent.__path__, f"pictor.{{package}}."):
        __import__(module.name)
[picture] = pictor.load({str(vivid_folder)!r}).generate("a red apple", num_steps=2)
print(picture.image.size)
try:
    pictor.load({str(vivid_folder)!r}, backend="torch")
except pictor.MissingExtraError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "(64, 64)"
    assert 'pip install "pictor[torch]"' in done.stdout
