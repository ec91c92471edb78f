"""Paths: exact at their ends and at training timesteps, invertible, finite everywhere."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictor.core.errors import InputError, PlanError
from pictor.core.levels import (
    CLEAN,
    FlowPath,
    Level,
    Path,
    VEPath,
    VPPath,
    edm,
    flow_shift,
    ve,
    vp_cosine,
    vp_from_betas,
    vp_linear,
    vp_scaled_linear,
)

VP = {
    "linear": vp_linear(),
    "scaled": vp_scaled_linear(),
    "cosine": vp_cosine(),
    "scaled zero": vp_scaled_linear(zero_terminal_snr=True),
    "cosine zero": vp_cosine(zero_terminal_snr=True),
}
PATHS = VP | {"ve": ve(), "edm": edm(), "flow": FlowPath(), "flow 3": FlowPath(3.0)}
every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


@pytest.mark.parametrize(
    ("alpha", "sigma"), [(-1.0, 1.0), (0.0, 0.0), (math.nan, 1.0), (1.0, math.inf), (1.0, -0.1)]
)
def test_a_level_that_cannot_be_is_refused(alpha, sigma):
    with pytest.raises(PlanError, match="noise level"):
        Level(alpha, sigma, 0.0)


def test_ratios_have_values_at_both_ends():
    noise = Level(0.0, 1.0, 999.0)
    assert (noise.k, noise.log_snr) == (math.inf, -math.inf)
    assert (CLEAN.k, CLEAN.log_snr) == (0.0, math.inf)
    middle = Level(0.6, 0.3, 0.0)
    assert middle.k == 0.5
    assert middle.log_snr == pytest.approx(2 * math.log(2))


@every_path
def test_noise_falls_along_the_clock(path):
    assert isinstance(path, Path)
    levels = [path.at(t) for t in np.linspace(path.t_max, path.t_min, 2003)]
    ratios = [level.k for level in levels]
    assert all(then < now for now, then in itertools.pairwise(ratios))
    if isinstance(path, VPPath):
        assert all(level.alpha**2 + level.sigma**2 == pytest.approx(1, abs=1e-14) for level in levels)
    elif isinstance(path, VEPath):
        assert {level.alpha for level in levels} == {1.0}
    else:
        assert all(level.alpha + level.sigma == pytest.approx(1, abs=1e-14) for level in levels)


@every_path
@settings(deadline=None)
@given(part=st.floats(0, 1))
def test_time_and_ratio_are_inverse(path, part):
    t = path.t_min + part * (path.t_max - path.t_min)
    assert path.t_of_k(path.at(t).k) == pytest.approx(t, abs=1e-8 * (path.t_max - path.t_min))


@every_path
def test_ratios_beyond_the_path_give_its_ends(path):
    assert path.t_of_k(0.0) == path.t_min
    assert path.t_of_k(1e12) == pytest.approx(path.t_max, abs=1e-8)
    assert path.t_of_k(math.inf) == path.t_max
    for k in (-1.0, math.nan):
        with pytest.raises(InputError, match="noise ratio"):
            path.t_of_k(k)


@every_path
def test_times_beyond_the_clock_are_refused(path):
    for t in (path.t_min - 0.1, path.t_max + 0.1, math.nan):
        with pytest.raises(PlanError, match="time"):
            path.at(t)
    assert path.at(path.t_max + 1e-12) == path.at(path.t_max)


def test_vp_is_exact_at_its_timesteps_and_tells_the_time_in_full():
    path = vp_linear()
    betas = np.linspace(1e-4, 0.02, 1000)
    expected = np.cumprod(1 - betas)
    for t in (0, 1, 500, 998, 999):
        level = path.at(t)
        assert level.alpha == math.sqrt(path.alphas_cumprod[t])
        assert level.alpha**2 == pytest.approx(expected[t], rel=1e-12)
    assert path.at(745.3).time == 745.3
    k = [path.at(t).k for t in (745, 745.3, 746)]
    assert math.log(k[1]) == pytest.approx(0.7 * math.log(k[0]) + 0.3 * math.log(k[2]), abs=1e-12)


@pytest.mark.parametrize("path", [VP["scaled zero"], VP["cosine zero"]])
def test_zero_terminal_snr_is_exactly_zero_and_keeps_the_other_end(path):
    end = path.at(path.t_max)
    assert (end.alpha, end.sigma) == (0.0, 1.0)
    plain = vp_scaled_linear() if path is VP["scaled zero"] else vp_cosine()
    assert path.alphas_cumprod[0] == plain.alphas_cumprod[0]
    near = path.at(path.t_max - 1e-9)
    assert 0 < near.alpha < 1e-8
    assert path.at(path.t_max - 0.5).k == pytest.approx(2 * path.at(path.t_max - 1).k)


def test_the_zero_terminal_rescaling_is_the_papers():
    """Algorithm 1 of arXiv:2305.08891, in its own form."""
    roots = np.sqrt(vp_scaled_linear().alphas_cumprod)
    expected = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    np.testing.assert_allclose(np.sqrt(VP["scaled zero"].alphas_cumprod), expected, atol=1e-14)


def test_the_cosine_path_follows_the_cosine_until_betas_are_capped():
    t = np.arange(1, 1001) / 1000
    bar = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    np.testing.assert_allclose(vp_cosine().alphas_cumprod[:999], bar[:999], rtol=1e-9)
    assert vp_cosine().alphas_cumprod[999] == pytest.approx(bar[998] * 0.001, rel=1e-9)


def test_what_is_no_path_is_refused():
    with pytest.raises(PlanError, match="beta"):
        vp_from_betas([0.1, 1.0])
    for values in [(0.5,), (0.5, 0.6), (1.0, 0.5), (0.5, -0.1), (0.9, 0.9)]:
        with pytest.raises(PlanError, match="alphas_cumprod"):
            VPPath(values)
    with pytest.raises(PlanError):
        edm(sigma_min=1.0, sigma_max=0.5)
    with pytest.raises(PlanError):
        FlowPath(0.0)


def test_ve_and_edm_tell_their_networks_different_times():
    assert ve().at(1.0) == Level(1.0, 50.0, 50.0)
    assert ve().at(0.0).sigma == 0.01
    assert edm().at(1.0) == Level(1.0, 80.0, math.log(80) / 4)
    assert edm().sigma_data == 0.5
    assert edm(1.0, 4.0).at(0.5).sigma == pytest.approx(2.0)


@settings(deadline=None)
@given(t=st.floats(0, 1), shift=st.floats(0.1, 20))
def test_the_flow_shift_is_the_papers_and_happens_once(t, shift):
    level = FlowPath(shift).at(t)
    assert level.sigma == pytest.approx(shift * t / (1 + (shift - 1) * t))
    assert level.time == 1000 * level.sigma
    if 0.01 < t < 0.99:  # eq. 23 of arXiv:2403.03206: k scales with the shift
        assert level.k == pytest.approx(shift * t / (1 - t))


def test_the_flow_shift_by_size_runs_through_its_two_points():
    assert flow_shift(256) == pytest.approx(math.exp(0.5))
    assert flow_shift(4096) == pytest.approx(math.exp(1.15))
    assert FlowPath().at(1.0) == Level(0.0, 1.0, 1000.0)
    assert FlowPath().at(0.0) == CLEAN
