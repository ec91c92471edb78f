"""A solver's result: a table of affine updates, one network evaluation each.

A row of a batch is one picture. Its registers, all of x's shape, are x itself; base, which solvers with a
corrector keep; d0, the denoised estimate of the step at hand; d1 and d2, those of the steps before; and z,
fresh noise. Since a step is nothing but numbers, rows of one batch may stand at different steps of different
requests. All coefficients are Python floats (float64).
"""

from dataclasses import dataclass

from pictor.core.levels import Level


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One linear combination of the registers."""

    x: float = 0.0
    base: float = 0.0
    d0: float = 0.0
    d1: float = 0.0
    d2: float = 0.0
    z: float = 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """One network evaluation and what follows from it."""

    level: Level
    """Where the network is evaluated, and where x stands."""
    x: Coefficients
    """The next x."""
    then: Level
    """Where the next x stands."""
    base: Coefficients | None = None
    """The next base, from the registers before the step; None leaves it as it is."""
    keeps_history: bool = True
    """Whether d0 becomes the next d1, and d1 the next d2."""

    @property
    def draws_noise(self) -> bool:
        """Whether the step needs fresh noise."""
        return self.x.z != 0.0 or (self.base is not None and self.base.z != 0.0)
