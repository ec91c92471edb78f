"""The one loop that makes pictures: it runs programs on numpy arrays and torch tensors alike."""

from collections.abc import Callable, Sequence
from typing import Any

from pictor.core.errors import Cancelled, InputError
from pictor.core.levels import Level
from pictor.sampling.program import Coefficients, Step

Array = Any
"""A numpy array or a torch tensor; only operators and indexing are used."""

Denoise = Callable[[Array, Sequence[Level], Sequence[int]], Array]
"""denoise(x [n, ...], levels, rows) -> x0 [n, ...]: entry j is row rows[j] of the batch, at levels[j]."""

Noise = Callable[[int, int], Array]
"""noise(row, step) -> standard normal noise of one row's shape; steps count from 1, as in `picture_noise`."""

Edit = Callable[[int, Array, Level, int], Array]
"""edit(row, x, then, step) -> x: changes one row, which stands at level `then` after this step (from 1)."""

Watch = Callable[[int, int, Array, Array], None]
"""on_step(index, total, x, x0): index counts from 1; x and x0 hold all rows and are not to be changed."""


def sample(
    denoise: Denoise,
    x: Array,
    programs: Sequence[Sequence[Step]],
    noise: Noise | None = None,
    *,
    on_step: Watch | None = None,
    should_stop: Callable[[], bool] | None = None,
    edits: Sequence[Edit] = (),
) -> Array:
    """Run one program per row, together.

    Rows whose programs have ended drop out of the batch, so `denoise` is told which rows it is given.

    Args:
        denoise: the model, guidance and all.
        x: float latents [B, ...], row i at the first level of programs[i]. It is left as it is.
        programs: B lists of steps, of any lengths (0 leaves a row as it is).
        noise: asked only for steps that draw noise.
        on_step: called after each round of steps.
        should_stop: asked before each network evaluation.
        edits: applied to each row after each step, in this order.

    Returns:
        x at the last level of each program, of x's shape.

    Raises:
        InputError: when rows and programs differ in number, or a program draws noise and none is given.
        Cancelled: when should_stop said so.
    """
    if len(programs) != len(x):
        raise InputError(f"{len(programs)} programs for {len(x)} rows", expected="one program per row")
    if noise is None and any(step.draws_noise for program in programs for step in program):
        raise InputError("a stochastic solver without noise", expected="a noise function")
    total = max((len(program) for program in programs), default=0)
    everything = list(range(len(programs)))
    x = x[everything]  # a copy in both libraries; rows are written in place below
    x0 = x[everything]
    registers: list[_Registers] = [_Registers() for _ in programs]
    for index in range(total):
        if should_stop is not None and should_stop():
            raise Cancelled(f"cancelled before step {index + 1} of {total}")
        rows = [row for row in everything if index < len(programs[row])]
        estimates = denoise(x[rows], [programs[row][index].level for row in rows], rows)
        for entry, row in enumerate(rows):
            step = programs[row][index]
            z = noise(row, index + 1) if noise is not None and step.draws_noise else None
            x0[row] = estimates[entry]
            # A copy: in torch estimates[entry] is a view, and the network may use its buffer again.
            new = registers[row].advance(step, x[row], x0[[row]][0], z)
            for edit in edits:
                new = edit(row, new, step.then, index + 1)
            x[row] = new
        if on_step is not None:
            on_step(index + 1, total, x, x0)
    return x


class _Registers:
    """What one row remembers between its steps, besides x."""

    def __init__(self) -> None:
        self.base: Array = None
        self.d1: Array = None
        self.d2: Array = None

    def advance(self, step: Step, x: Array, d0: Array, z: Array) -> Array:
        values = {"x": x, "base": self.base, "d0": d0, "d1": self.d1, "d2": self.d2, "z": z}
        new = _combine(step.x, values)
        if step.base is not None:
            self.base = _combine(step.base, values)
        if step.keeps_history:
            self.d1, self.d2 = d0, self.d1
        return new


def _combine(coefficients: Coefficients, values: dict[str, Array]) -> Array:
    """The weighted sum; registers with weight 0 are not touched, for they may not exist yet."""
    total = None
    for name, value in values.items():
        weight = getattr(coefficients, name)
        if weight != 0.0:
            total = weight * value if total is None else total + weight * value
    return 0.0 * values["x"] if total is None else total
