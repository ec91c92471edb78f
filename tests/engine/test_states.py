"""Where pictures begin and what holds them, with an autoencoder that changes nothing."""

import dataclasses

import numpy as np
import pytest
from staged import stage_latents

from pictor.core.geometry import slerp
from pictor.core.levels import CLEAN, FlowPath, Level
from pictor.core.noise import picture_noise
from pictor.core.plan import Conditions, Defaults, Layout, Origin, Stage, Style, Tiles, Traits
from pictor.core.spacings import uniform
from pictor.engine.states import States, coarse
from pictor.families.bundle import Bundle

SIDE = 16
TRAITS = Traits(
    name="oracle",
    abilities=frozenset({"text", "whole", "encode"}),
    path=FlowPath(),
    prediction="x0",
    latent_channels=3,
    latent_stride=1,
    stride=2,
    min_side=2,
    max_side=64,
    max_tokens=8,
    defaults=Defaults(num_steps=4, guidance_scale=1.0, solver="euler", spacing="uniform", size=(8, 8)),
)


def bundle(network, **traits):
    identity = type("Identity", (), {"decode": lambda _, x: x, "encode": lambda _, x: x})()
    return Bundle(
        traits=dataclasses.replace(TRAITS, **traits),
        network=network,
        autoencoder=identity,
        encode_prompt=lambda text, chunks=1, size=None, negative=False: {"text": np.zeros(1, np.float32)},
        count_chunks=lambda text: 1,
        prepare=lambda: None,
        hash_weights=lambda: "0" * 64,
        backend="onnx",
        dtype="float32",
    )


def stage(count=1, levels=None, side=SIDE, **more):
    return Stage(
        size=(side, side),
        latent_shape=(3, side, side),
        conditions=(Conditions(prompt="", guidance_scale=1.0),) * count,
        solver="euler",
        levels=tuple(levels or uniform(FlowPath(), 4)),
        **more,
    )


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def signed(picture):
    return picture.transpose(2, 0, 1).astype(np.float32) / 127.5 - 1


def constant(value):
    return lambda x, time, conditions: np.full_like(x, value)


def test_a_stage_begins_with_its_origin_noised(picture):
    seen = []

    def network(x, time, conditions):
        seen.append(x.copy())
        return x

    level = Level(0.6, 0.4, 400.0)
    origin = Origin(pictures=(picture,), between=((0, 0, 0.0),))
    stage_latents(bundle(network), stage(levels=[level, CLEAN], origin=origin), [7])
    noise = picture_noise(7, (3, SIDE, SIDE))
    np.testing.assert_allclose(seen[0][0], 0.6 * signed(picture) + 0.4 * noise, atol=1e-6)
    only_held = dataclasses.replace(origin, begins=False)
    stage_latents(bundle(network), stage(levels=[level, CLEAN], origin=only_held), [7])
    np.testing.assert_allclose(seen[1][0], np.hypot(0.6, 0.4) * noise, atol=1e-6)


def test_the_way_between_pictures_is_an_arc(picture):
    other = picture[::-1].copy()
    origin = Origin(pictures=(picture, other), between=((0, 1, 0.0), (0, 1, 0.3), (0, 1, 1.0)))
    states = States(stage(3, levels=[CLEAN], origin=origin), bundle(constant(0)), [0, 0, 0])
    expected = [slerp(signed(picture), signed(other), t) for t in (0.0, 0.3, 1.0)]
    np.testing.assert_allclose(states.start(range(3), None, 0), np.stack(expected), atol=1e-6)
    np.testing.assert_allclose(states.start(range(1, 3), None, 0), np.stack(expected[1:]), atol=1e-6)


def test_pictures_are_added_with_weights(picture):
    others = [picture[::-1].copy(), picture[:, ::-1].copy()]
    origin = Origin(pictures=(picture, *others), sums=((1.0, -0.5, 0.5), (1.0, -1.0, 1.0)))
    states = States(stage(2, levels=[CLEAN], origin=origin), bundle(constant(0)), [0, 0])
    a, b, c = (signed(one) for one in (picture, *others))
    expected = np.stack([a - 0.5 * b + 0.5 * c, a - b + c])
    np.testing.assert_allclose(states.start(range(2), None, 0), expected, atol=1e-6)
    np.testing.assert_allclose(states.start(range(1, 2), None, 0), expected[1:], atol=1e-6)


def test_what_the_mask_does_not_cover_ends_as_it_was_and_moves_along_its_noise(picture):
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[4:9, 4:9] = 1.0
    states = []

    def network(x, time, conditions):
        states.append((x.copy(), time[0] / 1000))
        return np.full_like(x, 0.25)

    origin = Origin(pictures=(picture,), between=((0, 0, 0.0),), begins=False)
    made = stage_latents(bundle(network), stage(origin=origin, mask=mask), [5])[0]
    keep = mask == 0
    np.testing.assert_allclose(made[:, keep], signed(picture)[:, keep], atol=1e-6)
    np.testing.assert_allclose(made[:, ~keep], 0.25, atol=1e-6)
    noise = picture_noise(5, (3, SIDE, SIDE))
    for x, t in states[1:]:
        expected = (1 - t) * signed(picture) + t * noise
        np.testing.assert_allclose(x[0][:, keep], expected[:, keep], atol=1e-5)


def test_networks_made_for_inpainting_see_mask_and_hidden_picture(picture):
    seen = []

    def network(x, time, conditions):
        seen.append(conditions["beside"].copy())
        return np.zeros_like(x)

    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[:8] = 1.0
    origin = Origin(pictures=(picture,), between=((0, 0, 0.0),) * 2, begins=False)
    made = stage_latents(bundle(network, sees_mask=True), stage(2, origin=origin, mask=mask), [0, 1])
    assert seen[0].shape == (2, 4, SIDE, SIDE)
    np.testing.assert_array_equal(seen[0][0, 0], mask)
    np.testing.assert_array_equal(seen[0][0, 1:, :8], 0.0)
    np.testing.assert_allclose(seen[0][0, 1:, 8:], signed(picture)[:, 8:])
    np.testing.assert_array_equal(made, 0.0)  # as trained: nothing else holds the picture


def test_held_layouts_have_the_coarse_shades_of_the_origin(picture):
    origin = Origin(pictures=(picture,), between=((0, 0, 0.0),))
    free, half, held = (
        stage_latents(
            bundle(constant(0.9)),
            stage(origin=origin, layout=Layout(cells=4, until=until)),
            [1],
        )[0]
        for until in (0.0, 0.5, 1.0)
    )
    wanted = coarse(signed(picture), 4)
    np.testing.assert_allclose(coarse(held, 4), wanted, atol=1e-5)
    np.testing.assert_allclose(free, 0.9, atol=1e-5)
    assert abs(coarse(half, 4) - wanted).max() > 0.1


def test_coarse_means():
    plane = np.arange(30, dtype=np.float32).reshape(1, 5, 6)
    means = coarse(plane, 4)
    np.testing.assert_allclose(means[0, :4, :4], plane[0, :4, :4].mean())
    np.testing.assert_allclose(means[0, 4, 4:], plane[0, 4, 4:].mean())
    assert means.shape == plane.shape


def test_a_style_gives_mean_and_spread(picture):
    made = stage_latents(
        bundle(lambda x, time, conditions: np.tanh(x)),
        stage(style=Style(picture=picture, amount=1.0)),
        [1],
    )[0]
    target = signed(picture)
    np.testing.assert_allclose(made.mean((1, 2)), target.mean((1, 2)), atol=1e-3)
    np.testing.assert_allclose(made.std((1, 2)), target.std((1, 2)), atol=1e-2)


def test_pieces_are_seen_at_their_size_and_merge():
    sizes = []

    def network(x, time, conditions):
        sizes.append(x.shape[2:])
        return np.tanh(x)

    tiles = Tiles(size=(8, 8), overlap=4)
    made = stage_latents(bundle(network), stage(tiles=tiles), [1])
    whole = stage_latents(bundle(network), stage(), [1])
    assert set(sizes[: -len(uniform(FlowPath(), 4)) + 1]) == {(8, 8)}
    np.testing.assert_allclose(made, whole, atol=1e-5)


def test_seamless_pictures_are_seen_continued():
    def network(x, time, conditions):
        # What a convolution with zeros beyond the sides does.
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        return (padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2]) / 3

    noise = np.random.default_rng(2).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    rolled = np.roll(noise, (5, 3), (2, 3))
    both = [
        stage_latents(bundle(network), stage(wrap=(True, True), noise=start), [0])
        for start in (noise, rolled)
    ]
    np.testing.assert_allclose(np.roll(both[0], (5, 3), (2, 3)), both[1], atol=1e-5)
    plain = [stage_latents(bundle(network), stage(noise=start), [0]) for start in (noise, rolled)]
    assert abs(np.roll(plain[0], (5, 3), (2, 3)) - plain[1]).max() > 0.1


def test_arcs_keep_the_spread_of_noise():
    a, b = (picture_noise(seed, (4, 32, 32)) for seed in (1, 2))
    assert abs(slerp(a, b, 0.5).std() - 1) < 0.02
    np.testing.assert_array_equal(slerp(a, b, 0.0), a)
    np.testing.assert_array_equal(slerp(a, b, 1.0), b)
    np.testing.assert_allclose(slerp(a, a, 0.4), a, atol=1e-6)
    np.testing.assert_allclose(slerp(a, -a, 0.5), 0.0, atol=1e-6)
    np.testing.assert_allclose(slerp(0 * a, b, 0.5), b / 2, atol=1e-6)
