"""Guidance: its identities, its interval, its spaces, and what it costs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampling_oracles import even_grid, flow, ve, vp

from pictor.core.errors import InputError, PlanError
from pictor.sampling import (
    Guidance,
    autoguided,
    classifier_free,
    guided,
    interval,
    rescaled,
    sample,
    solver,
)
from pictor.sampling.guidance import combine, guide, rescale

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 2, 3, 3)).astype(np.float32)
ESTIMATES = {
    which: RNG.normal(scale=scale, size=X.shape).astype(np.float32)
    for which, scale in [("conditional", 1.0), ("unconditional", 0.7), ("weak", 0.5)]
}


class Model:
    """A network that knows its answers and counts what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, levels, rows, which):
        assert len(x) == len(levels) == len(rows) == len(which)
        np.testing.assert_array_equal(x, X[list(rows)])
        self.calls.append(list(zip(rows, which, strict=True)))
        return np.stack([ESTIMATES[w][row] for row, w in zip(rows, which, strict=True)])


def run(rules, k=1.0, rows=None):
    model = Model()
    rows = list(range(len(rules))) if rows is None else rows
    x0 = guided(model, rules)(X[rows], [vp(k)] * len(rows), rows)
    return x0, model.calls


def test_scale_one_is_conditional_and_zero_unconditional_exactly_and_at_half_the_cost():
    x0, calls = run([classifier_free(1.0), classifier_free(0.0)])
    np.testing.assert_array_equal(x0[0], ESTIMATES["conditional"][0])
    np.testing.assert_array_equal(x0[1], ESTIMATES["unconditional"][1])
    assert calls == [[(0, "conditional"), (1, "unconditional")]]


def test_the_formula_is_imagens():
    x0, calls = run([classifier_free(5.0)])
    conditional, other = ESTIMATES["conditional"][0], ESTIMATES["unconditional"][0]
    np.testing.assert_allclose(x0[0], other + 5 * (conditional - other), rtol=1e-6)
    np.testing.assert_allclose(x0[0], conditional + 4 * (conditional - other), rtol=1e-5, atol=1e-5)
    assert calls == [[(0, "conditional"), (0, "unconditional")]]


@settings(deadline=None)
@given(conditional=st.floats(-5, 5), other=st.floats(-5, 5), scale=st.floats(0, 20))
def test_guidance_is_affine_in_its_scale(conditional, other, scale):
    assert guide(conditional, other, 0.0) == other
    assert guide(conditional, other, 1.0) == pytest.approx(conditional, abs=1e-12)
    assert guide(conditional, conditional, scale) == conditional
    halfway = (guide(conditional, other, scale) + other) / 2
    assert guide(conditional, other, scale / 2) == pytest.approx(halfway, abs=1e-9)


def test_weights_may_be_an_array():
    weight = np.array([1.0, 0.0, 2.0, 5.0], np.float32)[:, None, None, None]
    together = guide(ESTIMATES["conditional"], ESTIMATES["unconditional"], weight)
    for row in range(4):
        alone = guide(
            ESTIMATES["conditional"][row], ESTIMATES["unconditional"][row], float(weight[row, 0, 0, 0])
        )
        np.testing.assert_allclose(together[row], alone, rtol=1e-6)


def test_rows_follow_their_own_rules_in_one_batch():
    rules = [classifier_free(3.0), classifier_free(1.0), autoguided(2.0), rescaled(4.0, 0.7, "v")]
    together, calls = run(rules)
    assert len(calls) == 1
    assert calls[0][:4] == [(row, "conditional") for row in range(4)]
    assert calls[0][4:] == [(0, "unconditional"), (2, "weak"), (3, "unconditional")]
    for row in range(4):
        alone, _ = run(rules, rows=[row])
        np.testing.assert_array_equal(together[row], alone[0])


def test_autoguidance_leads_away_from_the_weaker_model():
    x0, _ = run([autoguided(2.0)])
    np.testing.assert_allclose(
        x0[0], 2 * ESTIMATES["conditional"][0] - ESTIMATES["weak"][0], rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "rule", [interval(3.0, 0.5, 2.0), interval(3.0, -2 * math.log(2.0), 2 * math.log(2.0), unit="log_snr")]
)
def test_the_interval_guides_inside_and_costs_nothing_outside(rule):
    for k, inside in [(0.1, False), (0.49, False), (0.51, True), (1.0, True), (1.99, True), (2.01, False)]:
        assert rule.weight(vp(k)) == rule.weight(flow(k)) == rule.weight(ve(k)) == (3.0 if inside else 1.0)
        assert sum(map(len, run([rule], k)[1])) == (2 if inside else 1)


def test_an_interval_counts_its_evaluations_over_a_whole_picture():
    levels = even_grid(8.0, 0.125, 6)  # k = 8, 4, 2, 1, 1/2, 1/4
    entries = []

    def predict(x, levels, rows, which):
        entries.extend(which)
        return 0.5 * x

    x = np.ones((2, 3), np.float32)
    rules = [interval(4.0, 0.3, 3.0), classifier_free(4.0)]
    sample(guided(predict, rules), x, [solver("euler")(levels)] * 2)
    assert entries.count("conditional") == 2 * 6
    assert entries.count("unconditional") == 3 + 6


def test_the_whole_range_includes_pure_noise_and_the_bounds_are_open_and_closed():
    assert classifier_free(3.0).weight(vp(math.inf)) == 3.0
    assert interval(3.0, 1.0, 2.0).weight(ve(1.0)) == 1.0
    assert interval(3.0, 1.0, 2.0).weight(ve(2.0)) == 3.0


@pytest.mark.parametrize("space", ["x0", "eps", "v", "flow"])
def test_rescaling_gives_back_the_conditionals_contrast_in_its_space(space):
    level = flow(1.5)
    conditional, other = ESTIMATES["conditional"][0], ESTIMATES["unconditional"][0]

    def output(x0):
        eps = (X[0] - level.alpha * x0) / level.sigma
        return {"x0": x0, "eps": eps, "v": level.alpha * eps - level.sigma * x0, "flow": eps - x0}[space]

    plain = combine(classifier_free(5.0), X[0], level, conditional, other)
    full = combine(rescaled(5.0, 1.0, space), X[0], level, conditional, other)
    assert output(full).std() == pytest.approx(output(conditional).std(), rel=1e-5)
    factor = output(conditional).std() / output(plain).std()
    np.testing.assert_allclose(output(full), factor * output(plain), rtol=1e-3, atol=1e-4)
    half = combine(rescaled(5.0, 0.5, space), X[0], level, conditional, other)
    np.testing.assert_allclose(half, (full + plain) / 2, rtol=1e-4, atol=1e-5)


def test_the_space_of_rescaling_changes_the_picture():
    results = [
        combine(rescaled(5.0, 0.7, space), X[0], flow(1.5), *(ESTIMATES[w][0] for w in list(ESTIMATES)[:2]))
        for space in ("x0", "eps", "v", "flow")
    ]
    for i, one in enumerate(results):
        assert all(np.abs(one - other).max() > 1e-2 for other in results[:i])


def test_rescaling_at_pure_noise_works_in_v_and_is_refused_in_eps():
    both = [ESTIMATES[which][0] for which in ("conditional", "unconditional")]
    assert np.isfinite(combine(rescaled(5.0, 0.7, "v"), X[0], vp(math.inf), *both)).all()
    with pytest.raises(PlanError, match="eps prediction says nothing"):
        combine(rescaled(5.0, 0.7, "eps"), X[0], vp(math.inf), *both)


def test_a_constant_has_no_contrast_to_scale():
    np.testing.assert_array_equal(rescale(np.ones(4), np.arange(4.0), 1.0), np.ones(4))


@pytest.mark.parametrize(
    "options",
    [
        {"scale": -1.0},
        {"scale": math.inf},
        {"scale": math.nan},
        {"phi": 1.5},
        {"phi": math.nan},
        {"k_low": 2.0, "k_high": 1.0},
        {"k_low": math.nan},
        {"space": "velocity"},
        {"other": "conditional"},
    ],
)
def test_rules_out_of_range_are_refused(options):
    with pytest.raises(InputError):
        Guidance(**options)


def test_the_unit_of_an_interval_is_named():
    with pytest.raises(InputError, match="k or log_snr"):
        interval(2.0, 0.0, 1.0, unit="sigma")


def test_torch_and_numpy_guide_alike():
    torch = pytest.importorskip("torch")
    rules = [classifier_free(3.0), classifier_free(1.0), autoguided(2.0), rescaled(4.0, 0.7, "v")]
    ours, _ = run(rules)

    def predict(x, levels, rows, which):
        return torch.stack([torch.from_numpy(ESTIMATES[w][row]) for row, w in zip(rows, which, strict=True)])

    theirs = guided(predict, rules)(torch.from_numpy(X), [vp(1.0)] * 4, list(range(4)))
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-5, atol=1e-6)
