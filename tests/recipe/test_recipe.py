"""Recipes survive the way into a file and back, and files from elsewhere are not trusted."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictor import InputError, Recipe
from pictor.core.recipe import Parameters

RECIPE = Recipe(
    prompt="a red apple",
    negative_prompt="blur",
    seed=7,
    solver="dpmpp_2m",
    spacing="karras",
    num_steps=20,
    guidance_scale=4.5,
    width=64,
    height=128,
    model_name="first, light",
    model_hash="0123456789abcdef",
    version="0.1.0",
    backend="onnx",
    dtype="float32",
)


@given(
    prompt=st.text(),
    negative=st.text(),
    seed=st.integers(0, 2**64 - 1),
    guidance=st.floats(0, 1e6),
    inputs=st.dictionaries(st.text(), st.text()),
)
def test_json_round_trip(prompt, negative, seed, guidance, inputs):
    recipe = Recipe(
        **{
            **json.loads(
                RECIPE.to_json(), object_hook=lambda d: {k: v for k, v in d.items() if k != "format"}
            ),
            "prompt": prompt,
            "negative_prompt": negative,
            "seed": seed,
            "guidance_scale": guidance,
            "inputs": inputs,
        }
    )
    assert recipe.to_json().isascii()
    assert Recipe.from_json(recipe.to_json()) == recipe


def test_keys_of_newer_versions_are_passed_over():
    record = {**json.loads(RECIPE.to_json()), "mood": "bright"}
    assert Recipe.from_json(json.dumps(record)) == RECIPE


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", "[" * 100_000],
)
def test_no_recipe(text):
    with pytest.raises(InputError, match="recipe"):
        Recipe.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", 3),
        ("seed", "7"),
        ("seed", True),
        ("seed", -1),
        ("num_steps", 2.5),
        ("guidance_scale", float("nan")),
        ("guidance_scale", "4"),
        ("layout", "poster"),
        ("inputs", {"mask": 3}),
        ("width", None),
    ],
)
def test_wrong_types_are_named(name, value):
    record = {**json.loads(RECIPE.to_json()), name: value}
    with pytest.raises(InputError, match=name):
        Recipe.from_json(json.dumps(record))


def test_parameters_text():
    assert RECIPE.to_parameters() == (
        "a red apple\n"
        "Negative prompt: blur\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 4.5, Seed: 7, Size: 64x128, "
        'Model hash: 0123456789, Model: "first, light", Version: pictor 0.1.0'
    )


def test_parameters_of_elsewhere():
    found = Parameters.from_text(
        "masterpiece, <lora:x:0.8>\nsecond line: yes\nNegative prompt: bad, worse\nand worst\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model hash: 6ce0161689, "
        'Lora hashes: "x: 1a2b, y: 3c4d", Hires upscaler: Latent (nearest-exact), Version: v1.9.4'
    )
    assert found.prompt == "masterpiece, <lora:x:0.8>\nsecond line: yes"
    assert found.negative_prompt == "bad, worse\nand worst"
    assert found.settings["Sampler"] == "Euler a"
    assert found.settings["Lora hashes"] == "x: 1a2b, y: 3c4d"
    assert found.settings["Version"] == "v1.9.4"


def test_a_text_without_settings_is_all_prompt():
    found = Parameters.from_text("a cat\non a mat: red, blue")
    assert (found.prompt, found.negative_prompt, dict(found.settings)) == (
        "a cat\non a mat: red, blue",
        "",
        {},
    )


words = st.text(string.ascii_letters + "红 ,:\"'()", min_size=1).map(str.strip).filter(bool)


@given(
    prompt=words,
    negative=st.one_of(st.just(""), words),
    values=st.lists(st.text(string.printable, min_size=1), min_size=3, max_size=6),
)
def test_parameters_round_trip(prompt, negative, values):
    settings = {f"Key {number}": value for number, value in enumerate(values)}
    written = Parameters(prompt=prompt, negative_prompt=negative, settings=settings)
    assert Parameters.from_text(written.to_text()) == written


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 9}, "format '9'"),
        ({"guidance_scale": 10**400}, "guidance_scale"),
        ({"count": 1000}, "1000 pictures in a picture"),
        ({"count": 0, "layout": "strip"}, "0 pictures in a strip"),
    ],
)
def test_what_cannot_be_followed_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        Recipe.from_json(json.dumps({**json.loads(RECIPE.to_json()), **changes}))


@pytest.mark.parametrize("text", ["a" * 300_000, "a" + " " * 300_000 + "b", "ab: " * 75_000])
def test_long_texts_are_read_once(text):  # reading them from every letter would take hours
    assert Parameters.from_text(text).prompt == text.strip()
