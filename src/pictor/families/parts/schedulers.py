"""A diffusers scheduler's configuration, read as a path, a prediction, and the usual solver and spacing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pictor.core import levels
from pictor.core.errors import ModelError, PictorError
from pictor.families.parts.files import read_json

_PREDICTIONS = {"epsilon": "eps", "v_prediction": "v", "sample": "x0", "flow_prediction": "flow"}
_SPACINGS = {"linspace": "uniform", "leading": "leading", "trailing": "trailing"}

# Class -> (solver, spacing where the configuration names none). PNDM has no counterpart of ours; DPM-Solver++
# 2M is what the field usually puts in its place.
_CLASSES = {
    "DDIMScheduler": ("ddim", "leading"),
    "DDPMScheduler": ("ddpm", "leading"),
    "DEISMultistepScheduler": ("dpmpp_2m", "uniform"),
    "DPMSolverMultistepScheduler": ("dpmpp_2m", "uniform"),
    "DPMSolverSinglestepScheduler": ("dpmpp_2m", "uniform"),
    "EDMDPMSolverMultistepScheduler": ("dpmpp_2m", "karras"),
    "EDMEulerScheduler": ("euler", "karras"),
    "EulerAncestralDiscreteScheduler": ("euler_ancestral", "uniform"),
    "EulerDiscreteScheduler": ("euler", "uniform"),
    "FlowMatchEulerDiscreteScheduler": ("euler", "uniform"),
    "HeunDiscreteScheduler": ("heun", "uniform"),
    "LCMScheduler": ("lcm", "leading"),
    "LMSDiscreteScheduler": ("dpmpp_2m", "uniform"),
    "PNDMScheduler": ("dpmpp_2m", "leading"),
    "UniPCMultistepScheduler": ("unipc", "uniform"),
}

_MAX_TIMESTEPS = 100_000
"""So that a damaged number asks for no memory."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What a scheduler's configuration says about its model."""

    path: levels.Path
    prediction: str
    sigma_data: float
    solver: str
    spacing: str
    path_of_tokens: Callable[[int], levels.Path] | None = None
    """Where the noise grows with the picture: from the tokens that it has for the network."""


def read_schedule(file: Path) -> Schedule:
    """Read a scheduler_config.json.

    Raises:
        ModelError: it is missing or damaged, or asks for what Pictor has no counterpart of; names the file.
    """
    config = read_json(file)
    kind = config.get("_class_name")
    if not isinstance(kind, str) or kind not in _CLASSES:
        raise ModelError(
            f"{file} names the scheduler {kind!r}", expected=", ".join(sorted(_CLASSES)), param="model"
        )
    solver, spacing = _CLASSES[kind]
    try:
        path, prediction, sigma_data = _path(kind, config)
        return Schedule(
            path=path,
            prediction=prediction,
            sigma_data=sigma_data,
            solver=_solver(solver, config),
            spacing=_spacing(spacing, config),
            path_of_tokens=_path_of_tokens(config),
        )
    except (PictorError, TypeError, ValueError, KeyError, OverflowError) as error:
        raise ModelError(f"{file} cannot be read as a noise path: {error}", param="model") from None


def _path(kind: str, config: Mapping[str, Any]) -> tuple[levels.Path, str, float]:
    if kind.startswith("EDM"):
        sigma_data = float(config.get("sigma_data", 0.5))
        if config.get("prediction_type", "epsilon") != "epsilon":
            raise ValueError(f"prediction_type {config['prediction_type']!r} of an EDM scheduler")
        path = levels.edm(
            float(config.get("sigma_min", 0.002)), float(config.get("sigma_max", 80.0)), sigma_data
        )
        return path, "edm", sigma_data
    if kind.startswith("FlowMatch"):
        if config.get("use_dynamic_shifting"):
            shifted = _path_of_tokens(config)
            assert shifted is not None  # noqa: S101 - it is there for dynamic shifts
            return shifted(int(config.get("max_image_seq_len") or 4096)), "flow", 1.0
        if config.get("shift_terminal") or config.get("invert_sigmas"):
            raise ValueError("shift_terminal or invert_sigmas, which no model for pictures here has")
        return levels.FlowPath(float(config.get("shift", 1.0))), "flow", 1.0
    prediction = _PREDICTIONS[config.get("prediction_type", "epsilon")]
    if config.get("use_flow_sigmas"):
        return levels.FlowPath(float(config.get("flow_shift", 1.0))), prediction, 1.0
    if prediction == "flow":
        raise ValueError("flow_prediction without use_flow_sigmas")
    return _vp_path(config), prediction, 1.0


def _path_of_tokens(config: Mapping[str, Any]) -> Callable[[int], levels.Path] | None:
    """Flux's shift (`pictor.core.levels.flow_shift`), as a scheduler's configuration has it."""
    if not config.get("use_dynamic_shifting"):
        return None
    numbers = {
        "base_tokens": int(config.get("base_image_seq_len") or 256),
        "max_tokens": int(config.get("max_image_seq_len") or 4096),
        "base_mu": float(config.get("base_shift") or 0.5),
        "max_mu": float(config.get("max_shift") or 1.15),
    }
    linear = config.get("time_shift_type", "exponential") == "linear"

    def path(tokens: int) -> levels.Path:
        shift = levels.flow_shift(tokens, **numbers)  # type: ignore[arg-type]
        return levels.FlowPath(math.log(shift) if linear else shift)

    return path


def _vp_path(config: Mapping[str, Any]) -> levels.VPPath:
    steps = int(config.get("num_train_timesteps", 1000))
    if not 2 <= steps <= _MAX_TIMESTEPS:
        raise ValueError(f"num_train_timesteps {steps}")
    zero = bool(config.get("rescale_betas_zero_snr", False))
    if config.get("trained_betas") is not None:
        betas = [float(beta) for beta in config["trained_betas"]]
        return levels.vp_from_betas(betas, zero_terminal_snr=zero)
    schedule = config.get("beta_schedule", "linear")
    if schedule == "squaredcos_cap_v2":
        return levels.vp_cosine(steps, zero_terminal_snr=zero)
    makers = {"linear": levels.vp_linear, "scaled_linear": levels.vp_scaled_linear}
    if schedule not in makers:
        raise ValueError(f"beta_schedule {schedule!r}")
    start, end = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    return makers[schedule](steps, start, end, zero_terminal_snr=zero)


def _solver(solver: str, config: Mapping[str, Any]) -> str:
    if config.get("_class_name") != "DPMSolverMultistepScheduler":
        return solver
    if str(config.get("algorithm_type", "dpmsolver++")).startswith("sde"):
        return "dpmpp_2m_sde"
    return {1: "euler", 3: "dpmpp_3m"}.get(config.get("solver_order", 2), solver)


def _spacing(spacing: str, config: Mapping[str, Any]) -> str:
    for name in ("karras", "exponential", "beta"):
        if config.get(f"use_{name}_sigmas"):
            return name
    if config.get("use_flow_sigmas"):
        return "uniform"  # diffusers spaces flow sigmas evenly, whatever timestep_spacing says
    return _SPACINGS.get(config.get("timestep_spacing", ""), spacing)
