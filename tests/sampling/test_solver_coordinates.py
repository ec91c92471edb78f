"""Solvers do not care about coordinates, nor break at the ends of any path."""

import itertools
import math
from dataclasses import astuple

import numpy as np
import pytest
from sampling_oracles import Gaussian, even_grid, flow, ve, vp

from pictor.core.levels import CLEAN, FlowPath, edm, vp_cosine, vp_linear, vp_scaled_linear
from pictor.core.noise import picture_noise
from pictor.core.predictions import target, x0_from_output
from pictor.core.spacings import SPACINGS, spacing
from pictor.sampling import all_solvers, sample, solver

CASES = [(name, {}) for name in all_solvers()] + [
    ("heun", {"clock": "flow"}),
    ("ddim", {"eta": 0.5}),
    ("dpmpp_2m_sde", {"eta": 0.5}),
    ("dpmpp_3m", {"as_published": True}),
    ("unipc", {"variant": "bh1"}),
    ("unipc", {"order": 1}),
]
every_case = pytest.mark.parametrize(
    ("name", "options"), CASES, ids=lambda value: str(value).replace(" ", "")
)


def end_of(levels, name, options):
    oracle = Gaussian()
    shape = oracle.mean.shape
    start = levels[0].alpha * oracle.mean + levels[0].sigma * np.array([1.0, -0.5, 0.8])
    program = solver(name)(levels, **options)
    noise = lambda row, step: picture_noise(3, shape, step=step).astype(np.float64)  # noqa: E731
    return sample(oracle.denoise, start[None], [program], noise)[0]


@every_case
def test_vp_ve_and_flow_agree_on_one_grid(name, options):
    ends = []
    for level_of in (vp, ve, flow):
        levels = even_grid(20.0, 0.1, 9, level_of)
        ends.append(end_of(levels, name, options) / levels[-1].alpha)
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-11)
    np.testing.assert_allclose(ends[2], ends[0], rtol=1e-11)


@every_case
def test_vp_and_flow_agree_from_pure_noise_to_clean(name, options):
    ends = []
    for level_of in (vp, flow):
        levels = [level_of(math.inf), *even_grid(20.0, 0.1, 7, level_of), CLEAN]
        ends.append(end_of(levels, name, options))
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-11)


def test_pure_noise_is_the_limit_of_much_noise():
    """alpha = 0 is no special case of Euler and its kin: alpha = 1e-9 gives the same."""
    for name, options in [("euler", {}), ("ddim", {"eta": 0.5}), ("euler_ancestral", {}), ("lcm", {})]:
        ends = [
            end_of([flow(top), *even_grid(9.0, 0.1, 5, flow), CLEAN], name, options)
            for top in (1e9, math.inf)
        ]
        np.testing.assert_allclose(ends[1], ends[0], rtol=1e-6)


PATHS = {
    "linear": vp_linear(),
    "zero terminal": vp_scaled_linear(zero_terminal_snr=True),
    "cosine": vp_cosine(),
    "edm": edm(),
    "flow": FlowPath(3.0),
}


@every_case
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_everything_is_finite_at_every_terminal(name, options, path):
    """In float32, with a network that predicts v (raw flow on flow), from the first level to sigma = 0."""
    prediction = "flow" if isinstance(path, FlowPath) else "v"
    shape = (2, 3)
    noise = lambda row, step: picture_noise(row, shape, step=step)  # noqa: E731

    def denoise(x, levels, rows):
        output = np.stack(
            [target(prediction, 0.5 * np.tanh(x[i]), x[i], level) for i, level in enumerate(levels)]
        ).astype(np.float32)
        return x0_from_output(prediction, x, output, levels)

    for law in SPACINGS:
        if law == "leading" and not hasattr(path, "alphas_cumprod"):
            continue
        for num_steps in (1, 2, 3, 4, 15):
            levels = spacing(law)(path, num_steps)
            program = solver(name)(levels, **options)
            for step in program:
                assert all(map(math.isfinite, astuple(step.x) + (astuple(step.base) if step.base else ())))
            seen = []
            scale = np.float32(math.hypot(levels[0].alpha, levels[0].sigma))
            end = sample(
                denoise,
                scale * noise(0, 0)[None],
                [program],
                noise,
                on_step=lambda index, total, x, x0, seen=seen: seen.append((x.copy(), x0.copy())),
            )
            assert end.dtype == np.float32
            assert all(np.isfinite(x).all() and np.isfinite(x0).all() for x, x0 in seen)
            np.testing.assert_array_equal(end, seen[-1][1])  # the last step arrives at the estimate itself
            if options.get("clock") != "noise":  # which is finite, but unstable in steps as long as these
                assert np.abs(end).max() < 20


@every_case
def test_steps_lead_from_level_to_level(name, options):
    levels = [flow(math.inf), *even_grid(9.0, 0.1, 4, flow), CLEAN]
    program = solver(name)(levels, **options)
    assert program[0].level is levels[0]
    assert program[-1].then is CLEAN
    assert all(now.then == then.level for now, then in itertools.pairwise(program))
    assert len(program) <= solver(name).evaluations_per_step * (len(levels) - 1)


def test_lcm_with_its_boundary_condition_hardly_differs():
    path = vp_scaled_linear()
    levels = spacing("trailing")(path, 4)
    plain, bounded = (solver("lcm")(levels, timestep_scaling=scaling) for scaling in (0.0, 10.0))
    for without, with_ in zip(plain, bounded, strict=True):
        t = 10.0 * without.level.time
        assert with_.x.x == pytest.approx(without.then.alpha * 0.25 / (t**2 + 0.25))
        assert with_.x.d0 == pytest.approx(without.then.alpha * t / math.sqrt(t**2 + 0.25))
        assert abs(with_.x.d0 - without.x.d0) + with_.x.x < 1e-6
