"""The tasks that begin with pictures: what they promise, and that each can be made again."""

import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

import pictor
from pictor import InputError
from pictor.engine.pictures import sequence
from pictor.engine.reproduce import compare, reproduce
from pictor.tasks.registry import all_tasks, all_verbs

SIZE = (64, 48)


@pytest.fixture(scope="module")
def studio(vivid_folder):
    return pictor.load(vivid_folder, backend="onnx")


@pytest.fixture(autouse=True)
def _without_torch(monkeypatch):
    """Every task runs on the base installation."""
    for name in ("torch", "diffusers", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def mask():
    made = Image.new("L", SIZE, 0)
    ImageDraw.Draw(made).ellipse((20, 10, 44, 38), fill=255)
    return made


def pixels(image):
    return np.asarray(image, np.int16)


def mirrored(image):
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def rotated(image):
    return image.transpose(Image.Transpose.ROTATE_180)


CALLS = {
    "text2image": lambda s, i, m: (s.generate("a cat", num_steps=2, tile="x"), {}),
    "image2image": lambda s, i, m: (s.transform(i, "a cat", num_steps=3), {"image": i}),
    "inpaint": lambda s, i, m: (s.inpaint(i, "a cat", mask=m, num_steps=2), {"image": i, "mask": m}),
    "outpaint": lambda s, i, m: (s.outpaint(i, "a cat", left=16, num_steps=2), {"image": i}),
    "vary": lambda s, i, m: (s.vary(i, num_steps=4, seed=3), {"image": i}),
    "interpolate": lambda s, i, m: (s.interpolate("a cat", "a dog", frames=3, num_steps=2), {}),
    "steer": lambda s, i, m: (s.steer(5, away="a cat", toward="a dog", num_steps=2), {}),
    "combine": lambda s, i, m: (
        s.combine(i, minus=mirrored(i), plus=rotated(i), amount=0.5, num_steps=4),
        {"image": i, "minus": mirrored(i), "plus": rotated(i)},
    ),
    "restyle": lambda s, i, m: (s.restyle(i, style="a star", prompt="a cat", num_steps=4), {"image": i}),
    "upscale": lambda s, i, m: (s.upscale(i, num_steps=4, prompt="a cat"), {"image": i}),
}


def test_every_task_is_tried_here():
    assert set(CALLS) == set(all_tasks())
    assert len(all_verbs()) == len(all_tasks())


@pytest.mark.parametrize("task", CALLS)
def test_every_picture_can_be_made_again(studio, image, mask, task):
    pictures, inputs = CALLS[task](studio, image, mask)
    for picture in (pictures[0], pictures[-1]):
        assert (picture.recipe.task, picture.recipe.backend) == (task, "onnx")
        recipe = pictor.Recipe.from_json(picture.recipe.to_json())
        assert compare(picture.image, reproduce(recipe, studio, inputs=inputs).image).identical
    if inputs:
        with pytest.raises(InputError, match="--input"):
            reproduce(pictures[0].recipe, studio)
        other = {name: mirrored(given) for name, given in inputs.items()}
        other["image"] = rotated(image)
        with pytest.raises(InputError, match="not the one"):
            reproduce(pictures[0].recipe, studio, inputs=other)


@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize("feather", [0, 4])
def test_pixels_outside_of_the_mask_stay_to_the_byte(studio, image, mask, crop, feather):
    large, large_mask = image.resize((150, 110)), mask.resize((150, 110))
    pictures = studio.inpaint(
        large, "a star", mask=large_mask, crop=crop, feather=feather, num_steps=2, count=2, seed=9
    )
    outside = np.asarray(large_mask) == 0
    for picture in pictures:
        assert picture.image.size == large.size
        np.testing.assert_array_equal(pixels(picture.image)[outside], pixels(large)[outside])
        assert abs(pixels(picture.image) - pixels(large))[~outside].max() > 8
    assert compare(pictures[0].image, pictures[1].image).maximum > 0


def test_a_small_mask_is_cropped_to(studio, image):
    large = image.resize((512, 384))
    small = Image.new("L", large.size, 0)
    ImageDraw.Draw(small).rectangle((300, 100, 330, 120), fill=255)
    plan = studio.plan(
        all_tasks()["inpaint"].request(image=large, prompt="a", mask=small, crop=True, padding=8)
    )
    left, top, right, bottom = plan.paste.box
    assert left <= 292
    assert right >= 338
    assert (right - left) * (bottom - top) < 64 * 64
    assert plan.stages[0].mask.mean() > 0.1


def test_a_soft_edge_lies_inside_of_the_mask(studio, image, mask):
    [hard] = studio.inpaint(image, "a star", mask=mask, feather=0, num_steps=2)
    [soft] = studio.inpaint(image, "a star", mask=mask, feather=8, num_steps=2)
    change = abs(pixels(soft.image) - pixels(image)).sum(2)
    full = abs(pixels(hard.image) - pixels(image)).sum(2)
    inside = np.asarray(mask) > 0
    assert change[inside].sum() < full[inside].sum()


def test_outpainting_keeps_the_picture(studio, image):
    [made] = studio.outpaint(image, "a cat", left=16, bottom=16, num_steps=2)
    assert made.image.size == (80, 64)
    np.testing.assert_array_equal(pixels(made.image)[:48, 16:], pixels(image))
    [far] = studio.outpaint(image, "a cat", zoom=2.0, num_steps=2)
    assert far.image.size == image.size
    small = image.resize((32, 24), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(pixels(far.image)[12:36, 16:48], pixels(small))


def test_strength_goes_from_the_picture_to_the_prompt(studio, image):
    apart = [
        compare(studio.transform(image, "a cat", strength=share, num_steps=10, seed=2)[0].image, image).mean
        for share in (0.1, 0.5, 1.0)
    ]
    assert apart[0] < apart[2]


def test_strength_of_less_than_a_step_is_an_error_that_says_how_many(studio, image):
    with pytest.raises(InputError, match="Take 5 steps or more"):
        studio.transform(image, "a cat", strength=0.2, num_steps=4)
    plan = studio.plan(
        all_tasks()["image2image"].request(image=image, prompt="a", strength=0.29, num_steps=100)
    )
    assert len(plan.stages[0].levels) == 30
    for strength in (0, -1, 1.01, float("nan"), "much", True):
        with pytest.raises(InputError, match="strength"):
            studio.transform(image, "a cat", strength=strength)


def test_varying_a_picture_of_ones_own_begins_with_its_noise(studio, tmp_path):
    [picture] = studio.generate("a cat", num_steps=3, seed=4)
    file = picture.save(tmp_path / "cat.png")
    near, far = (studio.vary(file, amount=amount, seed=9)[0] for amount in (0.01, 1.0))
    assert near.recipe.prompt == "a cat"
    assert near.recipe.num_steps == 3
    assert compare(near.image, picture.image).mean < compare(far.image, picture.image).mean
    [other] = studio.generate("a cat", num_steps=3, seed=9)
    assert compare(far.image, other.image).identical
    assert compare(reproduce(near.recipe, studio, inputs={"image": file}).image, near.image).identical


def test_the_ends_of_a_way_are_the_pictures(studio):
    way = studio.interpolate("a cat", "a dog", frames=5, num_steps=2, seed=3)
    [cat], [dog] = (studio.generate(text, num_steps=2, seed=3) for text in ("a cat", "a dog"))
    assert compare(way[0].image, cat.image).identical
    assert compare(way[-1].image, dog.image).identical
    seeds = studio.interpolate(1, "2", prompt="a cat", frames=3, num_steps=2)
    for index, seed in ((0, 1), (2, 2)):
        [alone] = studio.generate("a cat", num_steps=2, seed=seed)
        assert compare(seeds[index].image, alone.image).identical
    strip = sequence(way)
    assert strip.image.width == 5 * way[0].image.width
    assert strip.film()[:3] == b"GIF"
    assert compare(strip.image, reproduce(strip.recipe, studio).image).identical


def test_between_pictures(studio, image):
    turned = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    way = studio.interpolate(image, turned, frames=3, num_steps=4, strength=0.25)
    again = reproduce(way[1].recipe, studio, inputs={"a": image, "b": turned})
    assert compare(way[1].image, again.image).identical
    with pytest.raises(InputError, match="a is a picture and b a prompt"):
        studio.interpolate(image, "a cat")
    with pytest.raises(InputError, match="prompts already"):
        studio.interpolate("a", "b", prompt="c")


def test_steering_by_the_whole_direction_is_the_other_prompt(studio):
    [moved] = studio.steer(3, away="a cat", toward="a dog", num_steps=2)
    [dog] = studio.generate("a dog", num_steps=2, seed=3)
    assert compare(moved.image, dog.image).maximum <= 1
    [back] = studio.steer("3", away="a cat", toward="a dog", amount=0, num_steps=2)
    [cat] = studio.generate("a cat", num_steps=2, seed=3)
    assert compare(back.image, cat.image).identical
    with pytest.raises(InputError, match="by its place"):
        studio.steer(3, away="a", toward="b", seed=4)
    with pytest.raises(InputError, match="no file"):
        studio.steer("missing.png", away="a", toward="b")


def test_a_style_picture_gives_its_colours(studio, image):
    red = Image.new("RGB", SIZE, (230, 20, 20))
    plain, styled = (
        studio.restyle(image, style=red, prompt="a cat", num_steps=4, amount=amount)[0]
        for amount in (0.0, 1.0)
    )
    spread = [pixels(made.image).std((0, 1)).mean() for made in (plain, styled)]
    assert spread[1] < spread[0]


def test_adding_what_is_taken_away_changes_nothing(studio, image):
    other = mirrored(image)
    how = {"prompt": "a cat", "strength": 0.25, "num_steps": 4, "seed": 3}
    plain = studio.transform(image, **how)[0].image
    same, added, taken = (
        studio.combine(image, **how, **terms)[0].image
        for terms in (
            {"minus": other, "plus": other},
            {"plus": other},
            {"minus": other},
        )
    )
    assert compare(plain, same).maximum <= 1
    assert compare(plain, added).maximum > 8
    assert compare(added, taken).maximum > 8
    recipe = studio.combine(image, plus=other, num_steps=4)[0].recipe
    assert set(recipe.inputs) == {"image", "plus"}
    assert recipe.parameters == {}


def test_sums_that_cannot_be_made(studio, image):
    with pytest.raises(InputError, match="nothing to add"):
        studio.combine(image)
    for wrong in (
        {"amount": 11},
        {"amount": 0},
        {"amount": float("nan")},
        {"strength": 0},
        {"plus": "missing.png"},
    ):
        with pytest.raises(InputError) as error:
            studio.combine(image, **{"plus": image, **wrong})
        assert error.value.param == next(iter(wrong))


@pytest.mark.parametrize("scale", [2, 4])
def test_enlarging(studio, image, scale):
    [made] = studio.upscale(image, scale=scale, num_steps=4, strength=0.25)
    assert made.image.size == (SIZE[0] * scale, SIZE[1] * scale)
    for wrong in (3, "2", True, 0):
        with pytest.raises(InputError, match="scale"):
            studio.upscale(image, scale=wrong)


@pytest.mark.parametrize("tile", ["x", "y", "xy"])
def test_seamless_pictures_continue_across_their_sides(studio, tile):
    steps = {"num_steps": 4, "seed": 6}
    plain = pixels(studio.generate("a cat", **steps)[0].image)
    tiled = pixels(studio.generate("a cat", tile=tile, **steps)[0].image)

    def jump(array, axis):
        """How much larger the step across the seam is than others."""
        inside = abs(np.diff(array, axis=axis)).mean()
        return abs(np.take(array, 0, axis) - np.take(array, -1, axis)).mean() / inside

    for sign, axis in (("y", 0), ("x", 1)):
        if sign in tile:
            assert jump(tiled, axis) < jump(plain, axis)
            assert jump(tiled, axis) < 2.0
    with pytest.raises(InputError, match="tile"):
        studio.generate("a cat", tile="yx")


def test_what_a_model_cannot_do_is_named(vivid_folder, image):
    import dataclasses

    studio = pictor.load(vivid_folder)
    poor = dataclasses.replace(studio.traits, abilities=frozenset({"text", "whole"}))
    studio.bundle = dataclasses.replace(studio.bundle, traits=poor)
    with pytest.raises(InputError, match="cannot transform: it does not take in a picture"):
        studio.transform(image, "a cat")


def test_the_command_line_has_every_verb(vivid_folder, image, mask, tmp_path, capsys):
    from pictor.cli import main

    image.save(tmp_path / "a.png")
    mask.save(tmp_path / "m.png")
    model = ["--model", str(vivid_folder), "--steps", "2"]
    out = str(tmp_path / "made.png")
    file, hidden = str(tmp_path / "a.png"), str(tmp_path / "m.png")
    assert main(["inpaint", file, "a cat", "--mask", hidden, "--crop", "--out", out, *model]) == 0
    assert main(["reproduce", out, "--model", str(vivid_folder), "--input", f"image={file}"]) == 2
    assert "mask" in capsys.readouterr().err
    inputs = ["--input", f"image={file}", "--input", f"mask={hidden}"]
    assert main(["reproduce", out, "--model", str(vivid_folder), *inputs]) == 0
    assert main(["steer", "3", "--from", "a cat", "--to", "a dog", "--out", out, "--json", *model]) == 0
    captured = capsys.readouterr().out
    record = json.loads(captured[captured.index("{") :])
    assert record["recipe"]["parameters"]["toward"] == "a dog"
    assert main(["interpolate", "a cat", "a dog", "--frames", "3", "--out", out, *model]) == 0
    names = sorted(path.name for path in tmp_path.glob("made*"))
    assert names == ["made-000.png", "made-001.png", "made-002.png", "made.gif", "made.png"]
    assert main(["inpaint", file, "a cat", *model]) == 2
    assert "--mask" in capsys.readouterr().err
