"""Fresh noise keeps the marginal distribution: means and variances are carried through exactly."""

import math

import numpy as np
import pytest
from sampling_oracles import even_grid, flow, ve, vp

from pictor.sampling import all_solvers, solver

STOCHASTIC = [
    ("ddim", {"eta": 0.5}),
    ("ddim", {"eta": 1.0}),
    ("ddpm", {}),
    ("euler_ancestral", {}),
    ("euler_ancestral", {"eta": 0.3}),
    ("dpmpp_2m_sde", {}),
    ("dpmpp_2m_sde", {"eta": 0.5}),
    ("lcm", {}),
]
everyone = pytest.mark.parametrize(
    ("name", "options"),
    STOCHASTIC + [(name, {}) for name, info in all_solvers().items() if not info.stochastic],
    ids=lambda value: str(value).replace(" ", ""),
)


def marginal(program, mean, deviation):
    """Mean and standard deviation of x at the end, for the ideal denoiser of normal data.

    The registers (x, base, d1, d2) start with the right marginal of x; every step is affine in them, since
    the ideal denoiser of normal data is affine in x: D = slope x + offset.
    """
    first = program[0].level
    centre = np.array([first.alpha * mean, 0.0, 0.0, 0.0])
    spread = np.zeros((4, 4))
    spread[0, 0] = first.alpha**2 * deviation**2 + first.sigma**2
    for step in program:
        at = step.level
        variance = at.alpha**2 * deviation**2 + at.sigma**2
        slope, offset = at.alpha * deviation**2 / variance, at.sigma**2 * mean / variance
        d0 = np.array([slope, 0.0, 0.0, 0.0])
        rows, offsets, noises = [], [], []
        for update in (step.x, step.base):
            if update is None:
                rows.append(np.eye(4)[1])
                offsets.append(0.0)
                noises.append(0.0)
                continue
            rows.append(np.array([update.x, update.base, update.d1, update.d2]) + update.d0 * d0)
            offsets.append(update.d0 * offset)
            noises.append(update.z)
        rows += [d0, np.eye(4)[2]] if step.keeps_history else [np.eye(4)[2], np.eye(4)[3]]
        offsets += [offset, 0.0] if step.keeps_history else [0.0, 0.0]
        noise = np.array([*noises, 0.0, 0.0])
        matrix = np.array(rows)
        centre = matrix @ centre + np.array(offsets)
        spread = matrix @ spread @ matrix.T + np.outer(noise, noise)
    return centre[0], math.sqrt(max(spread[0, 0], 0.0))


@everyone
@pytest.mark.parametrize("level_of", [vp, flow, ve])
@pytest.mark.parametrize("steps", [1, 3, 12])
def test_data_of_one_point_keeps_its_marginal_exactly(name, options, level_of, steps):
    """The estimate is the point itself, so that only the handling of noise is left to be wrong."""
    levels = even_grid(15.0, 0.1, steps, level_of)
    mean, deviation = marginal(solver(name)(levels, **options), 0.7, 0.0)
    assert mean == pytest.approx(levels[-1].alpha * 0.7, abs=1e-12)
    assert deviation == pytest.approx(levels[-1].sigma, rel=1e-12)


def errors(name, options, deviation, steps):
    levels = even_grid(15.0, 0.1, steps)
    mean, spread = marginal(solver(name)(levels, **options), 0.7, deviation)
    end = levels[-1]
    return abs(mean - end.alpha * 0.7), abs(spread - math.hypot(end.alpha * deviation, end.sigma))


@pytest.mark.parametrize(
    ("name", "options"),
    # LCM is not here: the ideal denoiser is no consistency function, and noising anew does not forgive that.
    [case for case in STOCHASTIC if case[0] != "lcm"],
    ids=lambda value: str(value).replace(" ", ""),
)
@pytest.mark.parametrize("deviation", [0.3, 1.0, 2.0])
def test_normal_data_keeps_its_marginal_in_the_limit(name, options, deviation):
    coarse, fine = (errors(name, options, deviation, steps) for steps in (100, 200))
    assert fine[1] < 0.6 * coarse[1]
    assert fine[1] < 0.05 * deviation
    assert fine[0] < 0.6 * coarse[0] + 1e-3


def test_2m_sde_has_less_bias_than_one_step_rules():
    for deviation in (0.3, 1.0, 2.0):
        assert (
            errors("dpmpp_2m_sde", {}, deviation, 50)[1] < errors("ddim", {"eta": 1.0}, deviation, 50)[1] / 2
        )


@pytest.mark.parametrize("steps", [1, 5, 40])
def test_the_large_variance_of_ddpm_is_exact_for_standard_normal_data(steps):
    """Section 3.2 of arXiv:2006.11239, on the paper's own (VP) path."""
    levels = even_grid(15.0, 0.1, steps)
    mean, deviation = marginal(solver("ddpm")(levels, variance="large"), 0.0, 1.0)
    assert (mean, deviation) == (0.0, pytest.approx(1.0, rel=1e-12))
    small = marginal(solver("ddpm")(levels), 0.0, 1.0)[1]
    assert small < 1.0


def test_noise_is_drawn_where_it_should_be():
    levels = [*even_grid(15.0, 0.1, 4), vp(0.0)]
    for name, info in all_solvers().items():
        draws = [step.draws_noise for step in info(levels)]
        assert not draws[-1], name
        assert all(draws[:-1]) if info.stochastic else not any(draws), name
