"""Whole trajectories against diffusers' schedulers, with one synthetic model on both sides.

Their (alpha, sigma, timestep) are fed to our solvers, so that what is compared is the solver. Where diffusers
does something odd the test says so, and our definition stays.
"""

import math

import numpy as np
import pytest

from pictor.core.levels import CLEAN, FlowPath, Level, vp_scaled_linear
from pictor.core.predictions import x0_from_output
from pictor.core.spacings import spacing
from pictor.sampling import sample, solver

torch = pytest.importorskip("torch")
schedulers = pytest.importorskip("diffusers.schedulers")

# diffusers takes arrays of tensors in a way that numpy warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPE = (1, 4, 8, 8)
SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
TOLERANCE = 1e-4


def model(x, time):
    """Smooth, not linear, and dependent on time; what it predicts depends on who asks."""
    return 0.8 * x + 0.3 * torch.sin(1.7 * x + float(time) / 300)


def normal(seed):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def theirs(scheduler, x, scales, **step_options):
    """Their trajectory in our coordinates. scales[i] is our x over theirs at level i."""
    states = []
    x = x / scales[0]
    for index, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = model(scaled, t)
        x = scheduler.step(output, t, x, **step_options).prev_sample
        states.append(x * scales[index + 1])
    return states


def ours(program, x, prediction="eps", noises=()):
    states = []
    sample(
        lambda x, levels, rows: x0_from_output(prediction, x, model(x, levels[0].time), levels),
        x,
        [program],
        lambda row, step: noises[step - 1][0],
        on_step=lambda index, total, x, x0: states.append(x.clone()),
    )
    return states


def assert_same(expected, got):
    assert len(expected) == len(got)
    for index, (a, b) in enumerate(zip(expected, got, strict=True)):
        worst = float((a - b).abs().max() / max(1.0, float(a.abs().max())))
        assert worst < TOLERANCE, f"step {index + 1} of {len(got)}: {worst:g}"


def vp_levels(ratios, times):
    """Levels from their sigmas, which are our k."""
    levels = [
        Level(1 / math.hypot(1, k), k / math.hypot(1, k), float(t))
        for k, t in zip(ratios[:-1].tolist(), times.tolist(), strict=True)
    ]
    last = float(ratios[-1])
    return [*levels, Level(1 / math.hypot(1, last), last / math.hypot(1, last), 0.0) if last else CLEAN]


def product_levels(scheduler):
    """Levels from their alphas_cumprod, for schedulers that index it."""
    a = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    times = scheduler.timesteps.tolist()
    return [
        *(Level(math.sqrt(v), math.sqrt(1 - v), float(t)) for v, t in zip(a.tolist(), times, strict=True)),
        CLEAN,
    ]


def flow_levels(sigmas, times):
    return [
        *(Level(1 - s, s, float(t)) for s, t in zip(sigmas[:-1].tolist(), times.tolist(), strict=True)),
        CLEAN,
    ]


def ones(levels):
    return [1.0] * len(levels)


@pytest.mark.parametrize("karras", [False, True])
def test_euler(karras):
    """Their x is ours divided by alpha."""
    scheduler = schedulers.EulerDiscreteScheduler(**SD, use_karras_sigmas=karras)
    scheduler.set_timesteps(20)
    levels = vp_levels(scheduler.sigmas, scheduler.timesteps)
    expected = theirs(scheduler, normal(0), [level.alpha for level in levels])
    assert_same(expected, ours(solver("euler")(levels), normal(0)))


def test_euler_ancestral():
    scheduler = schedulers.EulerAncestralDiscreteScheduler(**SD)
    scheduler.set_timesteps(12)
    levels = vp_levels(scheduler.sigmas, scheduler.timesteps)
    generator = torch.Generator().manual_seed(1)
    expected = theirs(scheduler, normal(0), [level.alpha for level in levels], generator=generator)
    generator.manual_seed(1)
    noises = [torch.randn(SHAPE, generator=generator) for _ in levels]
    assert_same(expected, ours(solver("euler_ancestral")(levels), normal(0), noises=noises))


def test_heun():
    """Two of their steps are one of ours; their half-way states stand where they lead to, as ours do."""
    scheduler = schedulers.HeunDiscreteScheduler(**SD)
    scheduler.set_timesteps(8)
    sigmas, times = scheduler.sigmas, scheduler.timesteps
    levels = vp_levels(
        torch.cat([sigmas[:1], sigmas[1:-1:2], sigmas[-1:]]), torch.cat([times[:1], times[1::2]])
    )
    program = solver("heun")(levels, clock="noise")
    scales = [levels[0].alpha, *(step.then.alpha for step in program)]
    assert_same(theirs(scheduler, normal(0), scales), ours(program, normal(0)))


def test_heun_on_a_flow():
    scheduler = schedulers.FlowMatchHeunDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(6)
    sigmas, times = scheduler.sigmas, scheduler.timesteps
    levels = flow_levels(
        torch.cat([sigmas[:1], sigmas[1:-1:2], sigmas[-1:]]), torch.cat([times[:1], times[1::2]])
    )
    x = normal(0)
    states = []
    for t in times:
        x = scheduler.step(model(x, t), t, x).prev_sample
        states.append(x)
    assert_same(states, ours(solver("heun")(levels, clock="flow"), normal(0), "flow"))


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim(eta, prediction):
    scheduler = schedulers.DDIMScheduler(
        **SD, clip_sample=False, timestep_spacing="trailing", prediction_type=prediction
    )
    scheduler.set_timesteps(20)
    levels = product_levels(scheduler)
    generator = torch.Generator().manual_seed(1)
    expected = theirs(scheduler, normal(0), ones(levels), eta=eta, generator=generator)
    generator.manual_seed(1)
    noises = [torch.randn(SHAPE, generator=generator) for _ in levels]
    name = {"epsilon": "eps", "v_prediction": "v"}[prediction]
    assert_same(expected, ours(solver("ddim")(levels, eta=eta), normal(0), name, noises))


def test_ddim_with_zero_terminal_snr():
    """alpha = 0 exactly, on both sides: DDIM indexes alphas_cumprod and has no fudge."""
    scheduler = schedulers.DDIMScheduler(
        **SD,
        clip_sample=False,
        timestep_spacing="trailing",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
    )
    scheduler.set_timesteps(10)
    levels = spacing("trailing")(vp_scaled_linear(zero_terminal_snr=True), 10)
    assert levels[0].alpha == float(scheduler.alphas_cumprod[999]) == 0.0
    assert_same(theirs(scheduler, normal(0), ones(levels)), ours(solver("ddim")(levels), normal(0), "v"))


def test_ddim_that_ends_before_it_is_clean():
    """Known oddity: Stable Diffusion's set_alpha_to_one=False ends at alphas_cumprod[0], in some noise.

    Our grids end at CLEAN; theirs is crossed when their end is given as the last level.
    """
    scheduler = schedulers.DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=False, steps_offset=1)
    scheduler.set_timesteps(10)
    end = math.sqrt(scheduler.alphas_cumprod[0].double())
    levels = [*product_levels(scheduler)[:-1], Level(end, math.sqrt(1 - end**2), 0.0)]
    expected = theirs(scheduler, normal(0), ones(levels))
    assert_same(expected, ours(solver("ddim")(levels), normal(0)))
    clean = ours(solver("ddim")([*levels[:-1], CLEAN]), normal(0))
    assert float((clean[-1] - expected[-1]).abs().max()) > 100 * TOLERANCE


@pytest.mark.parametrize(("variance", "name"), [("fixed_small", "small"), ("fixed_large", "large")])
def test_ddpm(variance, name):
    scheduler = schedulers.DDPMScheduler(**SD, clip_sample=False, variance_type=variance)
    scheduler.set_timesteps(25)
    levels = product_levels(scheduler)
    generator = torch.Generator().manual_seed(1)
    expected = theirs(scheduler, normal(0), ones(levels), generator=generator)
    generator.manual_seed(1)
    noises = [torch.randn(SHAPE, generator=generator) for _ in levels]
    assert_same(expected, ours(solver("ddpm")(levels, variance=name), normal(0), noises=noises))


@pytest.mark.parametrize("steps", [4, 20])
def test_dpmpp_2m(steps):
    """Their default lower_order_final only repeats what sigma = 0 demands."""
    scheduler = schedulers.DPMSolverMultistepScheduler(**SD, use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    levels = vp_levels(scheduler.sigmas, scheduler.timesteps)
    assert_same(theirs(scheduler, normal(0), ones(levels)), ours(solver("dpmpp_2m")(levels), normal(0)))


def test_dpmpp_2m_sde():
    scheduler = schedulers.DPMSolverMultistepScheduler(**SD, algorithm_type="sde-dpmsolver++")
    scheduler.set_timesteps(20)
    levels = vp_levels(scheduler.sigmas, scheduler.timesteps)
    noises = [normal(10 + i) for i in range(20)]
    x, expected = normal(0), []
    for t, noise in zip(scheduler.timesteps, noises, strict=True):
        x = scheduler.step(model(x, t), t, x, variance_noise=noise).prev_sample
        expected.append(x)
    assert_same(expected, ours(solver("dpmpp_2m_sde")(levels), normal(0), noises=noises))


def test_dpmpp_3m():
    """Known oddities: theirs counts the second difference half, which `as_published` repeats, and below 15
    steps lower_order_final makes the last but one step of second order, so there is no third with 4 steps.
    """
    scheduler = schedulers.DPMSolverMultistepScheduler(**SD, solver_order=3)
    scheduler.set_timesteps(20)
    levels = vp_levels(scheduler.sigmas, scheduler.timesteps)
    expected = theirs(scheduler, normal(0), ones(levels))
    assert_same(expected, ours(solver("dpmpp_3m")(levels, as_published=True), normal(0)))
    exact = ours(solver("dpmpp_3m")(levels), normal(0))
    assert float((exact[-1] - expected[-1]).abs().max()) > 10 * TOLERANCE

    results = {}
    for lower in (True, False):
        scheduler = schedulers.DPMSolverMultistepScheduler(**SD, solver_order=3, lower_order_final=lower)
        scheduler.set_timesteps(8)
        levels = vp_levels(scheduler.sigmas, scheduler.timesteps)
        results[lower] = theirs(scheduler, normal(0), ones(levels))
    program = solver("dpmpp_3m")(levels, as_published=True)
    assert_same(results[False], ours(program, normal(0)))
    assert float((results[True][-1] - results[False][-1]).abs().max()) > TOLERANCE


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2])
def test_unipc(order, variant):
    scheduler = schedulers.UniPCMultistepScheduler(**SD, solver_order=order, solver_type=variant)
    scheduler.set_timesteps(12)
    levels = vp_levels(scheduler.sigmas, scheduler.timesteps)
    expected = theirs(scheduler, normal(0), ones(levels))
    got = ours(solver("unipc")(levels, order=order, variant=variant), normal(0))
    assert torch.isfinite(got[-1]).all()
    if variant == "bh1":
        # Known oddity: B(h) = h is infinite in the step to sigma = 0, and theirs ends in nan.
        assert torch.isnan(expected.pop()).all()
        got.pop()
    assert_same(expected, got)


def test_unipc_on_a_flow():
    """Known oddity: their flow starts at sigma = 1 - 1e-6, to have a logarithm. Ours starts at 1."""
    scheduler = schedulers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    scheduler.set_timesteps(10)
    assert 0 < 1 - float(scheduler.sigmas[0]) < 2e-6
    levels = flow_levels(scheduler.sigmas, scheduler.timesteps)
    expected = theirs(scheduler, normal(0), ones(levels))
    assert_same(expected, ours(solver("unipc")(levels), normal(0), "flow"))


def test_lcm():
    scheduler = schedulers.LCMScheduler(**SD, clip_sample=False)
    scheduler.set_timesteps(4, original_inference_steps=50)
    levels = product_levels(scheduler)
    generator = torch.Generator().manual_seed(1)
    expected = theirs(scheduler, normal(0), ones(levels), generator=generator)
    generator.manual_seed(1)
    noises = [torch.randn(SHAPE, generator=generator) for _ in levels]
    for scaling in (10.0, 0.0):
        program = solver("lcm")(levels, timestep_scaling=scaling)
        assert_same(expected, ours(program, normal(0), noises=noises))


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_match_euler(shift):
    """With the grid that pipelines pass, theirs is our path and our uniform spacing, timesteps and all."""
    scheduler = schedulers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 8, 8))
    levels = spacing("uniform")(FlowPath(shift), 8)
    assert [level.time for level in levels[:-1]] == pytest.approx(scheduler.timesteps.tolist(), rel=1e-6)
    expected = theirs(scheduler, normal(0), ones(levels))
    assert_same(expected, ours(solver("euler")(levels), normal(0), "flow"))


def test_flow_match_euler_shifts_twice():
    """Known oddity: without sigmas passed in, their grid runs down to a smallest sigma that has been shifted,
    and is then shifted again.
    """
    scheduler = schedulers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(8)
    path = FlowPath(3.0)
    once = path.at(1 / 1000).sigma
    twice = path.at(once).sigma
    assert float(scheduler.sigmas[-2]) == pytest.approx(twice, rel=1e-5)
    levels = [*(path.at(t) for t in np.linspace(1.0, once, 8)), CLEAN]
    assert_same(theirs(scheduler, normal(0), ones(levels)), ours(solver("euler")(levels), normal(0), "flow"))


@pytest.mark.parametrize(("order", "name"), [(1, "euler"), (2, "dpmpp_2m")])
def test_dpm_solver_on_a_flow(order, name):
    """What plain pipelines open our models with. Their timesteps are cut to integers, for both here."""
    scheduler = schedulers.DPMSolverMultistepScheduler(
        solver_order=order,
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=2.0,
        final_sigmas_type="zero",
    )
    scheduler.set_timesteps(10)
    levels = flow_levels(scheduler.sigmas, scheduler.timesteps)
    expected = theirs(scheduler, normal(0), ones(levels))
    assert_same(expected, ours(solver(name)(levels), normal(0), "flow"))

    # Known oddity: their grid starts a thousandth below pure noise, else it is our uniform spacing.
    path = FlowPath(2.0)
    sigmas = [path.at(0.999 * (1 - i / 10)).sigma for i in range(10)]
    assert scheduler.sigmas[:-1].tolist() == pytest.approx(sigmas, rel=1e-6)
