"""The tasks, each in a file of its own: a request, and a function that plans it.

A task file ends with `TASK = Task(...)`; the method of `Studio` and the command of its verb come of that, and
nothing else has to be edited to add one.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from pictor import tasks
from pictor.core.errors import InputError
from pictor.core.plan import Plan, Traits


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the engine and the faces need to know of a task."""

    name: str
    verb: str
    """What one tells the program to do: a method of Studio, and a command."""
    request: type[Any]
    """The record of the user's wish, made of `pictor.tasks.wish` fields; its docstring is the verb's help."""
    plan: Callable[[Any, Traits], Plan]
    """Pure: checks the whole wish, and runs no model."""
    needs: frozenset[str]
    """Of `pictor.core.plan.ABILITIES`: what a model must be able to do."""
    sequence: bool = False
    """Its pictures are one after the other in time: shown as a strip and a film."""


@cache
def all_tasks() -> dict[str, Task]:
    """Every task by name."""
    found: dict[str, Task] = {}
    for module in pkgutil.iter_modules(tasks.__path__):
        task = getattr(importlib.import_module(f"{tasks.__name__}.{module.name}"), "TASK", None)
        if isinstance(task, Task):
            found[task.name] = task
    return found


def task_named(name: str) -> Task:
    """The task with this name.

    Raises:
        InputError: there is none; names those that there are.
    """
    known = all_tasks()
    if name not in known:
        raise InputError(f"unknown task {name!r}", expected=", ".join(sorted(known)), param="task")
    return known[name]


def all_verbs() -> dict[str, Task]:
    """Every task by its verb."""
    return {task.verb: task for task in all_tasks().values()}


def task_of(request: object) -> Task:
    """The task that a request belongs to."""
    for task in all_tasks().values():
        if type(request) is task.request:
            return task
    raise InputError(f"{type(request).__name__} is no request of a task", param="request")
