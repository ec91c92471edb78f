"""The one training loop: bounded, observable, interruptible, exactly resumable."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

from pictor.core.errors import Cancelled, InputError
from pictor.training.calls import recorded, run_identity
from pictor.training.devices import choose_device
from pictor.training.feeding import Build
from pictor.training.full_disk import full_disk_told
from pictor.training.journal import Journal
from pictor.training.lock import held
from pictor.training.machine import machine_facts
from pictor.training.objectives import build
from pictor.training.outlook import Outlook
from pictor.training.processes import Team, assembled, leads
from pictor.training.recipe import Recipe
from pictor.training.run_files import LOG
from pictor.training.run_folder import claim
from pictor.training.session import Session, Wish
from pictor.training.terms import Hooks, Outcome, Progress, Settings
from pictor.training.trackers import Subject, chosen_trackers

_LOOK_SECONDS = 0.5
"""How often a GPU is waited for to read its losses; on a CPU they are read at every step."""


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
    graphs: bool = True,
    on_kept: Callable[[str, int, int], None] | None = None,
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
        graphs: write the model with graphs for ONNX Runtime; without them, to be exported elsewhere, it is
            written in seconds.
        on_kept: called with what is kept ("pictures" or "captions"), how many are and of how many, as latents
            and texts are made where the recipe wishes that; in rank 0 alone.
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
    settings = Settings(
        minutes=minutes,
        device=device,
        drawers=drawers,
        shard=shard,
        publish=publish_unfinished,
        graphs=graphs,
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
            hooks = Hooks(
                on_kept=on_kept, on_outlook=on_outlook, on_progress=on_progress, should_stop=should_stop
            )
            with full_disk_told(run):
                return _train(team, build, recipe, run, checkpoint, settings, hooks)


def _follow(team: Team, build: Build, recipe: Recipe, run: Path, settings: Settings) -> None:
    """What the processes besides rank 0 do."""
    checkpoint: Path | None = team.by_first(lambda: None)
    _train(team, build, recipe, run, checkpoint, settings, Hooks())


def _train(
    team: Team,
    build: Build,
    recipe: Recipe,
    run: Path,
    checkpoint: Path | None,
    settings: Settings,
    hooks: Hooks,
) -> Outcome:
    first = team.rank == 0
    with ExitStack() as stack:
        end: dict[str, Any] = {}
        identity = run_identity(run)
        if first:
            device = choose_device(settings.device, team.place, team.neighbours)
            facts = {"processes": team.size, "drawers": settings.drawers, **machine_facts(device)}
            end = stack.enter_context(recorded(run, identity, facts))
        session = Session(team, build, recipe, run, checkpoint, settings, hooks)
        stack.callback(lambda: end.update(samples=session.seen, of=session.samples))
        journal = stack.enter_context(Journal(run / LOG if first else Path(os.devnull)))
        if first:
            table = recipe.model_dump(mode="json")
            subject = Subject(
                run=run, name=recipe.name, identity=identity, recipe=table, samples=session.seen
            )
            journal.open_trackers(chosen_trackers(recipe.track), subject)
        return _go_on(session, journal)


def _go_on(session: Session, journal: Journal) -> Outcome:
    """Train to the end, or until it is time or wished to stop."""
    team, first = session.team, session.team.rank == 0
    if session.hooks.on_outlook is not None and session.outlook is not None:
        session.hooks.on_outlook(session.outlook)
    patient = session.device.type == "cuda"
    session.objective.module.train()
    with session.batches() as coming:
        session.start_clocks()
        while session.seen < session.samples:
            figures = session.step(coming)
            wish: int = session.wish()
            over = session.seen >= session.samples
            late = time.monotonic() - session.last_look > _LOOK_SECONDS
            if first and (not patient or late or over or wish != Wish.GO_ON):
                session.look(figures, journal)
            looks = (session.validations, session.previews)
            due = [int(first and not over and look.due(session.seconds)) for look in looks]
            wish, session.samples, *due = team.greatest(wish, session.samples if first else 0, *due)
            if wish in (Wish.SAVE, Wish.STOP):
                session.save()
            if wish == Wish.STOP:
                raise Cancelled(
                    f"stopped after {session.seen} of {session.samples} samples, saved in {session.run}",
                    remedy="Run the same command with --resume to go on.",
                )
            if wish == Wish.END:
                break
            for show, wanted in zip((session.validate, session.preview), due, strict=True):
                if wanted:
                    session.learner.gather()
                if wanted and first:
                    show(journal)
    session.save()
    session.learner.gather()
    return team.by_first(lambda: session.conclude(journal))
