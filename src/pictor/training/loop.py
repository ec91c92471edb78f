"""The one training loop: bounded, observable, interruptible, exactly resumable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pictor.core.errors import Cancelled, InputError
from pictor.training.calls import recorded, run_identity
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
from pictor.training.full_disk import full_disk_told
from pictor.training.journal import Journal
from pictor.training.learner import Learner
from pictor.training.lock import held
from pictor.training.loss_watch import LossWatch
from pictor.training.machine import machine_facts, peak_memory
from pictor.training.objectives import (
    Batch,
    Batched,
    DrawnElsewhere,
    Figures,
    Objective,
    ShowsPictures,
    build,
)
from pictor.training.outlook import Outlook, outlook
from pictor.training.previews import PreviewTimes, drafted, draw_preview
from pictor.training.processes import Team, assembled, leads
from pictor.training.recipe import Recipe
from pictor.training.run_files import CHECKPOINTS, LOG
from pictor.training.run_folder import claim
from pictor.training.sample_names import sample_names
from pictor.training.schedule import Intervals, Length, rate_factor
from pictor.training.trackers import Subject, chosen_trackers

if TYPE_CHECKING:
    from pictor.training.latent_cache import Watch

_LOG_SECONDS = 10.0
_LOOK_SECONDS = 0.5
"""How often a GPU is waited for to read its losses; on a CPU they are read at every step."""

_GO_ON, _SAVE, _END, _STOP = range(4)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    samples_seen: int
    samples: int
    loss: float
    samples_per_second: float
    """Since the call began to train."""
    peak_memory: int | None
    """Bytes that this process has held at most; see `machine.peak_memory`."""
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of `train` ended."""

    samples_seen: int
    finished: bool
    model: Path | None
    """None where the run is not finished and its model so far was not wished for."""
    figures: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """How a call trains; none of it changes what is learnt, but for rounding."""

    minutes: float | None
    device: str
    drawers: int
    shard: bool
    publish: bool
    outlook: bool
    """Whether to count the work of a sample first."""
    started: float
    """When the call began, by the monotonic clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hooks:
    on_kept: Watch | None = None
    on_outlook: Callable[[Outlook], None] | None = None
    on_progress: Callable[[Progress], None] | None = None
    should_stop: Callable[[], bool] | None = None


def train(
    recipe: Recipe,
    run: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    processes: int = 1,
    device: str = "auto",
    drawers: int = 0,
    shard: bool = False,
    publish_unfinished: bool = True,
    on_kept: Watch | None = None,
    on_outlook: Callable[[Outlook], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Train until the recipe's samples, the minutes or the user end it.

    A stopped run that goes on ends with the weights of an uninterrupted one: every sample is a function of
    the seed and its number, and the checkpoint holds the rest. Several processes share each batch and end
    with the weights of one, up to rounding, if the loss is a mean over samples that do not meet in it.

    Args:
        recipe: the resolved recipe.
        run: the run's folder; holds what `run_files` names.
        minutes: wall-clock bound of this call, None for no bound.
        resume: go on from the latest checkpoint.
        processes: processes of this machine that share each batch; 1 under torchrun, which starts them.
        device: "cpu", "cuda" (a GPU for each process), or "auto".
        drawers: processes that draw samples ahead, shared among `processes`; 0 draws in a thread.
        shard: let each process hold a share of weights, gradients, moments and averages only; see `sharding`.
        publish_unfinished: validate and write the model also where the minutes end the call before the run.
        on_kept: called as latents to be kept are made, where the recipe wishes that; in rank 0 alone.
        on_outlook: called once before the first step with what the run is going to cost; in rank 0 alone.
        on_progress: called after every step on a CPU, now and then on a GPU; in rank 0 alone.
        should_stop: asked after every step; true in any process saves and raises Cancelled in all.

    Raises:
        InputError: the folder belongs to another recipe or is in use; processes, device, drawers or shard do
            not fit the machine or the recipe; a tracker that the recipe names is not installed.
        PictorError: the loss is no number (names the step and the last good checkpoint), or a process died.
        Cancelled: stopped on request, after saving.
    """
    if drawers < 0:
        raise InputError(f"drawers is {drawers}", expected="0 or more", param="drawers")
    settings = _Settings(
        minutes=minutes,
        device=device,
        drawers=drawers,
        shard=shard,
        publish=publish_unfinished,
        outlook=on_outlook is not None,
        started=time.monotonic(),
    )
    choose_device(device, 0, max(1, processes))
    if processes > recipe.batch_size:
        raise InputError(
            f"{processes} processes share batches of {recipe.batch_size}",
            expected="a sample or more for each",
            remedy="Pass fewer --processes.",
            param="processes",
        )
    chosen_trackers(recipe.track)
    with held(run) if leads() else nullcontext():
        checkpoint = claim(run, recipe, resume) if leads() else None
        with assembled(processes, _follow, build, recipe, run, settings) as team:
            checkpoint = team.by_first(lambda: checkpoint)
            hooks = _Hooks(
                on_kept=on_kept, on_outlook=on_outlook, on_progress=on_progress, should_stop=should_stop
            )
            with full_disk_told(run):
                return _train(team, build, recipe, run, checkpoint, settings, hooks)


def _follow(team: Team, build: Build, recipe: Recipe, run: Path, settings: _Settings) -> None:
    """What the processes besides rank 0 do."""
    checkpoint: Path | None = team.by_first(lambda: None)
    _train(team, build, recipe, run, checkpoint, settings, _Hooks())


class _Training:
    """One call's training: what it holds, and what happens in a step."""

    def __init__(
        self,
        team: Team,
        build: Build,
        recipe: Recipe,
        run: Path,
        checkpoint: Path | None,
        settings: _Settings,
        on_kept: Watch | None,
    ) -> None:
        self.team, self.recipe, self.run, self.settings = team, recipe, run, settings
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
        if recipe.cache_latents:
            from pictor.training.latent_cache import use_kept_latents  # which brings diffusers

            use_kept_latents(objective, on_kept)
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

    def wish(self, hooks: _Hooks) -> int:
        """What this process wants to happen after a step."""
        if hooks.should_stop is not None and hooks.should_stop():
            return _STOP
        if self.team.rank == 0:
            clock, minutes = time.monotonic(), self.settings.minutes
            if minutes is not None and clock - self.settings.started > minutes * 60:
                return _END
            if clock - self.last_save > self.recipe.checkpoint_minutes * 60:
                return _SAVE
        return _GO_ON

    @property
    def seconds(self) -> float:
        """Training time of all calls."""
        return self.length.seconds + time.monotonic() - self.begun

    def look(self, figures: Figures, hooks: _Hooks, journal: Journal) -> None:
        """Read the losses, fit the length, tell how it goes."""
        loss = self.watch.look()
        self.learner.check_scale()
        clock = self.last_look = time.monotonic()
        self.samples = self.length.samples(self.seen, clock - self.begun)
        speed = (self.seen - self.first) / max(clock - self.begun, 1e-9)
        due = clock - self.last_log > _LOG_SECONDS or self.seen >= self.samples
        if hooks.on_progress is None and not due:
            return
        numbers = {name: float(value) for name, value in figures.items()}
        memory = peak_memory(self.device)
        if hooks.on_progress is not None:
            hooks.on_progress(Progress(self.seen, self.samples, loss, speed, memory, numbers))
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
            "seconds": self.seconds,
            "torch": torch.__version__,
        }
        learner = self.learner
        module, folder = learner.objective.module, self.run / CHECKPOINTS
        save_checkpoint(folder, module, learner.optimiser, learner.averages, record, writes)
        self.last_save = time.monotonic()

    def preview(self, journal: Journal, hooks: _Hooks, model: Path | None = None) -> None:
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
                        model, self.run, self.recipe, self.seen, self.device, hooks.should_stop
                    )
                    journal.preview(file, time.monotonic() - begun)
        except Cancelled:
            pass  # whoever wished it is asked again after the next step
        except Exception as error:
            journal.problem("preview", error)
        self.begun += time.monotonic() - begun

    def validate(self, journal: Journal, hooks: _Hooks) -> None:
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

    def conclude(self, journal: Journal, hooks: _Hooks) -> Outcome:
        """Where wished validate the averaged weights, publish them and show what they make."""
        finished = self.seen >= self.samples
        if not finished and not self.settings.publish:
            return Outcome(self.seen, finished, None, {})
        with self.learner.averaged() as objective, torch.no_grad():
            report = self._validated(objective)
            move(objective, torch.device("cpu"))
            model = publish_model(objective, self.run)
        journal.at(self.seen, self.learner.steps)
        journal.validation(report)
        if self.previews.wanted:
            self.preview(journal, hooks, model)
        return Outcome(self.seen, finished, model, report)


def _train(
    team: Team,
    build: Build,
    recipe: Recipe,
    run: Path,
    checkpoint: Path | None,
    settings: _Settings,
    hooks: _Hooks,
) -> Outcome:
    first = team.rank == 0
    with ExitStack() as stack:
        end: dict[str, Any] = {}
        identity = run_identity(run)
        if first:
            device = choose_device(settings.device, team.place, team.neighbours)
            facts = {"processes": team.size, "drawers": settings.drawers, **machine_facts(device)}
            end = stack.enter_context(recorded(run, identity, facts))
        training = _Training(team, build, recipe, run, checkpoint, settings, hooks.on_kept)
        stack.callback(lambda: end.update(samples=training.seen, of=training.samples))
        journal = stack.enter_context(Journal(run / LOG if first else Path(os.devnull)))
        if first:
            table = recipe.model_dump(mode="json")
            subject = Subject(
                run=run, name=recipe.name, identity=identity, recipe=table, samples=training.seen
            )
            journal.open_trackers(chosen_trackers(recipe.track), subject)
        return _go_on(training, journal, hooks)


def _go_on(training: _Training, journal: Journal, hooks: _Hooks) -> Outcome:
    """Train to the end, or until it is time or wished to stop."""
    team, first = training.team, training.team.rank == 0
    if hooks.on_outlook is not None and training.outlook is not None:
        hooks.on_outlook(training.outlook)
    patient = training.device.type == "cuda"
    training.objective.module.train()
    training.start_clocks()
    with training.batches() as coming:
        while training.seen < training.samples:
            figures = training.step(coming)
            wish = training.wish(hooks)
            over = training.seen >= training.samples
            late = time.monotonic() - training.last_look > _LOOK_SECONDS
            if first and (not patient or late or over or wish != _GO_ON):
                training.look(figures, hooks, journal)
            looks = (training.validations, training.previews)
            due = [int(first and not over and look.due(training.seconds)) for look in looks]
            wish, training.samples, *due = team.greatest(wish, training.samples if first else 0, *due)
            if wish in (_SAVE, _STOP):
                training.save()
            if wish == _STOP:
                raise Cancelled(
                    f"stopped after {training.seen} of {training.samples} samples, saved in {training.run}",
                    remedy="Run the same command with --resume to go on.",
                )
            if wish == _END:
                break
            for show, wanted in zip((training.validate, training.preview), due, strict=True):
                if wanted:
                    training.learner.gather()
                if wanted and first:
                    show(journal, hooks)
    training.save()
    training.learner.gather()
    return team.by_first(lambda: training.conclude(journal, hooks))
