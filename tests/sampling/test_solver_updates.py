"""The parts that solvers are made of, against quadrature."""

import math

import numpy as np
import pytest
from sampling_oracles import even_grid, flow, vp

from pictor.sampling import solver
from pictor.sampling.updates import (
    exponential_mean,
    exponential_moments,
    extrapolations,
    first_order,
    log_step,
)

NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)


def mean_over_a_step(function, h):
    """The mean of function(s) over [0, h] with density exp(s - h) / (1 - exp(-h))."""
    s = h * (NODES + 1) / 2
    density = WEIGHTS * np.exp(s - h)
    return float((density * function(s)).sum() / density.sum())


@pytest.mark.parametrize("h", [1e-6, 1e-3, 0.1, 0.999, 1.0, 1.001, 3.0, 12.0])
def test_means_are_exact_for_polynomials_through_the_nodes(h):
    first, second = exponential_moments(h)
    assert first == pytest.approx(mean_over_a_step(lambda s: s, h), rel=1e-11)
    assert second == pytest.approx(mean_over_a_step(lambda s: s**2, h), rel=1e-11)
    for nodes in [(0.0,), (0.0, -0.7 * h), (0.0, h), (h, 0.0, -1.3 * h), (0.0, -h, -1.9 * h)]:
        weights = exponential_mean(h, nodes)
        for power in range(len(nodes)):
            got = sum(weight * (node / h) ** power for weight, node in zip(weights, nodes, strict=True))
            expected = mean_over_a_step(lambda s, power=power: (s / h) ** power, h)
            assert got == pytest.approx(expected, abs=1e-8)


def test_the_first_order_step_is_exact_for_a_constant_and_known_at_both_ends():
    keep, gain = first_order(vp(3.0), vp(0.5))
    for x0, eps in [(0.3, -1.2), (2.0, 0.1)]:
        x = vp(3.0).alpha * x0 + vp(3.0).sigma * eps
        assert keep * x + gain * x0 == pytest.approx(vp(0.5).alpha * x0 + vp(0.5).sigma * eps)
    assert first_order(flow(math.inf), flow(1.0)) == (0.5, 0.5)
    assert first_order(flow(1.0), flow(0.0)) == (0.0, 1.0)


def test_steps_are_measured_in_half_log_snr_and_history_counts_where_it_is_finite():
    levels = [vp(math.inf), vp(8.0), vp(4.0), vp(1.0), vp(0.0)]
    assert log_step(levels[1], levels[2]) == pytest.approx(math.log(2))
    assert log_step(levels[0], levels[1]) == log_step(levels[3], levels[4]) == math.inf
    assert extrapolations(levels) == pytest.approx([0.0, 0.0, 1.0, 0.0])


def test_orders_rise_as_soon_as_history_allows():
    levels = even_grid(8.0, 0.1, 5)
    assert [step.x.d1 != 0.0 for step in solver("dpmpp_2m")(levels)] == [False, True, True, True, True]
    assert [step.x.d2 != 0.0 for step in solver("dpmpp_3m")(levels)] == [False, False, True, True, True]
    assert [step.x.d2 != 0.0 for step in solver("unipc")(levels)] == [False, False, True, True, True]
