"""What the figures of two networks that learn against each other say of their balance.

Their losses say little: each rises as the other network gets better. What a discriminator tells rightly, and
how varied the drawn pictures are, shows who is ahead.
"""

from __future__ import annotations

from collections.abc import Mapping

_SURE = 0.95
"""Share of pictures told rightly from which a discriminator leaves its rival little to learn by."""
_BLIND = 0.6
"""Share below which it hardly tells real from drawn; 0.5 is chance."""
_UNEVEN = 0.25
"""Difference of the two shares from which it answers one thing more than the other."""
_ALIKE = 0.5
"""Of real pictures' variety: below it the generator leaves much of them out."""


def rivalry(figures: Mapping[str, float]) -> list[str]:
    """Remarks on a stretch of a run, none where it has no such figures.

    Args:
        figures: means over the stretch by name; `real_accuracy` and `drawn_accuracy` are the shares that the
            discriminator tells rightly, `diversity` is 1 for pictures as varied as real ones.
    """
    remarks = []
    real, drawn = figures.get("real_accuracy"), figures.get("drawn_accuracy")
    if real is not None and drawn is not None:
        if (real + drawn) / 2 >= _SURE:
            remarks.append("the discriminator wins")
        elif (real + drawn) / 2 <= _BLIND:
            remarks.append("the discriminator hardly tells drawn pictures")
        else:
            remarks.append("balanced")
        if abs(real - drawn) >= _UNEVEN:
            remarks.append(f"it takes too many for {'drawn' if drawn > real else 'real'} ones")
    diversity = figures.get("diversity")
    if diversity is not None and diversity < _ALIKE:
        remarks.append(f"samples alike: {100 * diversity:.0f}% of real variety")
    return remarks
