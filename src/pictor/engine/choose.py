"""Of several pictures of the same words, those that fit them best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pictor.core.errors import InputError
from pictor.core.plan import Plan
from pictor.core.prompts import at_step, fragments

if TYPE_CHECKING:
    from pictor.engine.execute import Made
    from pictor.families.parts.describing import Describer


def check_words(plan: Plan, describer: Describer) -> None:
    """Before the work.

    Raises:
        InputError: the describer cannot read a prompt whole.
    """
    for conditions in plan.conditions:
        if describer.too_long(words := _words(conditions.prompt)):
            raise InputError(
                f"the prompt {words[:40]!r}... has {len(words)} characters",
                expected="one that the text encoder reads at once, to choose among candidates by",
                remedy="Say it in fewer words, or do without candidates.",
                param="candidates",
            )


def best(plan: Plan, made: Sequence[Made], describer: Describer) -> list[int]:
    """The indices of the pictures that `plan.keep` keeps, of each prompt the best first.

    Reranking by CLIP, as DALL-E did it (Ramesh et al. 2021, arXiv:2102.12092).
    """
    assert plan.keep is not None  # noqa: S101 - it is asked only then
    among, count = plan.keep
    fits = [
        describer.logits(describer.look(one.pixels), [_words(conditions.prompt)])[0]
        for one, conditions in zip(made, plan.conditions, strict=True)
    ]
    kept: list[int] = []
    for first in range(0, len(made), among):
        kept += sorted(range(first, first + among), key=lambda index: -fits[index])[:count]
    return kept


def _words(prompt: str) -> str:
    """What a prompt asks for, without its stress."""
    return "".join(piece for piece, _ in fragments(at_step(prompt, 0, 1)))
