"""One call's training: its networks, optimiser, samples and clocks, and what is done with them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pictor.core.errors import Cancelled
from pictor.training.checkpoints import load_checkpoint, save_checkpoint
from pictor.training.devices import (
    checkpoint_activations,
    choose_device,
    compile_networks,
    move,
    precise,
)
from pictor.training.export import publish_model
from pictor.training.feeding import Build, Rebuilt, batches, jobs, parts
from pictor.training.journal import Journal
from pictor.training.learner import Learner
from pictor.training.loss_watch import LossWatch
from pictor.training.machine import peak_memory
from pictor.training.objectives import (
    Batch,
    Batched,
    DrawnElsewhere,
    Figures,
    Objective,
    ShowsPictures,
)
from pictor.training.outlook import outlook
from pictor.training.previews import PreviewTimes, drafted, draw_preview
from pictor.training.processes import Team
from pictor.training.recipe import Recipe
from pictor.training.run_files import CHECKPOINTS
from pictor.training.sample_names import sample_names
from pictor.training.schedule import Intervals, Length, rate_factor
from pictor.training.terms import Hooks, Outcome, Progress, Settings

_LOG_SECONDS = 10.0


class Wish(IntEnum):
    """What is to happen after a step; of several processes' wishes the greatest counts."""

    GO_ON = 0
    SAVE = 1
    END = 2
    STOP = 3


class Session:
    """One call's training: what it holds, and what it does with it."""

    def __init__(
        self,
        team: Team,
        build: Build,
        recipe: Recipe,
        run: Path,
        checkpoint: Path | None,
        settings: Settings,
        hooks: Hooks,
    ) -> None:
        self.team, self.recipe, self.run = team, recipe, run
        self.settings, self.hooks = settings, hooks
        self.device = choose_device(settings.device, team.place, team.neighbours)
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        torch.manual_seed(recipe.seed)
        self.objective = objective = build(recipe.objective, recipe.seed)
        if isinstance(objective, Batched):
            objective.batches_of(recipe.batch_size)
        self.rebuilt = Rebuilt(build, recipe.objective, recipe.seed)
        if recipe.gradient_checkpointing:
            checkpoint_activations(objective)
        move(objective, self.device)
        told = hooks.on_kept or (lambda what, done, of: None)
        if recipe.cache_latents:
            from pictor.training.latent_cache import use_kept_latents  # which brings diffusers

            use_kept_latents(objective, partial(told, "pictures"))
        if recipe.cache_texts:
            from pictor.training.text_cache import use_kept_texts

            use_kept_texts(objective, partial(told, "captions"))
        team.align(objective.module)
        wanted = settings.outlook and team.rank == 0
        self.outlook = outlook(objective, recipe, self.device) if wanted else None
        again = partial(build, recipe.objective, recipe.seed) if settings.shard else None
        self.learner = Learner(objective, recipe, self.device, team, again)
        record: dict[str, Any] = {"samples_seen": 0, "step": 0}
        if checkpoint is not None:
            record = load_checkpoint(
                checkpoint, objective.module, self.learner.optimiser, self.learner.averages
            )
        self.learner.go_on(record)
        if recipe.compile:
            compile_networks(objective)
        self.first = self.seen = int(record["samples_seen"])
        self.length = Length(recipe, record.get("fitted_samples"), record.get("seconds", 0.0))
        self.samples = self.length.samples(self.seen, 0.0)
        self.previews = PreviewTimes(recipe, objective, self.length.seconds)
        self.validations = Intervals(recipe.validate_minutes, self.length.seconds)
        self.watch = LossWatch(run, partial(sample_names, recipe, isinstance(objective, Batched)))
        self.start_clocks()

    def start_clocks(self) -> None:
        """Training begins, or what was done until here is not of it."""
        self.begun = self.last_log = self.last_save = self.last_look = time.monotonic()

    def batches(self) -> AbstractContextManager[Iterator[Batch]]:
        """This process's shares of the batches to come."""
        objective, team = self.objective, self.team
        draw = objective.drawer() if isinstance(objective, DrawnElsewhere) else self.rebuilt
        each = -(-self.settings.drawers // team.neighbours)
        return batches(objective, draw, jobs(self.seen, self.recipe, team), each, self.device)

    def step(self, coming: Iterator[Batch]) -> Figures:
        """Learn from this process's share of the next batch."""
        options = self.recipe.optimiser
        factor = rate_factor(
            self.seen, self.samples, options.warm_up, options.cool_down, options.cool_down_shape
        )
        weights = [weight for _, _, weight in parts(self.seen, self.recipe, self.team)]
        loss, figures = self.learner.learn(((next(coming), weight) for weight in weights), factor)
        count = min(self.recipe.batch_size, self.recipe.samples - self.seen)
        if self.team.rank == 0:
            self.watch.note(self.learner.steps, self.seen, self.seen + count - 1, loss)
        self.seen += count
        return figures

    def wish(self) -> Wish:
        """What this process wants to happen after a step."""
        if self.hooks.should_stop is not None and self.hooks.should_stop():
            return Wish.STOP
        if self.team.rank == 0:
            clock, minutes = time.monotonic(), self.settings.minutes
            if minutes is not None and clock - self.settings.started > minutes * 60:
                return Wish.END
            if clock - self.last_save > self.recipe.checkpoint_minutes * 60:
                return Wish.SAVE
        return Wish.GO_ON

    @property
    def seconds(self) -> float:
        """Training time of all calls."""
        return self.length.seconds + time.monotonic() - self.begun

    def look(self, figures: Figures, journal: Journal) -> None:
        """Read the losses, fit the length, tell how it goes."""
        loss = self.watch.look()
        self.learner.check_scale()
        clock = self.last_look = time.monotonic()
        self.samples = self.length.samples(self.seen, clock - self.begun)
        speed = (self.seen - self.first) / max(clock - self.begun, 1e-9)
        due = clock - self.last_log > _LOG_SECONDS or self.seen >= self.samples
        if self.hooks.on_progress is None and not due:
            return
        numbers = {name: float(value) for name, value in figures.items()}
        memory = peak_memory(self.device)
        if self.hooks.on_progress is not None:
            self.hooks.on_progress(Progress(self.seen, self.samples, loss, speed, memory, numbers))
        if due:
            self.last_log = clock
            journal.at(self.seen, self.learner.steps)
            line = {"loss": loss, "rate": self.learner.optimiser.param_groups[0]["lr"]}
            line |= {"samples_per_second": round(speed, 2), "seconds": round(self.seconds, 1)}
            line |= {} if memory is None else {"memory_gb": round(memory / 1e9, 3)}
            journal.figures(line | numbers)

    def save(self) -> None:
        """Write a checkpoint, unless a loss that nobody looked at is no number; all processes ask for it."""
        writes = self.team.rank == 0
        if not writes and not self.settings.shard:
            return
        self.watch.look()
        record = {
            "samples_seen": self.seen,
            **self.learner.record,
            "fitted_samples": self.length.fitted,
            "of": self.samples,
            "seconds": self.seconds,
            "torch": torch.__version__,
        }
        learner = self.learner
        module, folder = learner.objective.module, self.run / CHECKPOINTS
        save_checkpoint(folder, module, learner.optimiser, learner.averages, record, writes)
        self.last_save = time.monotonic()

    def preview(self, journal: Journal, model: Path | None = None) -> None:
        """Pictures by a model, or by the averaged weights as they are.

        Their time is not the training's. What goes wrong is logged, and the training goes on.
        """
        begun = time.monotonic()
        journal.at(self.seen, self.learner.steps)
        try:
            with ExitStack() as stack:
                if model is None and isinstance(self.objective, ShowsPictures):
                    with self.learner.averaged() as shown:
                        model = stack.enter_context(drafted(shown, self.run))  # type: ignore[arg-type]
                if model is not None:
                    file = draw_preview(
                        model, self.run, self.recipe, self.seen, self.device, self.hooks.should_stop
                    )
                    journal.preview(file, time.monotonic() - begun)
        except Cancelled:
            pass  # whoever wished it is asked again after the next step
        except Exception as error:
            journal.problem("preview", error)
        self.begun += time.monotonic() - begun

    def validate(self, journal: Journal) -> None:
        """Figures of the averaged weights as they are. Their time and their chance are not the training's."""
        begun = time.monotonic()
        journal.at(self.seen, self.learner.steps)
        cards = [self.device] if self.device.type == "cuda" else []
        with self.learner.averaged() as shown, torch.no_grad(), torch.random.fork_rng(devices=cards):
            journal.validation(self._validated(shown))
        self.objective.module.train()
        self.begun += time.monotonic() - begun

    def _validated(self, objective: Objective) -> dict[str, float]:
        objective.module.eval()
        with precise(self.device, self.recipe.precision):
            return objective.validate()

    def conclude(self, journal: Journal) -> Outcome:
        """Where wished validate the averaged weights, publish them and show what they make."""
        finished = self.seen >= self.samples
        if not finished and not self.settings.publish:
            return Outcome(self.seen, finished, None, {})
        with self.learner.averaged() as objective, torch.no_grad():
            report = self._validated(objective)
            move(objective, torch.device("cpu"))
            model = publish_model(objective, self.run, graphs=self.settings.graphs)
        journal.at(self.seen, self.learner.steps)
        journal.validation(report)
        if self.previews.wanted:
            self.preview(journal, model)
        return Outcome(self.seen, finished, model, report)
