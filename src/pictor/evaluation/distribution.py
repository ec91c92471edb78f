"""How one set of pictures lies beside another, in the judge's space."""

from __future__ import annotations

from dataclasses import dataclass

from pictor.evaluation.metrics import Features, Manifold, frechet_distance, kernel_distance, manifold

MIN_SET = 4
"""Pictures from which on two sets can be compared."""
_NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """How one set of pictures lies beside a reference set of real renders of equal size."""

    source: str
    split: str
    pictures: int
    frechet: float
    kernel: float
    kernel_error: float
    """Standard error of `kernel`."""
    manifold: Manifold | None
    """None where there are too few pictures for neighbourhoods."""


def beside(source: str, split: str, made_ND: Features, real_ND: Features) -> Distribution:
    """Compare two sets of features.

    Args:
        source: whose pictures the first set is of.
        split: of which prompts: "all", "seen" or "held out".
        made_ND: that set, N at least `MIN_SET`.
        real_ND: of as many real renders.

    Raises:
        InputError: fewer rows, or widths that differ.
    """
    kernel, error = kernel_distance(made_ND, real_ND)
    return Distribution(
        source=source,
        split=split,
        pictures=len(made_ND),
        frechet=frechet_distance(made_ND, real_ND),
        kernel=kernel,
        kernel_error=error,
        manifold=manifold(real_ND, made_ND, k=_NEIGHBOURS) if len(made_ND) > _NEIGHBOURS else None,
    )
