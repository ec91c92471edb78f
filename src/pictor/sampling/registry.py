"""The table of solvers. A solver is one file in `solvers/` whose function carries `@register`."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import pairwise
from pkgutil import iter_modules
from types import MappingProxyType
from typing import Any

from pictor.core.errors import InputError, PlanError
from pictor.core.levels import Level
from pictor.sampling.program import Step


@dataclass(frozen=True, kw_only=True)
class SolverInfo:
    """A solver and what may be said about it; calling it compiles a grid of levels."""

    name: str
    function: Callable[..., list[Step]]
    evaluations_per_step: int
    """Network evaluations for each stretch of the grid (a last or first stretch may need fewer)."""
    stochastic: bool
    """Whether its defaults draw fresh noise."""
    description: str

    @property
    def options(self) -> dict[str, Any]:
        """Names of its options, and their defaults."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}

    def __call__(self, levels: Sequence[Level], **options: Any) -> list[Step]:
        """The program that leads x from the first level to the last.

        Args:
            levels: at least 2, from noisy to clean: k strictly falls, so only the first may have alpha = 0
                and only the last sigma = 0.
            **options: see `options`.

        Returns:
            The steps, each with one network evaluation.

        Raises:
            InputError: for an option that this solver does not have, or a value out of its range.
            PlanError: for levels in another order.
        """
        known = self.options
        for option in options:
            if option not in known:
                raise InputError(
                    f"solver {self.name} has no option {option!r}",
                    expected=f"one of {', '.join(known)}" if known else "no options",
                    param=option,
                )
        check_grid(levels)
        return self.function(levels, **options)


_FOUND: dict[str, SolverInfo] = {}


def register(
    name: str, *, description: str, evaluations_per_step: int = 1, stochastic: bool = False
) -> Callable[[Callable[..., list[Step]]], Callable[..., list[Step]]]:
    """Make a function of (levels, *, options) the solver of this name."""

    def decorate(function: Callable[..., list[Step]]) -> Callable[..., list[Step]]:
        if name in _FOUND and _FOUND[name].function.__module__ != function.__module__:
            raise ValueError(f"two solvers are named {name}")
        _FOUND[name] = SolverInfo(
            name=name,
            function=function,
            evaluations_per_step=evaluations_per_step,
            stochastic=stochastic,
            description=description,
        )
        return function

    return decorate


@cache
def solvers() -> MappingProxyType[str, SolverInfo]:
    """All solvers by name, in alphabetical order."""
    package = import_module("pictor.sampling.solvers")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return MappingProxyType(dict(sorted(_FOUND.items())))


def solver(name: str) -> SolverInfo:
    """The solver of this name.

    Raises:
        InputError: when there is none; lists the names.
    """
    if name not in solvers():
        raise InputError(f"solver {name!r}", expected=f"one of {', '.join(solvers())}", param="solver")
    return solvers()[name]


def check_grid(levels: Sequence[Level]) -> None:
    """Raise PlanError unless levels are at least 2 and their noise strictly falls."""
    if len(levels) < 2:
        raise PlanError(f"{len(levels)} noise levels", expected="at least 2: where to start and where to end")
    for index, (now, then) in enumerate(pairwise(levels)):
        if not then.k < now.k:
            raise PlanError(
                f"noise does not fall from level {index} (sigma/alpha={now.k:g}) to {index + 1} ({then.k:g})",
                expected="levels from noisy to clean, each strictly cleaner than the one before",
            )
