"""The one training loop: bounded, observable, interruptible, exactly resumable."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pictor.core.errors import Cancelled, InputError, PictorError
from pictor.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from pictor.training.ema import WeightAverage
from pictor.training.export import publish_model
from pictor.training.objectives import Batch, Objective, build
from pictor.training.recipe import Recipe
from pictor.training.schedule import rate_factor

_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands."""

    samples_seen: int
    samples: int
    loss: float
    samples_per_second: float
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call of `train` ended."""

    samples_seen: int
    finished: bool
    model: Path
    figures: dict[str, float]


def _prefetched(objective: Objective, first: int, recipe: Recipe) -> Iterator[Batch]:
    """Batches in order, the next one drawn while the current one trains."""
    with ThreadPoolExecutor(1) as pool:
        pending = None
        while first < recipe.samples:
            count = min(recipe.batch_size, recipe.samples - first)
            current = pending or pool.submit(objective.batch, first, count)
            first += count
            count = min(recipe.batch_size, recipe.samples - first)
            pending = pool.submit(objective.batch, first, count) if count > 0 else None
            yield current.result()


def _claim(run: Path, recipe: Recipe, resume: bool) -> Path | None:
    """Take a run folder for this recipe; returns the checkpoint to go on from."""
    stored = run / "recipe.json"
    checkpoint = latest_checkpoint(run / "checkpoints")
    if checkpoint is None:
        run.mkdir(parents=True, exist_ok=True)
        stored.write_text(recipe.model_dump_json(indent=1), encoding="utf-8")
        return None
    if not resume:
        raise InputError(
            f"run {run} has a checkpoint already",
            expected="an empty run folder",
            remedy="Pass --resume to go on, or --run for another folder.",
            param="run",
        )
    # Compared as JSON, where a tuple that was written comes back as the list it became.
    if json.loads(stored.read_text(encoding="utf-8")) != recipe.model_dump(mode="json"):
        raise InputError(
            f"run {run} was started with another recipe",
            expected=f"the recipe in {stored}",
            remedy="Use that recipe, or --run for another folder.",
            param="recipe",
        )
    return checkpoint


@contextmanager
def averaged(objective: Objective, averages: list[WeightAverage]) -> Iterator[None]:
    """Within this block the network holds its first averaged weights."""
    for average in averages[:1]:
        average.swap(objective.module)
    try:
        yield
    finally:
        for average in averages[:1]:
            average.swap(objective.module)


def train(
    recipe: Recipe,
    run: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Outcome:
    """Train until the recipe's samples, the minutes or the user end it.

    A stopped run that goes on ends with the weights of an uninterrupted one: every sample is a function of
    the seed and its number, and the checkpoint holds the rest.

    Args:
        recipe: the resolved recipe.
        run: the run's folder; holds recipe.json, log.jsonl, checkpoints/ and model/.
        minutes: wall-clock bound of this call, None for no bound.
        resume: go on from the latest checkpoint.
        on_progress: called after every step.
        should_stop: asked after every step; true saves and raises Cancelled.

    Raises:
        InputError: the folder belongs to another recipe or is in use.
        PictorError: the loss is no number; names the step and the last good checkpoint.
        Cancelled: stopped on request, after saving.
    """
    started = time.monotonic()
    checkpoint = _claim(run, recipe, resume)
    torch.manual_seed(recipe.seed)
    objective = build(recipe.objective, recipe.seed)
    module = objective.module
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": [p], "factor": objective.rate(name)} for name, p in named]
    options = recipe.optimiser
    optimiser = torch.optim.AdamW(
        groups, lr=options.learning_rate, betas=options.betas, weight_decay=options.weight_decay, foreach=True
    )
    averages = [WeightAverage(module, width) for width in recipe.ema_widths]
    seen = step = 0
    if checkpoint is not None:
        record = load_checkpoint(checkpoint, module, optimiser, averages)
        seen, step = record["samples_seen"], record["step"]

    def save() -> Path:
        record = {"samples_seen": seen, "step": step, "torch": torch.__version__}
        return save_checkpoint(run / "checkpoints", module, optimiser, averages, record)

    first, begun = seen, time.monotonic()
    last_log = last_save = begun
    module.train()
    with (run / "log.jsonl").open("a", encoding="utf-8") as log:
        for batch in _prefetched(objective, seen, recipe):
            factor = rate_factor(seen, recipe.samples, options.warm_up, options.cool_down)
            for group in optimiser.param_groups:
                group["lr"] = options.learning_rate * factor * group["factor"]
            loss, figures = objective.loss(batch)
            value = float(loss.detach())
            if not math.isfinite(value):
                last = min(seen + recipe.batch_size, recipe.samples) - 1
                good = latest_checkpoint(run / "checkpoints")
                raise PictorError(
                    f"the loss is {value} at step {step + 1} (samples {seen} to {last})",
                    expected="a finite number",
                    remedy=f"Lower the learning rate; the last good checkpoint is {good or 'none'}.",
                )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_([p for _, p in named], options.clip_norm, foreach=True)
            optimiser.step()
            step += 1
            seen = min(seen + recipe.batch_size, recipe.samples)
            for average in averages:
                average.update(module, step)
            clock = time.monotonic()
            rate = (seen - first) / max(clock - begun, 1e-9)
            if on_progress is not None:
                on_progress(Progress(seen, recipe.samples, value, rate, figures))
            if clock - last_log > _LOG_SECONDS or seen == recipe.samples:
                last_log = clock
                line = {"samples": seen, "step": step, "loss": value, "rate": optimiser.param_groups[0]["lr"]}
                log.write(json.dumps(line | {"samples_per_second": round(rate, 2)} | figures) + "\n")
                log.flush()
            if should_stop is not None and should_stop():
                save()
                raise Cancelled(
                    f"stopped after {seen} of {recipe.samples} samples, saved in {run}",
                    remedy="Run the same command with --resume to go on.",
                )
            if clock - last_save > recipe.checkpoint_minutes * 60:
                save()
                last_save = clock
            if minutes is not None and clock - started > minutes * 60:
                break
        save()
        module.eval()
        with averaged(objective, averages), torch.no_grad():
            report = objective.validate()
            model = publish_model(objective, run)
        log.write(json.dumps({"samples": seen, "step": step, "validation": report}) + "\n")
    return Outcome(seen, seen >= recipe.samples, model, report)
