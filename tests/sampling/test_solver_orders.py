"""Each solver converges to the exact flow of known data, with the order that it claims."""

import math

import numpy as np
import pytest
from sampling_oracles import Gaussian, Points, even_grid, flow, ve, vp

from pictor.sampling import all_solvers, sample, solver

ORDERS = [
    ("euler", {}, 1),
    ("ddim", {}, 1),
    ("euler_ancestral", {"eta": 0.0}, 1),
    ("heun", {}, 2),
    ("heun", {"clock": "noise"}, 2),
    ("dpmpp_2m", {}, 2),
    ("dpmpp_2m_sde", {"eta": 0.0}, 2),
    ("unipc", {"order": 1}, 2),
    ("unipc", {}, 3),
    ("unipc", {"variant": "bh1"}, 3),
]
by_name = pytest.mark.parametrize(
    ("name", "options", "order"), ORDERS, ids=lambda value: str(value).replace(" ", "")
)


def error(oracle, start, levels, name, options):
    end = sample(oracle.denoise, start[None], [solver(name)(levels, **options)])[0]
    return np.abs(end - oracle.move(start, levels[0], levels[-1])).max()


@by_name
@pytest.mark.parametrize("level_of", [vp, flow, ve])
def test_order_on_normal_data(name, options, order, level_of):
    oracle = Gaussian()
    errors = []
    for steps in (80, 160):
        levels = even_grid(20.0, 0.05, steps, level_of)
        start = levels[0].alpha * oracle.mean + levels[0].sigma * np.array([1.0, -0.5, 0.8])
        errors.append(error(oracle, start, levels, name, options))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


@by_name
def test_order_on_a_finite_set_of_points(name, options, order):
    oracle = Points()
    errors = []
    for steps in (160, 320):
        levels = even_grid(4.0, 0.3, steps)
        start = levels[0].sigma * np.array([-1.3, -0.3, 0.2, 0.9])
        errors.append(error(oracle, start, levels, name, options))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)


def error_with_exact_history(oracle, start, levels, options):
    """The third step on, from the exact x and the exact estimates of the first two levels."""
    exact = [oracle.move(start, levels[0], level) for level in levels[:3]]
    past = [oracle.x0(x, level) for x, level in zip(exact[:2], levels[:2], strict=True)]
    x, d1, d2 = exact[2], past[1], past[0]
    for step in solver("dpmpp_3m")(levels, **options)[2:]:
        d0 = oracle.x0(x, step.level)
        x = step.x.x * x + step.x.d0 * d0 + step.x.d1 * d1 + step.x.d2 * d2
        d1, d2 = d0, d1
    return np.abs(x - oracle.move(start, levels[0], levels[-1])).max()


@pytest.mark.parametrize(
    ("options", "order"),
    [
        ({}, 3),
        # Known oddity: the authors' code, and diffusers and k-diffusion after it, count the second difference
        # half. What remains is of second order, however good the history.
        ({"as_published": True}, 2),
    ],
)
def test_3m_is_of_third_order_once_it_has_its_history(options, order):
    """Its first steps, of lower order, would leave an error of second order: they are taken exactly here."""
    oracle = Gaussian()
    errors = []
    for steps in (160, 320):
        levels = even_grid(20.0, 0.05, steps)
        start = levels[0].alpha * oracle.mean + levels[0].sigma * np.array([1.0, -0.5, 0.8])
        errors.append(error_with_exact_history(oracle, start, levels, options))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.15)


def test_3m_beats_2m_where_it_starts_from_noise():
    oracle = Gaussian()
    levels = even_grid(80.0, 0.02, 40)
    start = levels[0].sigma * np.array([1.0, -0.5, 0.8])
    errors = {name: error(oracle, start, levels, name, {}) for name in ("dpmpp_2m", "dpmpp_3m")}
    assert errors["dpmpp_3m"] < errors["dpmpp_2m"] / 3


def test_more_steps_with_second_order_beat_the_first():
    oracle = Points()
    levels = even_grid(10.0, 0.1, 20)
    start = levels[0].sigma * np.array([-1.3, -0.3, 0.2, 0.9])
    first = error(oracle, start, levels, "euler", {})
    for name in ("heun", "dpmpp_2m", "dpmpp_3m", "unipc"):
        assert error(oracle, start, levels, name, {}) < first / 2


@pytest.mark.parametrize("name", ["euler", "heun", "dpmpp_2m", "dpmpp_3m", "unipc"])
def test_a_picture_ends_on_the_point_that_the_flow_leads_to(name):
    """Down to sigma = 0, with few steps: the quarter of the noise decides which point it is."""
    oracle = Points()
    levels = [*even_grid(80.0, 0.02, 25, flow), flow(0.0)]
    start = np.array([-1.5, -0.3, 0.3, 1.5])
    end = sample(oracle.denoise, start[None], [solver(name)(levels)])[0]
    np.testing.assert_allclose(end, oracle.values, atol=1e-3)


def test_every_deterministic_solver_is_tested_here():
    named = {name for name, _, _ in ORDERS} | {"dpmpp_3m"}
    assert {name for name, info in all_solvers().items() if not info.stochastic} <= named


def test_names_of_one_thing_are_one_thing():
    levels = [flow(math.inf), *even_grid(9.0, 0.1, 6, flow), flow(0.0)]
    euler = solver("euler")(levels)
    for other in (solver("ddim")(levels), solver("dpmpp_2m_sde")(levels, eta=0.0)):
        assert [step.then for step in other] == [step.then for step in euler]
    np.testing.assert_allclose(table(solver("ddim")(levels)), table(euler), atol=1e-15)
    two_m = table(solver("dpmpp_2m")(levels))
    np.testing.assert_allclose(table(solver("dpmpp_2m_sde")(levels, eta=0.0)), two_m, atol=1e-15)
    ancestral = table(solver("euler_ancestral")(levels))
    np.testing.assert_allclose(table(solver("ddpm")(levels)), ancestral, atol=1e-15)


def table(program):
    return [[step.x.x, step.x.base, step.x.d0, step.x.d1, step.x.d2, step.x.z] for step in program]
