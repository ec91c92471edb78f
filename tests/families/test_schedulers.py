"""Scheduler configurations are read as diffusers reads them."""

import json

import numpy as np
import pytest

from pictor import ModelError
from pictor.core.levels import FlowPath, VEPath, VPPath
from pictor.families.parts.schedulers import read_schedule


@pytest.mark.parametrize(
    "damage",
    [
        {"_class_name": []},
        {"solver_order": []},
        {"timestep_spacing": {}},
        {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 10**400},
        {"num_train_timesteps": 10**12},
    ],
)
def test_values_of_the_wrong_kind_name_the_file(read, damage):
    with pytest.raises(ModelError, match=r"scheduler_config\.json"):
        read(**{"kind": "DPMSolverMultistepScheduler", **damage})


@pytest.fixture
def read(tmp_path):
    def make(kind, **config):
        file = tmp_path / "scheduler_config.json"
        file.write_text(json.dumps({"_class_name": kind, **config}))
        return read_schedule(file)

    return make


SD15 = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


@pytest.mark.parametrize(
    "config",
    [
        {},
        SD15,
        {**SD15, "rescale_betas_zero_snr": True},
        {"beta_schedule": "squaredcos_cap_v2"},
        {"trained_betas": np.linspace(0.001, 0.02, 50).tolist()},
        {"beta_start": 0.0002, "beta_end": 0.01, "num_train_timesteps": 400},
    ],
)
def test_betas_are_those_of_diffusers(read, config):
    diffusers = pytest.importorskip("diffusers")
    schedule = read("DDIMScheduler", **config)
    assert isinstance(schedule.path, VPPath)
    theirs = diffusers.DDIMScheduler.from_config(config).alphas_cumprod.double().numpy()
    np.testing.assert_allclose(schedule.path.alphas_cumprod, theirs, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "ours"),
    [("epsilon", "eps"), ("v_prediction", "v"), ("sample", "x0")],
)
def test_predictions(read, given, ours):
    assert read("DDIMScheduler", prediction_type=given).prediction == ours
    assert read("DDIMScheduler").prediction == "eps"


def test_flow(read):
    schedule = read(
        "DPMSolverMultistepScheduler",
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=3.0,
        solver_order=1,
        timestep_spacing="leading",
    )
    assert schedule.path == FlowPath(3.0)
    assert (schedule.prediction, schedule.solver, schedule.spacing) == ("flow", "euler", "uniform")
    matching = read("FlowMatchEulerDiscreteScheduler", shift=2.0)
    assert (matching.path, matching.prediction, matching.solver) == (FlowPath(2.0), "flow", "euler")


def test_edm(read):
    schedule = read("EDMEulerScheduler", sigma_min=0.01, sigma_max=50.0, sigma_data=1.0)
    assert schedule.path == VEPath(0.01, 50.0, 1.0, log_time=True)
    assert (schedule.prediction, schedule.sigma_data, schedule.spacing) == ("edm", 1.0, "karras")


@pytest.mark.parametrize(
    ("kind", "config", "solver", "spacing"),
    [
        ("PNDMScheduler", {}, "dpmpp_2m", "leading"),
        ("EulerDiscreteScheduler", {"timestep_spacing": "trailing"}, "euler", "trailing"),
        ("EulerDiscreteScheduler", {"use_karras_sigmas": True}, "euler", "karras"),
        ("DPMSolverMultistepScheduler", {}, "dpmpp_2m", "uniform"),
        ("DPMSolverMultistepScheduler", {"solver_order": 3}, "dpmpp_3m", "uniform"),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, "dpmpp_2m_sde", "uniform"),
        ("UniPCMultistepScheduler", {"use_beta_sigmas": True}, "unipc", "beta"),
        ("LCMScheduler", {}, "lcm", "leading"),
    ],
)
def test_usual_solvers_and_spacings(read, kind, config, solver, spacing):
    schedule = read(kind, **config)
    assert (schedule.solver, schedule.spacing) == (solver, spacing)


def test_every_usual_solver_and_spacing_exists():
    from pictor.core.spacings import SPACINGS
    from pictor.families.parts.schedulers import _CLASSES
    from pictor.sampling.registry import solvers

    assert {solver for solver, _ in _CLASSES.values()} <= set(solvers())
    assert {spacing for _, spacing in _CLASSES.values()} <= set(SPACINGS)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("KDPM2Magic", {}),
        ("DDIMScheduler", {"beta_schedule": "zigzag"}),
        ("DDIMScheduler", {"prediction_type": "mood"}),
        ("DDIMScheduler", {"prediction_type": "flow_prediction"}),
        ("DDIMScheduler", {"beta_start": -1.0}),
        ("DDIMScheduler", {"beta_start": "much"}),
        ("DDIMScheduler", {"trained_betas": [0.1, "x"]}),
        ("FlowMatchEulerDiscreteScheduler", {"shift_terminal": 0.1}),
        ("EDMEulerScheduler", {"prediction_type": "v_prediction"}),
    ],
)
def test_what_cannot_be_read_names_the_file(read, kind, config):
    with pytest.raises(ModelError, match=r"scheduler_config\.json"):
        read(kind, **config)
