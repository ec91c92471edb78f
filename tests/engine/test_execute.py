"""The engine on a model that is known exactly: batches, noise, guidance, progress, cancellation."""

import dataclasses

import numpy as np
import pytest

from pictor import Cancelled, InputError, PictorError
from pictor.core.levels import CLEAN, FlowPath, Level, VPPath
from pictor.core.noise import picture_noise
from pictor.core.pixels import to_pixels
from pictor.core.plan import Conditions, Defaults, Plan, Stage, Traits
from pictor.core.spacings import uniform
from pictor.engine.execute import execute
from pictor.families.bundle import Bundle

SHAPE = (3, 4, 4)
TRAITS = Traits(
    name="oracle",
    abilities=frozenset({"text", "whole", "encode"}),
    path=FlowPath(),
    prediction="x0",
    latent_channels=3,
    latent_stride=1,
    stride=1,
    min_side=1,
    max_side=64,
    max_tokens=8,
    defaults=Defaults(num_steps=4, guidance_scale=3.0, solver="euler", spacing="uniform", size=(4, 4)),
)


class Oracle:
    """Data of one colour a prompt: the ideal denoiser answers with it. Keeps what it was asked."""

    def __init__(self, answer=None):
        self.batches = []
        self.prompts = []
        self.answer = answer or (lambda x, time, colour: np.broadcast_to(colour, x.shape).astype(np.float32))

    def network(self, x, time, conditions):
        self.batches.append((x.copy(), time.copy()))
        return self.answer(x, time, conditions["colour"][:, :, None, None])

    def encode_prompt(self, text, *, chunks=1, size=None, negative=False):
        self.prompts.append(text)
        return {"colour": np.full(3, {"": 0.0, "light": 0.5, "dark": -0.5}[text], np.float32)}

    def bundle(self, **traits):
        identity = type("Identity", (), {"decode": lambda _, x: x, "encode": lambda _, x: x})()
        return Bundle(
            traits=dataclasses.replace(TRAITS, **traits),
            network=self.network,
            autoencoder=identity,
            encode_prompt=self.encode_prompt,
            count_chunks=lambda text: 1,
            prepare=lambda: None,
            hash_weights=lambda: "0" * 64,
            backend="onnx",
            dtype="float32",
        )


def plan(seeds=(0,), *, guidance=1.0, levels=None, solver="euler", negative="", size=(4, 4), noise=None):
    stage = Stage(
        size=size,
        latent_shape=SHAPE,
        conditions=(Conditions(prompt="light", negative_prompt=negative, guidance_scale=guidance),)
        * len(seeds),
        solver=solver,
        levels=tuple(levels or uniform(FlowPath(), 4)),
        noise=noise,
    )
    return Plan(task="text2image", spacing="uniform", num_steps=4, seeds=tuple(seeds), stages=(stage,))


@pytest.mark.parametrize(
    ("guidance", "negative", "value", "rows", "prompts"),
    [
        (1.0, "", 0.5, 1, ["light"]),
        (0.0, "dark", -0.5, 1, ["dark"]),
        (1.5, "", 0.75, 2, ["light", ""]),
        (1.25, "dark", 0.75, 2, ["light", "dark"]),
    ],
)
def test_guidance(guidance, negative, value, rows, prompts):
    oracle = Oracle()
    [made] = execute(plan(guidance=guidance, negative=negative), oracle.bundle())
    assert np.unique(made.pixels).tolist() == [round((value + 1) / 2 * 255)]
    assert [len(x) for x, _ in oracle.batches] == [rows] * 4
    assert oracle.prompts == sorted(prompts)


def test_starting_noise_and_times():
    oracle = Oracle()
    execute(plan([3, 4]), oracle.bundle())
    x, time = oracle.batches[0]
    np.testing.assert_array_equal(x, np.stack([picture_noise(3, SHAPE), picture_noise(4, SHAPE)]))
    assert [batch[1][0] for batch in oracle.batches] == [1000.0, 750.0, 500.0, 250.0]
    assert time.dtype == np.float64


def test_noise_at_a_first_level_that_is_not_pure_has_the_variance_of_the_data_as_well():
    oracle = Oracle()
    execute(plan(levels=[Level(0.6, 0.3, 300.0), CLEAN]), oracle.bundle())
    x, _ = oracle.batches[0]
    np.testing.assert_allclose(x[0], np.hypot(0.6, 0.3) * picture_noise(0, SHAPE), rtol=1e-6)


def test_given_latents_are_the_starting_noise():
    oracle = Oracle()
    start = np.random.default_rng(0).standard_normal((2, *SHAPE)).astype(np.float32)
    execute(plan([0, 1], noise=start), oracle.bundle())
    np.testing.assert_array_equal(oracle.batches[0][0], start)


def test_edm_scales_its_input_and_a_learnt_ratio_comes_back():
    oracle = Oracle(answer=lambda x, time, colour: np.zeros_like(x))
    level = Level(1.0, 2.0, 0.1)
    execute(plan(levels=[level, CLEAN]), oracle.bundle(prediction="edm", sigma_data=0.5))
    x, _ = oracle.batches[0]
    np.testing.assert_allclose(x[0], picture_noise(0, SHAPE) * np.hypot(1, 2) / np.hypot(2.0, 0.5), rtol=1e-5)


@pytest.mark.parametrize("solver", ["euler", "ddpm", "dpmpp_2m_sde", "unipc"])
def test_a_picture_of_a_batch_is_the_picture_alone(solver):
    # A network that answers nonlinearly to its input, so that wrong noise or history would show.
    def bundle():
        return Oracle(answer=lambda x, time, colour: np.tanh(x + colour).astype(np.float32)).bundle()

    together = execute(plan(range(5, 16), solver=solver, guidance=2.0), bundle())
    for index in (0, 3, 8, 10):
        [alone] = execute(plan([5 + index], solver=solver, guidance=2.0), bundle())
        np.testing.assert_array_equal(together[index].pixels, alone.pixels)


def test_batches_bound_memory():
    oracle = Oracle()
    execute(plan(range(19)), oracle.bundle())
    assert [len(x) for x, _ in oracle.batches[::4]] == [8, 8, 3]
    oracle = Oracle()
    execute(plan(range(3), size=(512, 512)), oracle.bundle())
    assert [len(x) for x, _ in oracle.batches[::4]] == [1, 1, 1]


def test_progress_counts_steps_of_all_batches():
    seen = []
    execute(plan(range(9), solver="heun"), Oracle().bundle(), on_progress=seen.append)
    assert [progress.done for progress in seen] == list(range(1, 15))
    assert {progress.total for progress in seen} == {14}


@pytest.mark.parametrize("allowed", [0, 2, 4])
def test_cancelling_stops_before_the_next_step(allowed):
    oracle = Oracle()
    with pytest.raises(Cancelled) as caught:
        execute(plan(), oracle.bundle(), should_stop=lambda: len(oracle.batches) >= allowed)
    assert len(oracle.batches) == allowed
    assert caught.value.exit_code == 130


def test_frames_are_the_estimates_of_each_step():
    oracle = Oracle(answer=lambda x, time, colour: np.tanh(x).astype(np.float32))
    made = execute(plan([1, 2]), oracle.bundle(), frames=True)
    assert [len(one.frames) for one in made] == [4, 4]
    for step, (x, _) in enumerate(oracle.batches):
        for row in (0, 1):
            np.testing.assert_array_equal(made[row].frames[step], to_pixels(np.tanh(x))[row])
    np.testing.assert_array_equal(made[0].frames[-1], made[0].pixels)


def test_a_second_stage_starts_from_the_first_noised_again():
    oracle = Oracle(answer=lambda x, time, colour: np.tanh(x).astype(np.float32))
    first = plan([7])
    level = Level(0.5, 0.5, 500.0)
    again = dataclasses.replace(first.stages[0], levels=(level, CLEAN))
    execute(dataclasses.replace(first, stages=(first.stages[0], again)), oracle.bundle())
    result = np.tanh(oracle.batches[3][0])
    x, _ = oracle.batches[4]
    fresh = picture_noise(7, SHAPE, step=5)
    np.testing.assert_allclose(x[0], 0.5 * result[0] + 0.5 * fresh, atol=1e-6)


def test_variance_preserving_paths_start_from_plain_noise():
    oracle = Oracle()
    path = VPPath((0.9, 0.5, 0.1))
    execute(plan(levels=uniform(path, 3)), oracle.bundle(path=path))
    np.testing.assert_allclose(oracle.batches[0][0][0], picture_noise(0, SHAPE), rtol=1e-6)


def test_pixels():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 5.0], np.float32).reshape(1, 1, 1, 5).repeat(3, axis=1)
    pixels = to_pixels(values)
    assert pixels.shape == (1, 1, 5, 3)
    assert pixels[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_numbers_that_are_no_picture_are_an_error():
    oracle = Oracle(lambda x, time, colour: np.full_like(x, np.nan))
    with pytest.raises(PictorError, match="overflowed"):
        execute(plan(), oracle.bundle())


def test_more_than_memory_holds_is_refused_at_once():
    oracle = Oracle()
    with pytest.raises(InputError, match="without frames"):
        execute(plan(range(1000), size=(1024, 1024)), oracle.bundle())
    with pytest.raises(InputError, match="4 frames"):
        execute(plan(range(200), size=(1024, 1024)), oracle.bundle(), frames=True)
    assert oracle.batches == []
