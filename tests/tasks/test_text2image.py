"""Planning checks the whole wish, and runs no model."""

import dataclasses

import numpy as np
import pytest

from pictor import InputError, PictorWarning, PlanError
from pictor.core.levels import FlowPath, vp_scaled_linear
from pictor.core.plan import Defaults, Traits
from pictor.tasks.registry import all_tasks, task_named, task_of
from pictor.tasks.text2image import Text2Image, plan_text2image
from pictor.tasks.wish import remade

TRAITS = Traits(
    name="test",
    abilities=frozenset({"text", "whole", "encode"}),
    path=FlowPath(),
    prediction="flow",
    latent_channels=16,
    latent_stride=8,
    stride=16,
    min_side=32,
    max_side=128,
    max_tokens=32,
    defaults=Defaults(num_steps=20, guidance_scale=4.0, solver="euler", spacing="uniform", size=(64, 64)),
)


def plan(**wish):
    return plan_text2image(Text2Image(**{"prompt": "a red apple", **wish}), TRAITS)


def test_defaults_are_the_models():
    made = plan()
    [stage] = made.stages
    assert made.seeds == (0,)
    assert made.spacing == "uniform"
    assert stage.size == (64, 64)
    assert stage.latent_shape == (16, 8, 8)
    assert stage.solver == "euler"
    assert len(stage.levels) == 21
    assert stage.levels[0].alpha == 0.0
    assert stage.levels[-1].sigma == 0.0
    assert stage.conditions[0].guidance_scale == 4.0
    assert stage.noise is None


def test_the_wish_is_followed():
    made = plan(
        seed=5, count=3, size=(96, 48), num_steps=7, guidance_scale=1, solver="heun", spacing="karras"
    )
    [stage] = made.stages
    assert made.seeds == (5, 6, 7)
    assert stage.latent_shape == (16, 6, 12)
    assert (len(stage.levels), stage.solver, made.spacing) == (8, "heun", "karras")
    assert stage.conditions[0].guidance_scale == 1.0


def test_zero_is_no_default():
    with pytest.warns(PictorWarning, match="guidance 0"):
        assert plan(guidance_scale=0).stages[0].conditions[0].guidance_scale == 0.0


@pytest.mark.parametrize(
    ("param", "value", "says"),
    [
        ("prompt", "", "empty"),
        ("prompt", " \n\t", "empty"),
        ("prompt", 3, "int"),
        ("prompt", "a\0b", "NUL"),
        ("prompt", "a\ud800b", "Unicode"),
        ("negative_prompt", None, "NoneType"),
        ("seed", -1, "seed"),
        ("seed", 2**64, "seed"),
        ("seed", 1.0, "seed"),
        ("num_steps", 0, "num_steps"),
        ("num_steps", -3, "num_steps"),
        ("num_steps", 20.0, "num_steps"),
        ("num_steps", True, "num_steps"),
        ("num_steps", 1001, "1000"),
        ("guidance_scale", float("nan"), "guidance_scale"),
        ("guidance_scale", float("inf"), "guidance_scale"),
        ("guidance_scale", -0.5, "guidance_scale"),
        ("guidance_scale", "4", "guidance_scale"),
        ("solver", "magic", "euler"),
        ("spacing", "even", "karras"),
        ("size", (70, 64), "multiple of 16"),
        ("size", (64, 16), "from 32 to 128"),
        ("size", (64, 144), "from 32 to 128"),
        ("size", (0, 64), "width 0"),
        ("size", 64, "size"),
        ("size", (64, 64, 3), "size"),
        ("size", (64.0, 64), "size"),
        ("count", 0, "count"),
        ("count", 1001, "count"),
        ("latents", np.zeros((4, 8, 8)), r"\[1, 16, 8, 8\]"),
        ("latents", np.full((16, 8, 8), np.nan), "finite"),
    ],
)
def test_bad_wishes_name_the_parameter(param, value, says):
    with pytest.raises(InputError, match=says) as caught:
        plan(**{param: value})
    assert caught.value.param == param


def test_seeds_of_all_pictures_must_fit():
    assert plan(seed=2**64 - 3, count=3).seeds[-1] == 2**64 - 1
    with pytest.raises(InputError, match="room for 4"):
        plan(seed=2**64 - 3, count=4)


def test_the_nearest_size_is_offered():
    with pytest.raises(InputError, match="The nearest is 128"):
        plan(size=(1000, 64))


def test_huge_numbers_are_refused_like_others():
    with pytest.raises(InputError, match="The nearest is 128"):
        plan(size=(10**400, 64))
    with pytest.raises(InputError, match="to 1000"):
        plan(guidance_scale=10**400)
    with pytest.raises(InputError, match="latents are no array"):
        plan(latents="noise")


def test_a_prediction_that_says_nothing_at_pure_noise_is_refused_while_planning():
    path = vp_scaled_linear(zero_terminal_snr=True)
    traits = dataclasses.replace(TRAITS, path=path, prediction="eps")
    with pytest.raises(PlanError):
        plan_text2image(Text2Image(prompt="a"), traits)
    plan_text2image(Text2Image(prompt="a"), dataclasses.replace(traits, prediction="v"))


def test_a_negative_prompt_without_guidance_is_not_ignored_in_silence():
    with pytest.warns(PictorWarning, match="no effect"):
        plan(negative_prompt="blur", guidance_scale=1.0)


def test_latents_are_kept_as_they_are_and_hashed():
    latents = np.random.default_rng(0).standard_normal((2, 16, 8, 8))
    made = plan(latents=latents, count=2)
    assert made.stages[0].noise.dtype == np.float32
    np.testing.assert_array_equal(made.stages[0].noise, latents.astype(np.float32))
    assert set(made.inputs) == {"latents"}


def test_tasks_are_found():
    assert set(all_tasks()) >= {"text2image"}
    assert task_of(Text2Image(prompt="a")) is task_named("text2image")
    with pytest.raises(InputError, match="text2image"):
        task_named("juggle")
    with pytest.raises(InputError):
        task_of("a red apple")


def test_a_recipe_gives_the_request_again(recipe_of):
    request = Text2Image(
        prompt="a",
        negative_prompt="b",
        seed=4,
        num_steps=3,
        guidance_scale=2.0,
        solver="heun",
        spacing="beta",
        size=(32, 64),
    )
    made = plan_text2image(request, TRAITS)
    whole_way = dataclasses.replace(request, guidance_from=0.0, guidance_until=1.0)
    assert remade(Text2Image, recipe_of(made), {}) == whole_way


def test_a_recipe_with_inputs_cannot_be_followed(recipe_of):
    made = plan(latents=np.zeros((16, 8, 8)))
    with pytest.raises(InputError, match="latents"):
        remade(Text2Image, recipe_of(made), {})


@pytest.fixture
def recipe_of():
    from pictor import Recipe

    def make(made):
        facts = {"model_name": "m", "model_hash": "h", "version": "0", "backend": "onnx", "dtype": "float32"}
        return Recipe(**made.describe(0), **facts)

    return make
