"""Batches for the loop, the next one fetched while the current one trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from pictor.training.devices import copied, moved
from pictor.training.drawing import Draw, Drawers
from pictor.training.objectives import Batch, Objective
from pictor.training.processes import Team
from pictor.training.recipe import Recipe

Build = Callable[[dict[str, Any], int], Objective]
"""An objective of its table in a recipe and a seed."""


@dataclass(slots=True)
class Rebuilt:
    """Draws by an objective of its own, where the objective offers nothing smaller."""

    build: Build
    table: dict[str, Any]
    seed: int
    objective: Objective | None = None

    def __call__(self, first: int, count: int) -> Batch:
        if self.objective is None:
            torch.manual_seed(self.seed)
            self.objective = self.build(self.table, self.seed)
        return self.objective.batch(first, count)


def parts(first: int, recipe: Recipe, team: Team) -> list[tuple[int, int, float]]:
    """This process's share of the batch that begins with a sample, in the parts that are computed in turn.

    Returns:
        First sample and number of samples of each part, and its weight in the mean over the batch.
    """
    first, count, weight = team.share(first, min(recipe.batch_size, recipe.samples - first))
    edges = (count * part // recipe.accumulate for part in range(recipe.accumulate + 1))
    return [(first + a, b - a, weight * ((b - a) / count)) for a, b in pairwise(edges) if b > a]


def jobs(first: int, recipe: Recipe, team: Team) -> Iterator[tuple[int, int]]:
    """First and number of the samples of all parts of all batches from a sample on."""
    for begin in range(first, recipe.samples, recipe.batch_size):
        for part in parts(begin, recipe, team):
            yield part[:2]


@contextmanager
def batches(
    objective: Objective,
    draw: Draw,
    jobs: Iterator[tuple[int, int]],
    drawers: int,
    device: torch.device,
) -> Iterator[Iterator[Batch]]:
    """Batches in order on the device, the next one fetched while the current one trains.

    The block begins when the first one is there, so that starting the drawers is not taken for training.

    Args:
        objective: draws them in a thread where there are no drawers.
        draw: draws them in drawers; see `Drawers`.
        jobs: first and number of each batch's samples.
        drawers: processes that draw ahead, 0 for none.
        device: where they go.
    """
    with ExitStack() as stack:
        if drawers:
            ahead_of_us = stack.enter_context(Drawers(draw, drawers, jobs))

            def fetch() -> Batch | None:
                return ahead_of_us.take(lambda arrays: copied(arrays, device))
        else:

            def fetch() -> Batch | None:
                job = next(jobs, None)
                return None if job is None else moved(objective.batch(*job), device)

        pool = stack.enter_context(ThreadPoolExecutor(1))
        first = pool.submit(fetch)

        def ahead() -> Iterator[Batch]:
            pending = first
            while (batch := pending.result()) is not None:
                pending = pool.submit(fetch)
                yield batch

        wait([first])
        yield ahead()
