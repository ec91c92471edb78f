"""Paths and spacings against diffusers' schedulers. Where theirs are odd the test says so, and ours stay."""

import numpy as np
import pytest

from pictor.core.levels import FlowPath, vp_cosine, vp_linear, vp_scaled_linear
from pictor.core.spacings import spacing

pytest.importorskip("torch")
schedulers = pytest.importorskip("diffusers.schedulers")

# diffusers takes arrays of tensors in a way that numpy warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PATHS = {
    "linear": (vp_linear(), {"beta_schedule": "linear"}),
    "scaled": (vp_scaled_linear(), SD),
    "cosine": (vp_cosine(), {"beta_schedule": "squaredcos_cap_v2"}),
    "scaled zero": (vp_scaled_linear(zero_terminal_snr=True), SD | {"rescale_betas_zero_snr": True}),
}


@pytest.mark.parametrize(("path", "config"), PATHS.values(), ids=PATHS)
def test_paths(path, config):
    """In float32, theirs; to its rounding."""
    expected = schedulers.DDIMScheduler(**config).alphas_cumprod.double().numpy()
    np.testing.assert_allclose(np.sqrt(path.alphas_cumprod), np.sqrt(expected), atol=2e-5)


@pytest.mark.parametrize("steps", [1, 4, 20, 30])
@pytest.mark.parametrize(("theirs_named", "name"), [("linspace", "uniform"), ("trailing", "trailing")])
def test_even_spacings(steps, theirs_named, name):
    """Ours are theirs before rounding. Known oddity: their linspace of one step is time 0, the cleanest."""
    scheduler = schedulers.EulerDiscreteScheduler(**SD, timestep_spacing=theirs_named)
    scheduler.set_timesteps(steps)
    got = [level.time for level in spacing(name)(vp_scaled_linear(), steps)[:-1]]
    if steps == 1 and name == "uniform":
        assert (scheduler.timesteps.tolist(), got) == ([0.0], [999.0])
        return
    exact = name == "uniform"  # which theirs does not round in this scheduler
    np.testing.assert_allclose(got, scheduler.timesteps, atol=1e-3 if exact else 0.5 + 1e-6)


@pytest.mark.parametrize("steps", [1, 4, 20, 30])
def test_leading(steps):
    scheduler = schedulers.DDIMScheduler(**SD, timestep_spacing="leading", steps_offset=1)
    scheduler.set_timesteps(steps)
    got = [level.time for level in spacing("leading")(vp_scaled_linear(), steps)[:-1]]
    assert got == scheduler.timesteps.tolist()


@pytest.mark.parametrize(
    ("option", "name", "ours_options"),
    [
        ("use_karras_sigmas", "karras", {}),
        ("use_exponential_sigmas", "exponential", {}),
        # Known oddity: theirs takes beta quantiles of noise where the paper, and ours, takes them of time.
        ("use_beta_sigmas", "beta", {"over": "noise"}),
    ],
)
@pytest.mark.parametrize("steps", [4, 20])
def test_spacings_of_noise(option, name, ours_options, steps):
    scheduler = schedulers.EulerDiscreteScheduler(**SD, **{option: True})
    scheduler.set_timesteps(steps)
    levels = spacing(name)(vp_scaled_linear(), steps, **ours_options)
    np.testing.assert_allclose([level.k for level in levels], scheduler.sigmas, rtol=2e-4)
    np.testing.assert_allclose([level.time for level in levels[:-1]], scheduler.timesteps, atol=0.02)

    scheduler = schedulers.FlowMatchEulerDiscreteScheduler(shift=3.0, **{option: True})
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))
    levels = spacing(name)(FlowPath(3.0), steps, **ours_options)
    np.testing.assert_allclose([level.sigma for level in levels], scheduler.sigmas, rtol=1e-5)
    np.testing.assert_allclose([level.time for level in levels[:-1]], scheduler.timesteps, rtol=1e-5)
