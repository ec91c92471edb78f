"""The prediction table: one linear system, solved both ways."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictor.core.errors import InputError, PlanError
from pictor.core.levels import CLEAN, Level
from pictor.core.predictions import (
    PREDICTIONS,
    Mixture,
    eps_weights,
    input_scale,
    target,
    weights,
    x0_from_output,
    x0_weights,
)

values = st.floats(-10, 10)
ratios = st.floats(1e-3, 1e3)


def vp(k):
    return Level(1 / math.hypot(1, k), k / math.hypot(1, k), 0.0)


def flow(k):
    return Level(1 / (1 + k), k / (1 + k), 0.0)


def edm(k):
    return Level(1.0, k, 0.0)


@settings(deadline=None)
@given(x0=values, eps=values, k=ratios, sigma_data=st.floats(0.1, 10))
@pytest.mark.parametrize(
    ("prediction", "level_of"),
    [(name, path) for name in PREDICTIONS for path in (vp, flow, edm) if name != "edm" or path is edm],
)
def test_the_output_gives_back_x0_and_eps(prediction, level_of, x0, eps, k, sigma_data):
    level = level_of(k)
    x = level.alpha * x0 + level.sigma * eps
    output = target(prediction, x0, eps, level, sigma_data)
    cx, cf = x0_weights(prediction, level, sigma_data)
    # 1/alpha and 1/sigma enlarge rounding, at the ends by 1e3.
    assert cx * x + cf * output == pytest.approx(x0, abs=1e-10)
    cx, cf = eps_weights(prediction, level, sigma_data)
    assert cx * x + cf * output == pytest.approx(eps, abs=1e-10)


def test_the_table_is_the_designs():
    level = Level(0.6, 0.8, 0.0)
    assert weights("eps", level) == (0.0, 1.0)
    assert weights("x0", level) == (1.0, 0.0)
    assert weights("v", level) == (-0.8, 0.6)
    assert weights("flow", level) == (-1.0, 1.0)
    sigma, s = 3.0, 0.5
    r = math.hypot(sigma, s)
    assert weights("edm", Level(1.0, sigma, 0.0), s) == pytest.approx((sigma / (s * r), -s / r))


def test_edm_is_the_papers_preconditioning():
    """arXiv:2206.00364, table 1: D = c_skip x + c_out F, c_in = 1/r."""
    sigma, s = 3.0, 0.5
    level = Level(1.0, sigma, 0.0)
    expected = (s**2 / (sigma**2 + s**2), sigma * s / math.hypot(sigma, s))
    assert x0_weights("edm", level, s) == pytest.approx(expected)
    assert input_scale("edm", level, s) == pytest.approx(1 / math.hypot(sigma, s))
    assert input_scale("v", level, s) == 1.0


def test_pure_noise_says_nothing_by_eps_and_all_by_the_others():
    noise = Level(0.0, 1.0, 999.0)
    with pytest.raises(PlanError, match=r"eps prediction says nothing of the picture.*alpha=0.*Use v, flow"):
        x0_weights("eps", noise)
    assert x0_weights("v", noise) == (0.0, -1.0)
    assert x0_weights("flow", noise) == (1.0, -1.0)
    assert x0_weights("x0", noise) == (0.0, 1.0)
    assert eps_weights("eps", noise) == (0.0, 1.0)


def test_a_clean_picture_has_no_noise_to_speak_of():
    for prediction in ("eps", "v", "flow", "edm"):
        assert x0_weights(prediction, CLEAN) == (1.0, 0.0)
    assert x0_weights("x0", CLEAN) == (0.0, 1.0)
    with pytest.raises(PlanError, match="x0 prediction says nothing of the noise"):
        eps_weights("x0", CLEAN)


def test_wrong_names_and_wrong_paths_are_refused():
    for function in (weights, x0_weights, eps_weights, input_scale):
        with pytest.raises(InputError, match="eps, x0, v, flow, edm"):
            function("epsilon", CLEAN)
        with pytest.raises(PlanError, match="alpha = 1"):
            function("edm", Level(0.6, 0.8, 0.0))


@pytest.mark.parametrize("prediction", ["eps", "x0", "v", "flow"])
def test_a_batch_of_levels_trains_like_its_rows(prediction):
    rng = np.random.default_rng(0)
    x0, eps = rng.normal(size=(2, 3, 4, 5, 5)).astype(np.float32)
    levels = [vp(k) for k in (0.1, 1.0, 10.0)]
    mixture = Mixture(
        *(
            np.array([getattr(level, name) for level in levels], np.float32)[:, None, None, None]
            for name in ("alpha", "sigma")
        )
    )
    together = target(prediction, x0, eps, mixture)
    assert together.dtype == np.float32
    for row, level in enumerate(levels):
        np.testing.assert_allclose(together[row], target(prediction, x0[row], eps[row], level), rtol=2e-6)
    x = mixture.alpha * x0 + mixture.sigma * eps
    back = x0_from_output(prediction, x, together, levels)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, x0, atol=2e-5)
