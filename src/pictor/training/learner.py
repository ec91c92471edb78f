"""What a step does to the weights: gradients of a batch, in one part or in several, and the optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pictor.core.errors import PictorError
from pictor.training.devices import precise
from pictor.training.ema import WeightAverage
from pictor.training.objectives import Batch, Figures, Objective
from pictor.training.processes import Team
from pictor.training.recipe import Optimiser, Recipe
from pictor.training.sharding import copied_whole, spread, whole

_LEAST_SCALE = 1e-3
"""Of a loss in float16: gradients that overflow below it are no accident."""


def _adamw(objective: Objective, options: Optimiser) -> torch.optim.AdamW:
    """One group for each factor on the learning rate, so that the fused step takes many weights at once."""
    by_factor: dict[float, list[tuple[str, torch.nn.Parameter]]] = {}
    for name, parameter in objective.module.named_parameters():
        if parameter.requires_grad:
            by_factor.setdefault(objective.rate(name), []).append((name, parameter))
    groups: list[dict[str, Any]] = [{"params": named, "factor": f} for f, named in by_factor.items()]
    return torch.optim.AdamW(
        groups, lr=options.learning_rate, betas=options.betas, weight_decay=options.weight_decay, fused=True
    )


class Learner:
    """A network, its optimiser and its averages.

    Gradients of losses in float16 are small enough to vanish, and so the loss is scaled up as far as they do
    not overflow; a step whose gradients do is left out (Micikevicius et al. 2018, arXiv 1710.03740).

    Args:
        objective: on its device already.
        recipe: of the run.
        device: where it computes.
        team: of processes; rank 0 writes, and so it alone averages.
        again: makes another such objective; where it is given, the network is spread over the team, and all
            processes average their shares.
    """

    def __init__(
        self,
        objective: Objective,
        recipe: Recipe,
        device: torch.device,
        team: Team,
        again: Callable[[], Objective] | None = None,
    ) -> None:
        self.objective, self._recipe, self._device, self._team = objective, recipe, device, team
        self._again, self._shown = again, objective
        if again is not None:
            spread(objective.module, recipe, team.size, device)
        self.optimiser = _adamw(objective, recipe.optimiser)
        self.parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        averages = team.rank == 0 or again is not None
        self.averages = [WeightAverage(objective.module, w) for w in recipe.ema_widths if averages]
        self._scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.steps = 0

    def learn(self, parts: Iterable[tuple[Batch, float]], rate: float) -> tuple[torch.Tensor, Figures]:
        """Learn from this process's share of a batch.

        Args:
            parts: of the share, and the weight of each in the mean over the batch of all processes.
            rate: factor on the base learning rate.

        Returns:
            The batch's loss, and this process's figures. The loss is no number where the gradients are none.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self._recipe.optimiser.learning_rate * rate * group["factor"]
        self.optimiser.zero_grad(set_to_none=True)
        losses, told, weights = [], [], []
        for batch, weight in parts:
            with precise(self._device, self._recipe.precision):
                loss, figures = self.objective.loss(batch)
            if weight != 1:
                loss = loss * weight
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
            told.append(figures)
            weights.append(weight)
        total = self._team.sum_gradients(self.parameters, _sum(losses))
        self._scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self._recipe.optimiser.clip_norm, foreach=True)
        self._scaler.step(self.optimiser)
        self._scaler.update()
        self.steps += 1
        for average in self.averages:
            average.update(self.objective.module, self.steps)
        if not self._scaler.is_enabled():
            # Weights that a step like this wrote are lost, though its own loss may have been a number.
            total = torch.where(whole(norm).isfinite(), total, torch.nan)
        return total, _mean(told, weights)

    def check_scale(self) -> None:
        """Whether float16 can hold the gradients; makes the CPU wait for a GPU.

        Raises:
            PictorError: they overflow however small the loss is scaled, so that nothing is learnt.
        """
        if self._scaler.is_enabled() and self._scaler.get_scale() < _LEAST_SCALE:
            raise PictorError(
                f"gradients overflow in float16 at step {self.steps}, however the loss is scaled",
                expected="numbers that float16 can hold",
                remedy='Set precision = "bf16" or "fp32", or lower the learning rate.',
            )

    @property
    def record(self) -> dict[str, Any]:
        """JSON values to go on from, besides weights and moments."""
        return {"step": self.steps, "scaler": self._scaler.state_dict()}

    def go_on(self, record: dict[str, Any]) -> None:
        """From what `record` told."""
        self.steps = int(record["step"])
        if scaler := record.get("scaler"):
            self._scaler.load_state_dict(scaler)

    def gather(self) -> None:
        """Bring a spread network together in rank 0, for `averaged`; all processes must ask for it."""
        if self._again is not None:
            means = self.averages[0].tensors if self.averages else {}
            copy = copied_whole(self._again, self.objective.module, means, self._device, self._team.rank == 0)
            self._shown = copy or self.objective

    @contextmanager
    def averaged(self) -> Iterator[Objective]:
        """Within this block the objective that it gives has the first averaged weights, in rank 0."""
        if self._shown is not self.objective:
            yield self._shown
            self._shown = self.objective
            return
        for average in self.averages[:1]:
            average.swap(self.objective.module)
        try:
            yield self.objective
        finally:
            for average in self.averages[:1]:
                average.swap(self.objective.module)


def _sum(losses: list[torch.Tensor]) -> torch.Tensor:
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()


def _mean(told: list[Figures], weights: list[float]) -> Figures:
    """Figures of parts as those of the whole."""
    if len(told) == 1:
        return told[0]
    whole = sum(weights)
    return {
        name: sum(figures[name] * (weight / whole) for figures, weight in zip(told, weights, strict=True))
        for name in told[0]
    }
