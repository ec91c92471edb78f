"""When guidance acts, and how its contrast is given back: from the wish to the batches of the network."""

import dataclasses

import numpy as np
import pytest
from test_execute import TRAITS, Oracle

from pictor import InputError, PictorWarning
from pictor.core.plan import Defaults
from pictor.engine.execute import execute
from pictor.tasks.text2image import Text2Image, plan_text2image
from pictor.tasks.wish import own_parameters, remade


def planned(traits=TRAITS, **wish):
    request = Text2Image(**{"prompt": "light", "num_steps": 10, "guidance_scale": 3.0} | wish)
    return request, plan_text2image(request, traits)


@pytest.mark.parametrize(
    ("wish", "twice"),
    [
        ({}, range(10)),
        ({"guidance_from": 0.2}, range(2, 10)),
        ({"guidance_until": 0.8}, range(8)),
        ({"guidance_from": 0.2, "guidance_until": 0.8}, range(2, 8)),
        ({"guidance_from": 0.25, "guidance_until": 0.31}, range(3, 4)),
    ],
)
@pytest.mark.parametrize("solver", ["euler", "dpmpp_2m"])
def test_steps_outside_of_the_interval_ask_for_one_estimate(wish, twice, solver):
    oracle = Oracle()
    execute(planned(solver=solver, **wish)[1], oracle.bundle())
    assert [len(x) for x, _ in oracle.batches] == [1 + (step in twice) for step in range(10)]


def test_the_interval_is_of_the_whole_way_though_a_part_is_taken():
    from pictor.tasks.image2image import Image2Image, plan_image2image

    picture = np.zeros((8, 8, 3), np.uint8)
    request = Image2Image(
        image=picture, prompt="light", num_steps=10, guidance_scale=3.0, strength=0.5, guidance_until=0.8
    )
    oracle = Oracle()
    execute(plan_image2image(request, TRAITS), oracle.bundle())
    assert [len(x) for x, _ in oracle.batches] == [2, 2, 2, 1, 1]


def test_the_models_own_interval_is_the_default_and_the_recipe_tells_it():
    own = dataclasses.replace(
        TRAITS,
        defaults=Defaults(
            num_steps=10,
            guidance_scale=3.0,
            solver="euler",
            spacing="uniform",
            size=(4, 4),
            guidance_interval=(0.3, 0.9),
        ),
    )
    request, plan = planned(own)
    assert plan.stages[0].guiding.interval == (0.3, 0.9)
    told = own_parameters(request, plan)
    assert told == {"guidance_from": 0.3, "guidance_until": 0.9}
    # The recipe makes the same plan with a model whose default is another.
    _, again = planned(**told)
    assert again.stages[0].guiding == plan.stages[0].guiding
    assert own_parameters(*planned()) == {}


def test_rescaling_gives_back_the_contrast():
    def answer(x, time, colour):
        return (x * (1 + colour)).astype(np.float32)

    class Kept:
        """An autoencoder that keeps what it is to decode."""

        def __init__(self):
            self.latents = []

        def decode(self, x):
            self.latents.append(x)
            return x

        encode = decode

    spreads = []
    for rescale in (0.0, 0.5, 1.0):
        oracle, kept = Oracle(answer), Kept()
        _, plan = planned(num_steps=1, guidance_scale=4.0, guidance_rescale=rescale)
        execute(plan, dataclasses.replace(oracle.bundle(), autoencoder=kept))
        spreads.append(float(kept.latents[0].std()))
    conditional = 1.5 * float(oracle.batches[0][0][0].std())
    assert spreads[2] == pytest.approx(conditional, rel=1e-4)
    assert spreads[0] == pytest.approx(2 * conditional, rel=1e-4)
    assert spreads[1] == pytest.approx(1.5 * conditional, rel=1e-4)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"guidance_from": -0.1}, "guidance_from is -0.1"),
        ({"guidance_until": 1.5}, "guidance_until is 1.5"),
        ({"guidance_from": 0.5, "guidance_until": 0.5}, "a beginning before the end"),
        ({"guidance_from": 0.51, "guidance_until": 0.59}, "the last 10 of 10, lies from 0.51 until 0.59"),
        ({"guidance_rescale": 2.0}, "guidance_rescale is 2.0"),
    ],
)
def test_bad_wishes(wish, words):
    with pytest.raises(InputError, match=words):
        planned(**wish)


def test_models_that_guide_themselves_say_so():
    own = dataclasses.replace(TRAITS, embeds_guidance=True)
    planned(own)
    for wish in ({"guidance_from": 0.5}, {"guidance_rescale": 0.5}):
        with pytest.raises(InputError, match="follows its guidance by itself"):
            planned(own, **wish)


def test_steps_that_an_interval_leaves_without_guidance_are_told():
    from pictor.tasks.image2image import Image2Image, plan_image2image

    picture = np.zeros((8, 8, 3), np.uint8)
    wish = {"image": picture, "prompt": "light", "num_steps": 10, "guidance_scale": 3.0, "strength": 0.5}
    with pytest.raises(InputError, match="the last 5 of 10"):
        plan_image2image(Image2Image(**wish, guidance_until=0.5), TRAITS)
    with pytest.warns(PictorWarning, match="interval of guidance has no effect"):
        planned(guidance_scale=1.0, guidance_until=0.5)
    with pytest.warns(PictorWarning, match="nothing to rescale"):
        planned(guidance_scale=1.0, guidance_rescale=0.5)


def test_a_models_own_interval_needs_no_step():
    own = dataclasses.replace(TRAITS.defaults, guidance_interval=(0.3, 0.6))
    _, plan = planned(dataclasses.replace(TRAITS, defaults=own), num_steps=1)
    assert plan.stages[0].guiding.interval == (0.0, 1.0)


def test_a_recipe_without_an_interval_means_the_whole_way():
    from types import SimpleNamespace

    recipe = SimpleNamespace(
        task="text2image",
        prompt="light",
        negative_prompt="",
        seed=0,
        num_steps=10,
        guidance_scale=3.0,
        solver="euler",
        spacing="uniform",
        width=4,
        height=4,
        count=1,
        parameters={},
        inputs={},
    )
    own = dataclasses.replace(TRAITS.defaults, guidance_interval=(0.3, 0.6))
    plan = plan_text2image(remade(Text2Image, recipe, {}), dataclasses.replace(TRAITS, defaults=own))
    assert plan.stages[0].guiding.interval == (0.0, 1.0)
