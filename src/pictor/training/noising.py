"""Variance-preserving noise as recipes name it: the levels of each timestep, and the loss at them.

Legend: B samples, N timesteps.
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import torch
from diffusers import DDPMScheduler
from pydantic import Field, model_validator
from torch import nn

from pictor.core import levels
from pictor.core.predictions import Mixture, target
from pictor.training.recipe import Strict

_BETAS = {"linear": (0.1, 20.0), "scaled_linear": (0.85, 12.0)}
"""First and last beta times the number of timesteps: Ho et al.'s, and Stable Diffusion's, of a thousand."""
_THEIR_SCHEDULES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
_THEIR_PREDICTIONS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


class NoisingKeys(Strict):
    """Keys of the [objective] table that say what noise is learnt from, and how."""

    prediction: Literal["eps", "x0", "v"] = "v"
    """What the network answers with: see `pictor.core.predictions`."""
    schedule: Literal["linear", "scaled_linear", "cosine"] = "cosine"
    """How noise grows with time; the two linear ones are scaled so that fewer timesteps end as noisy."""
    num_train_timesteps: int = Field(1000, ge=50, le=10_000)
    zero_terminal_snr: bool = False
    """Shift and scale the schedule so that nothing of the picture is left at its end."""
    min_snr_gamma: float | None = Field(None, gt=0, le=1000)
    """Weigh each level by min(SNR, gamma), as an error of x0; None weighs errors of the prediction alike."""

    @model_validator(mode="after")
    def _says_something_everywhere(self) -> Self:
        if self.zero_terminal_snr and self.prediction == "eps":
            raise ValueError("eps says nothing of the picture where zero_terminal_snr leaves nothing of it")
        if self.zero_terminal_snr and self.min_snr_gamma is not None:
            raise ValueError("min_snr_gamma does not weigh the last timestep that zero_terminal_snr makes")
        return self

    @property
    def betas(self) -> tuple[float, float]:
        """The first and the last, where they lie on a line or their roots do."""
        first, last = _BETAS.get(self.schedule, _BETAS["linear"])
        return first / self.num_train_timesteps, last / self.num_train_timesteps

    @property
    def path(self) -> levels.VPPath:
        """The levels of every timestep."""
        count, zero = self.num_train_timesteps, self.zero_terminal_snr
        if self.schedule == "cosine":
            return levels.vp_cosine(count, zero_terminal_snr=zero)
        make = levels.vp_linear if self.schedule == "linear" else levels.vp_scaled_linear
        return make(count, *self.betas, zero_terminal_snr=zero)

    def scheduler(self, *, clips: bool, spacing: str) -> DDPMScheduler:
        """The same for diffusers' pipelines.

        Args:
            clips: whether estimates are kept in [-1, 1], where pixels lie.
            spacing: "trailing" or "leading".
        """
        first, last = self.betas
        return DDPMScheduler(
            num_train_timesteps=self.num_train_timesteps,
            beta_schedule=_THEIR_SCHEDULES[self.schedule],
            beta_start=first,
            beta_end=last,
            prediction_type=_THEIR_PREDICTIONS[self.prediction],
            rescale_betas_zero_snr=self.zero_terminal_snr,
            clip_sample=clips,
            timestep_spacing=spacing,
            # Stable Diffusion's pipelines insist; trailing timesteps do not use it.
            steps_offset=0 if clips else 1,
        )


def uniform_time(rng: np.random.Generator) -> float:
    """A share of all timesteps, from 0 up to 1."""
    return float(rng.random())


def snr_weight(prediction: str, alpha: torch.Tensor, sigma: torch.Tensor, gamma: float) -> torch.Tensor:
    """What min(SNR, gamma) times the error of x0 is in errors of the prediction.

    Hang et al. 2023, arXiv:2303.09556, section 3.4: min(SNR, gamma) for x0, over SNR for eps, and over
    SNR + 1 for v.

    Args:
        prediction: "eps", "x0" or "v".
        alpha, sigma: of the levels, with alpha^2 + sigma^2 = 1.
        gamma: where the weight stops to grow.
    """
    snr = (alpha / sigma) ** 2
    return snr.clamp(max=gamma) / {"x0": torch.ones_like(snr), "eps": snr, "v": snr + 1}[prediction]


class Noising(nn.Module):
    """Levels by timesteps, on whichever device the loop puts them."""

    def __init__(self, keys: NoisingKeys) -> None:
        super().__init__()
        self.keys, self.path = keys, keys.path
        each = [self.path.at(float(step)) for step in range(keys.num_train_timesteps)]
        self.alpha_N: torch.Tensor
        self.sigma_N: torch.Tensor
        self.register_buffer("alpha_N", torch.tensor([level.alpha for level in each]))
        self.register_buffer("sigma_N", torch.tensor([level.sigma for level in each]))

    def steps(self, share_B: torch.Tensor) -> torch.Tensor:
        """Timesteps, whole numbers from 0 to N - 1, of shares from 0 to 1."""
        count = len(self.alpha_N)
        return (share_B * count).long().clamp(max=count - 1)

    def levels(self, step_B: torch.Tensor) -> Mixture:
        """Of the samples, [B, 1, 1, 1]."""
        shaped = step_B[:, None, None, None]
        return Mixture(self.alpha_N[shaped], self.sigma_N[shaped])

    def error(self, out: torch.Tensor, x0: torch.Tensor, eps: torch.Tensor, level: Mixture) -> torch.Tensor:
        """Mean squared error of the prediction, weighed as the recipe wants it, [B]."""
        wrong: torch.Tensor = (out - target(self.keys.prediction, x0, eps, level)).square().mean((1, 2, 3))
        gamma = self.keys.min_snr_gamma
        if gamma is None:
            return wrong
        return wrong * snr_weight(self.keys.prediction, level.alpha.flatten(), level.sigma.flatten(), gamma)
