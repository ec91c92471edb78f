"""From noise to pictures: solvers, guidance and the loop, on arrays of numpy and of torch alike."""

from pictor.sampling.guidance import (
    Guidance,
    autoguided,
    classifier_free,
    guided,
    interval,
    rescaled,
)
from pictor.sampling.loop import sample
from pictor.sampling.program import Coefficients, Step
from pictor.sampling.registry import SolverInfo, solver
from pictor.sampling.registry import solvers as all_solvers

__all__ = [
    "Coefficients",
    "Guidance",
    "SolverInfo",
    "Step",
    "all_solvers",
    "autoguided",
    "classifier_free",
    "guided",
    "interval",
    "rescaled",
    "sample",
    "solver",
]
