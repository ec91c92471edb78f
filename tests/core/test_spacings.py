"""Spacings: their laws in closed form, their ends, and what does not fit."""

import math
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

from pictor.core.errors import InputError, PlanError
from pictor.core.levels import CLEAN, FlowPath, edm, ve, vp_cosine, vp_linear, vp_scaled_linear
from pictor.core.spacings import ALIGN_YOUR_STEPS, SPACINGS, beta_quantile, spacing

SD = vp_scaled_linear()
ZERO = vp_scaled_linear(zero_terminal_snr=True)
PATHS = {
    "sd": SD,
    "zero": ZERO,
    "linear": vp_linear(),
    "cosine": vp_cosine(),
    "edm": edm(),
    "ve": ve(),
    "flow": FlowPath(),
    "flow 3": FlowPath(3.0),
}


@pytest.mark.parametrize("name", SPACINGS)
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 50, 250])
def test_every_spacing_goes_from_the_noisiest_level_to_clean(name, path, num_steps):
    if name == "leading" and not hasattr(path, "alphas_cumprod"):
        with pytest.raises(PlanError, match="leading"):
            spacing(name)(path, num_steps)
        return
    levels = spacing(name)(path, num_steps)
    assert len(levels) == num_steps + 1
    assert levels[-1] is CLEAN
    assert all(then.k < now.k for now, then in pairwise(levels))
    if name != "leading":
        assert levels[0] == path.at(path.t_max)


def test_an_unknown_spacing_is_told_the_names():
    with pytest.raises(InputError, match="uniform, trailing, leading, karras") as caught:
        spacing("linear")
    assert caught.value.param == "spacing"


@pytest.mark.parametrize("name", SPACINGS)
@pytest.mark.parametrize("num_steps", [0, -1, 2.0, True])
def test_a_number_of_steps_that_is_none_is_refused(name, num_steps):
    with pytest.raises(InputError, match="num_steps"):
        spacing(name)(SD, num_steps)


def times(levels):
    return [level.time for level in levels[:-1]]


def test_uniform_trailing_and_leading_on_timesteps():
    assert times(spacing("uniform")(SD, 4)) == [999, 666, 333, 0]
    assert times(spacing("trailing")(SD, 4)) == [999, 749, 499, 249]
    assert times(spacing("leading")(SD, 4)) == [751, 501, 251, 1]
    assert times(spacing("leading")(SD, 4, offset=0)) == [750, 500, 250, 0]
    assert times(spacing("trailing")(SD, 3)) == pytest.approx([999, 999 - 1000 / 3, 999 - 2000 / 3])
    with pytest.raises(PlanError, match="1001 trailing steps"):
        spacing("trailing")(SD, 1001)


def test_uniform_on_a_flow_ends_a_step_before_clean():
    assert times(spacing("uniform")(FlowPath(), 4)) == [1000, 750, 500, 250]
    assert times(spacing("trailing")(FlowPath(), 4)) == [1000, 750, 500, 250]
    assert times(spacing("uniform")(FlowPath(3.0), 4)) == pytest.approx([1000, 900, 750, 500])


def test_karras_is_even_in_the_seventh_root():
    levels = spacing("karras")(edm(), 18)[:-1]
    roots = [level.sigma ** (1 / 7) for level in levels]
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-9)
    assert (levels[0].sigma, levels[-1].sigma) == (80.0, pytest.approx(0.002))
    roots = [level.k ** (1 / 3) for level in spacing("karras")(SD, 10, rho=3.0)[:-1]]
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-9)


def test_exponential_is_even_in_the_logarithm():
    logs = [math.log(level.k) for level in spacing("exponential")(SD, 10)[:-1]]
    np.testing.assert_allclose(np.diff(logs), np.diff(logs)[0], rtol=1e-9)
    logs = [math.log(level.sigma) for level in spacing("exponential")(FlowPath(), 10)[:-1]]
    np.testing.assert_allclose(np.diff(logs), np.diff(logs)[0], rtol=1e-9)
    assert logs[-1] == pytest.approx(math.log(0.1))


def test_zero_terminal_snr_starts_at_pure_noise_and_goes_on_along_the_law():
    levels = spacing("karras")(ZERO, 10)[:-1]
    assert levels[0].alpha == 0.0
    roots = [ZERO.at(999 * 0.999).k ** (1 / 7), *(level.k ** (1 / 7) for level in levels[1:])]
    np.testing.assert_allclose(np.diff(roots), np.diff(roots)[0], rtol=1e-9)


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 1.5), (2.0, 3.0), (1.0, 1.0)])
def test_beta_quantiles_are_scipys(a, b):
    for p in (0.0, 1e-9, 1e-3, 0.2, 0.5, 0.9, 0.999, 1.0):
        assert beta_quantile(p, a, b) == pytest.approx(scipy.stats.beta.ppf(p, a, b), rel=1e-9, abs=1e-14)
    for bad in [(1.1, a, b), (0.5, 0.0, b), (math.nan, a, b)]:
        with pytest.raises(InputError, match="beta quantile"):
            beta_quantile(*bad)


def test_beta_takes_quantiles_of_time_or_of_noise():
    expected = [999 * scipy.stats.beta.ppf(1 - i / 8, 0.6, 0.6) for i in range(8)]
    assert times(spacing("beta")(SD, 8)) == pytest.approx(expected)
    k = [level.k for level in spacing("beta")(SD, 8, over="noise")[:-1]]
    low, high = SD.at(0).k, SD.at(999).k
    assert k == pytest.approx(
        [low + (high - low) * scipy.stats.beta.ppf(1 - i / 7, 0.6, 0.6) for i in range(8)]
    )
    with pytest.raises(InputError, match="over"):
        spacing("beta")(SD, 8, over="time")


@pytest.mark.parametrize("table", ["sd15", "sdxl"])
def test_align_your_steps_at_ten_steps_is_the_published_table(table):
    k = [level.k for level in spacing("align_your_steps")(SD, 10, table=table)[:-1]]
    assert k == pytest.approx(ALIGN_YOUR_STEPS[table][:-1], rel=1e-4)
    with pytest.raises(InputError, match="sd15, sdxl, svd"):
        spacing("align_your_steps")(SD, 10, table="sd3")


def test_align_your_steps_is_log_linear_between_its_points():
    k20 = [level.k for level in spacing("align_your_steps")(SD, 20)[:-1]]
    k10 = [level.k for level in spacing("align_your_steps")(SD, 10)[:-1]]
    assert k20[::2] == pytest.approx(k10, rel=1e-9)
    assert k20[3] == pytest.approx(math.sqrt(k10[1] * k10[2]))


def test_align_your_steps_takes_the_part_of_the_table_that_a_path_has():
    path = edm(sigma_min=0.03, sigma_max=54.5)
    levels = spacing("align_your_steps")(path, 60)
    assert levels[0].sigma == 54.5
    logs = np.log([level.sigma for level in levels[:-1]])
    assert np.diff(logs).max() < 0
    table = np.log(ALIGN_YOUR_STEPS["svd"])
    place = np.interp(-logs, -table, np.arange(11))
    np.testing.assert_allclose(np.diff(place), np.diff(place)[0], rtol=1e-9)
    assert spacing("align_your_steps")(FlowPath(), 10)[3].k == pytest.approx(2.697)
