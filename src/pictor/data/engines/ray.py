"""Work on Ray Data, in processes of all machines of a cluster.

Each task gives some parts to a crew of one worker, so that a picture that crashes or keeps it is named and
left out as it is on one machine. A task whose machine is lost is done again elsewhere. All machines must see
the sources, the folder that is written, and the one that the command was started in at the same paths.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from pictor.core.errors import Cancelled, PictorError
from pictor.data.crew import Crew, Part, R, Terms, Work
from pictor.data.ray_cluster import connected

_TOGETHER = 16
"""Parts of a task at most: starting its worker takes as long as one or two."""
_WINDOW = 4096
"""Parts that this process holds at once."""


def results(work: Work[R], jobs: Iterable[Part], terms: Terms) -> Iterator[tuple[Part, R]]:
    """See `Crew.results`; a wish to stop is granted as results come, and the tasks that run are ended."""
    ray = connected()
    from ray import data

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # else it tells that it shows no progress
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    slots = terms.workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    coming = iter(jobs)
    while window := list(islice(coming, _WINDOW)):
        each = min(_TOGETHER, -(-len(window) // slots))
        tasks = [window[first : first + each] for first in range(0, len(window), each)]
        done = data.from_items([pickle.dumps(task) for task in tasks], override_num_blocks=len(tasks)).map(
            _done,
            fn_kwargs={"work": work, "patience": terms.patience, "folder": os.getcwd()},
            num_cpus=1,
            concurrency=terms.workers,
        )
        held = {part.number: part for part in window}
        for row in done.iter_rows():
            answers = pickle.loads(row["answers"])  # noqa: S301 - of this run's own tasks
            if isinstance(answers, PictorError):
                raise answers
            for number, answer in answers:
                yield held[number], answer
            if terms.should_stop is not None and terms.should_stop():
                raise Cancelled("stopped on request")


def _done(row: dict[str, Any], work: Work[Any], patience: float, folder: str) -> dict[str, Any]:
    """A task: the numbers of its parts and what came of each, or the error that ended it."""
    os.chdir(folder)
    parts = pickle.loads(row["item"])  # noqa: S301
    crew = Crew(work, Terms(workers=1, patience=patience))
    try:
        answers: Any = [(part.number, answer) for part, answer in crew.results(parts)]
    except PictorError as error:
        answers = error
    return {"answers": pickle.dumps(answers)}
