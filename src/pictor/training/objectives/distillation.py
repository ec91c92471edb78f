"""Distillation: a student that makes in a few unguided steps what its teacher makes in many guided ones.

On the straight path x_t = (1 - t) x0 + t eps a network gives the velocity dx/dt. The student starts as a copy
of its teacher, and its step from t to s < t is to land where the teacher lands who takes several:

    target = (x_t - x_s) / (t - s),   x_s by teacher_steps / student_steps sub-steps of the guided teacher

That is one formula for three methods, and a chain of recipes picks them one after the other:

    guidance distillation    one Euler sub-step: the target is the guided velocity v_u + g (v_c - v_u) itself
                             (Meng et al. 2023, arXiv 2210.03142, section 3.1, with one fixed g)
    progressive halving      two Euler sub-steps of the earlier student, who needs no guidance: 16 -> 8 -> 4
                             (Salimans and Ho 2022, arXiv 2202.00512, algorithm 2)
    direct                   many sub-steps, or Heun's, of the guided teacher at once

The loss is the squared error of the velocity, unweighted. A step lands at x_s = x_t - (t - s) v, so on the
uniform grid this is the squared error of where each step lands times one constant: an error counts for what
it does to the picture, and no step is favoured. In x0 it would be t^2 times that, and neglect the last steps.

Some captions are emptied, for which the target is the teacher's own unconditional velocity. So the student
still has both halves of guidance. It is meant for guidance_scale 1; a scale w on top of it acts like w times
the distilled g, and a negative prompt steers away from what it would have made.

Legend: B samples, C latent channels, h, w latent rows and columns, T tokens, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import nn
from transformers import CLIPTextModel

from pictor.core.errors import InputError
from pictor.core.levels import FlowPath
from pictor.families.registry import open_bundle
from pictor.sampling.guidance import guide
from pictor.training.attention import ready_to_train
from pictor.training.captioned_latents import (
    CaptionedPictures,
    NoisedCorpusKeys,
    PictureEncoder,
    latents_of,
)
from pictor.training.objectives import Batch, beside
from pictor.training.parts import open_autoencoder, open_text_encoder, open_unet
from pictor.training.pictures import BookPictures
from pictor.training.pipeline_folder import PipelineFacts, write_pipeline
from pictor.training.recipe import validated
from pictor.training.sourced import Sourced
from pictor.training.tokenizer import tokenize

_VALIDATION = 128
_NEARLY_CLEAN = 1e-6
"""Times below it are 0: thirds do not add up to 1 exactly."""

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""velocity(x [B, C, h, w], t [B]) -> dx/dt [B, C, h, w]."""


class Config(NoisedCorpusKeys):
    """Keys of the recipe's [objective] table."""

    teacher: Path
    """Model folder to learn from; the student starts as its copy, and inherits the rest of it."""
    student: Path | None = None
    """Model folder whose denoiser the student starts as instead: an earlier student of the same shape."""
    student_teacher: Path | None = None
    """That student's own teacher, where the new one has learnt on from it: the student starts as the new
    teacher plus what it had changed of its own (Ilharco et al. 2023, arXiv 2212.04089)."""
    student_steps: int = Field(4, ge=1, le=1000)
    """Steps of the student's grid 1, 1 - 1/N, ..., 1/N, and its default number of steps."""
    teacher_steps: int = Field(8, ge=1, le=1000)
    """Steps of the teacher over the whole path; a multiple of student_steps."""
    teacher_solver: Literal["euler", "heun"] = "euler"
    """Heun's steps are second order, for two evaluations each."""
    guidance: float | None = Field(None, ge=0, le=100)
    """The teacher's scale; left out, its own default, which is 1 for a teacher that is a student already."""
    guidance_low: float = Field(0.0, ge=0, lt=1)
    guidance_high: float = Field(1.0, gt=0, le=1)
    """The teacher is guided where low < t <= high, elsewhere its conditional velocity stands."""
    times: Literal["grid", "any"] = "grid"
    """Where steps start: on the student's grid, or anywhere in (0, 1], for any number of steps."""
    teacher_language: Literal["en", "zh"] | None = None
    """Language in which the teacher reads what the student reads in either: the student learns to draw for
    the other as the teacher does for this. Of drawn pictures alone."""
    own_share: float = Field(0.0, ge=0, le=1)
    """Share of samples whose x_t is where the student's own steps lead from noise, and no noised picture."""

    @model_validator(mode="after")
    def _told_in_both(self) -> Config:
        if self.data is not None and self.teacher_language is not None:
            raise ValueError("teacher_language is of drawn pictures, and data is given")
        return self

    @field_validator("student_teacher")
    @classmethod
    def _of_a_student(cls, teacher: Path | None, others: ValidationInfo) -> Path | None:
        if teacher is not None and others.data.get("student") is None:
            raise ValueError("there is no student that this was the teacher of")
        return teacher

    @field_validator("teacher_steps")
    @classmethod
    def _whole_sub_steps(cls, steps: int, others: ValidationInfo) -> int:
        if steps % others.data.get("student_steps", 1):
            raise ValueError(f"{steps} is no multiple of student_steps")
        return steps

    @field_validator("guidance_high")
    @classmethod
    def _some_interval(cls, high: float, others: ValidationInfo) -> float:
        if high <= others.data.get("guidance_low", 0.0):
            raise ValueError(f"{high} is not above guidance_low")
        return high

    @field_validator("own_share")
    @classmethod
    def _own_on_the_grid(cls, share: float, others: ValidationInfo) -> float:
        if share > 0 and others.data.get("times") == "any":
            raise ValueError('the student\'s own states lie on its grid, which times = "any" leaves')
        return share


def mean_velocity(
    velocity: Velocity,
    x_BChw: torch.Tensor,
    t_B: torch.Tensor,
    s_B: torch.Tensor,
    substeps: int = 1,
    solver: Literal["euler", "heun"] = "euler",
) -> torch.Tensor:
    """(x_t - x_s) / (t - s), the velocity of the one step that lands where several small ones do.

    Args:
        velocity: dx/dt.
        x_BChw: states at t.
        t_B: times of the start, in (0, 1].
        s_B: times of the end, each below its t.
        substeps: small steps, at least 1, of equal length.
        solver: "heun" averages the slopes at both ends of a small step, but for one that ends at 0, where no
            network is asked; there it is an Euler step, as in sampling.
    """
    h_B = (t_B - s_B) / substeps
    h_B111 = h_B[:, None, None, None]
    total_BChw = torch.zeros_like(x_BChw)
    for number in range(substeps):
        now_B = t_B - number * h_B
        then_B = s_B if number == substeps - 1 else t_B - (number + 1) * h_B
        slope = velocity(x_BChw, now_B)
        rows = then_B > 0
        if solver == "heun" and bool(rows.any()):
            ahead = velocity(x_BChw - h_B111 * slope, then_B)
            slope = torch.where(rows[:, None, None, None], (slope + ahead) / 2, slope)
        x_BChw = x_BChw - h_B111 * slope
        total_BChw = total_BChw + slope
    return total_BChw / substeps  # not from x_t - x_s, whose difference rounds


@dataclass(frozen=True, slots=True)
class StartTime:
    """Draws where a step starts."""

    steps: int
    anywhere: bool

    def __call__(self, rng: np.random.Generator) -> float:
        """A time in (0, 1]: of the grid 1, 1 - 1/steps, ..., 1/steps, or any."""
        if self.anywhere:
            return float(1 - rng.random())
        return float((self.steps - rng.integers(self.steps)) / self.steps)


class Student(nn.Module):
    """The network that learns, as a velocity."""

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x_BChw: torch.Tensor, t_B: torch.Tensor, words_BTD: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.unet(x_BChw, 1000.0 * t_B, words_BTD).sample
        return out.float()

    def velocity(self, words_BTD: torch.Tensor) -> Velocity:
        """The velocity for these captions."""
        return lambda x_BChw, t_B: self(x_BChw, t_B, words_BTD)


class Teacher:
    """A frozen denoiser, guided in an interval of times."""

    def __init__(self, unet: nn.Module, scale: float, low: float = 0.0, high: float = 1.0) -> None:
        self.unet = unet.eval().requires_grad_(False)
        self.scale = scale
        self.low = low
        self.high = high

    def velocity(
        self, words_BTD: torch.Tensor, empty_1TD: torch.Tensor, captioned_B: torch.Tensor
    ) -> Velocity:
        """The guided velocity for these captions; its two halves are one batch.

        Args:
            words_BTD: embedded captions.
            empty_1TD: the embedded empty caption.
            captioned_B: False where the caption is the empty one, and there is nothing to guide towards.
        """
        if self.scale == 1.0:
            return lambda x_BChw, t_B: self._asked(x_BChw, t_B, words_BTD)
        both = torch.cat([words_BTD, empty_1TD.expand_as(words_BTD)])

        def guided(x_BChw: torch.Tensor, t_B: torch.Tensor) -> torch.Tensor:
            # Of all rows, also of those that are not guided: batches of one shape are compiled once, and a
            # GPU is never asked how many there are.
            out = self._asked(torch.cat([x_BChw, x_BChw]), torch.cat([t_B, t_B]), both)
            conditional, other = out.chunk(2)
            rows = captioned_B & (t_B > self.low) & (t_B <= self.high)
            return torch.where(rows[:, None, None, None], guide(conditional, other, self.scale), conditional)

        return guided

    def _asked(self, x: torch.Tensor, t: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.unet(x, 1000.0 * t, words).sample.float()
        return out


def _first_student(config: Config, teacher: nn.Module) -> UNet2DConditionModel:
    unet = open_unet(config.student or config.teacher)
    _check_same(unet, teacher, config, "student")
    if config.student_teacher is not None:
        earlier = open_unet(config.student_teacher)
        _check_same(earlier, teacher, config, "student_teacher")
        new, old = teacher.state_dict(), earlier.state_dict()
        unet.load_state_dict({name: new[name] + own - old[name] for name, own in unet.state_dict().items()})
    return unet


def _check_same(net: nn.Module, teacher: nn.Module, config: Config, key: str) -> None:
    shapes = [{name: tensor.shape for name, tensor in one.state_dict().items()} for one in (net, teacher)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"the denoiser of {getattr(config, key)} has another shape than that of {config.teacher}",
            expected="one of the same channels and layers",
            param=f"objective.{key}",
        )


class DistillationObjective(Sourced[CaptionedPictures]):
    """A copy of a teacher's UNet that learns to take longer steps; all else of the teacher stays."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        traits = open_bundle(config.teacher, "torch").traits
        if traits.prediction != "flow" or traits.path != FlowPath():
            raise InputError(
                f"{config.teacher} predicts {traits.prediction} on {traits.path}",
                expected="a teacher with flow prediction on the straight path, without a shift",
                remedy="Train it with the objective rectified_flow.",
                param="objective.teacher",
            )
        self.size = traits.defaults.size[0]
        self.teacher_unet = ready_to_train(open_unet(config.teacher))
        self.module = Student(ready_to_train(_first_student(config, self.teacher_unet)))
        scale = traits.defaults.guidance_scale if config.guidance is None else config.guidance
        self.teacher = Teacher(self.teacher_unet, scale, config.guidance_low, config.guidance_high)
        text_encoder, self.tokenizer = open_text_encoder(config.teacher)
        self.text_encoder: CLIPTextModel = text_encoder.eval().requires_grad_(False)
        self.encoder = PictureEncoder(open_autoencoder(config.teacher / "vae").float())
        pictures = config.pictures(self.size, seed, traits.stride)
        if isinstance(pictures, BookPictures):
            pictures = replace(pictures, retold=config.teacher_language)
        self.source = CaptionedPictures(
            pictures=pictures,
            tokenizer=self.tokenizer,
            channels=traits.latent_channels,
            factor=traits.latent_stride,
            empty_captions=config.empty_captions,
            noisings=config.noisings,
            draw_time=StartTime(config.student_steps, anywhere=config.times == "any"),
        )
        self.empty_1T = tokenize(self.tokenizer, [""])

    def rate(self, name: str) -> float:
        return 1.0

    def _words(self, batch: Batch) -> tuple[torch.Tensor, Velocity]:
        """The captions embedded as the student is given them, and the teacher's velocity for them."""
        ids_BT = batch["ids"]
        told_BT, empty_1T = batch.get("ids_retold", ids_BT), self.empty_1T.to(ids_BT.device)
        embedded = self.text_encoder(input_ids=torch.cat([told_BT, empty_1T])).last_hidden_state
        told_BTD, captioned_B = embedded[:-1], (ids_BT != empty_1T).any(1)
        words_BTD = told_BTD
        if "ids_retold" in batch:
            words_BTD = self.text_encoder(input_ids=ids_BT).last_hidden_state
        return words_BTD, self.teacher.velocity(told_BTD, embedded[-1:], captioned_B)

    def _roll(self, eps_BChw: torch.Tensor, t_B: torch.Tensor, words_BTD: torch.Tensor) -> torch.Tensor:
        """Where the student's own steps lead from noise, each sample down to its time on the grid."""
        x_BChw, steps = eps_BChw.clone(), self.config.student_steps
        for number in range(steps):
            rows = (t_B < 1 - (number + 0.5) / steps).nonzero()[:, 0]
            if len(rows) == 0:
                break
            now = torch.full_like(t_B[rows], 1 - number / steps)
            x_BChw[rows] -= self.module(x_BChw[rows], now, words_BTD[rows]) / steps
        return x_BChw

    def _states(self, batch: Batch, words_BTD: torch.Tensor) -> torch.Tensor:
        """x_t of every sample: a picture's latents with noise, or the student's own."""
        t_B111 = batch["t"][:, None, None, None]
        x_BChw = (1 - t_B111) * latents_of(batch, self.encoder) + t_B111 * batch["eps"]
        if self.config.own_share == 0:
            return x_BChw
        own = (batch["lot"] < self.config.own_share).nonzero()[:, 0]
        if len(own) == 0:
            return x_BChw
        return x_BChw.index_copy(0, own, self._roll(batch["eps"][own], batch["t"][own], words_BTD[own]))

    @torch.no_grad()
    def lesson(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """States x_t [B, C, h, w], embedded captions [B, T, D], and the velocities to learn."""
        words_BTD, teacher = self._words(batch)
        x_BChw, t_B = self._states(batch, words_BTD), batch["t"]
        s_B = t_B - 1 / self.config.student_steps
        s_B = torch.where(s_B > _NEARLY_CLEAN, s_B, 0.0)
        target_BChw = mean_velocity(teacher, x_BChw, t_B, s_B, self._substeps, self.config.teacher_solver)
        return x_BChw, words_BTD, target_BChw

    @property
    def _substeps(self) -> int:
        return self.config.teacher_steps // self.config.student_steps

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        x_BChw, words_BTD, target_BChw = self.lesson(batch)
        # Up to torch 2.10 autocast goes on using the weights that it cast for the student's own steps, which
        # lead no gradient back.
        torch.clear_autocast_cache()
        out_BChw = self.module(x_BChw, batch["t"], words_BTD)
        return F.mse_loss(out_BChw, target_BChw), {}

    def validate(self) -> dict[str, float]:
        """Errors on held-out pictures: of single steps, and of whole paths from noise to latents.

        The path's end is compared to the teacher's in its many steps; beside it stands how far the teacher
        itself strays in the student's few, which is what distillation has to beat.
        """
        few, many = self.config.student_steps, self.config.teacher_steps
        errors = []
        for drawn in self.source.judged(_VALIDATION):
            batch = beside(drawn, self.module)
            with torch.no_grad():
                single, _ = self.loss(batch)
                words_BTD, teacher = self._words(batch)
                eps = batch["eps"]
                one, zero = torch.ones_like(batch["t"]), torch.zeros_like(batch["t"])
                wanted = eps - mean_velocity(teacher, eps, one, zero, many, self.config.teacher_solver)
                made = eps - mean_velocity(self.module.velocity(words_BTD), eps, one, zero, few)
                strayed = eps - mean_velocity(teacher, eps, one, zero, few)
                errors.append(torch.stack([single, F.mse_loss(made, wanted), F.mse_loss(strayed, wanted)]))
        kind = "held_out" if self.source.pictures.has_held_out else "seen"
        names = (f"{kind}_mse", "path_mse", "teacher_path_mse_in_few_steps")
        return dict(zip(names, torch.stack(errors).mean(0).tolist(), strict=True))

    def save(self, folder: Path) -> None:
        self._write(folder, graphs=True)

    def save_draft(self, folder: Path) -> None:
        self._write(folder, graphs=False)

    def _write(self, folder: Path, *, graphs: bool) -> None:
        facts = PipelineFacts(
            size=self.size,
            corpus=self.source.pictures.facts,
            num_steps=self.config.student_steps,
            guidance_scale=1.0,
            solver="euler",
        )
        write_pipeline(
            folder,
            self.module.unet,
            self.encoder.autoencoder,
            self.text_encoder,
            self.tokenizer,
            facts,
            graphs=graphs,
        )


def build(table: dict[str, Any], seed: int) -> DistillationObjective:
    return DistillationObjective(validated(Config, table, "[objective]"), seed)
