"""The embeddings of a stage's words, picture by picture and step by step.

Legend of array shapes: T tokens, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.core.levels import Level
from pictor.core.plan import Conditions, Stage
from pictor.core.prompts import at_step
from pictor.families.bundle import Bundle
from pictor.sampling.guidance import Which

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.families.bundle import Embeds


class Words:
    """What each picture of a stage is steered by at each level.

    Every distinct text is encoded once, those of one stage to one number of tokens, so that they can share a
    batch.

    Args:
        stage: whose conditions count.
        bundle: the model; warns of text that it cuts.
    """

    def __init__(self, stage: Stage, bundle: Bundle) -> None:
        self._conditions = stage.conditions
        self._ratios = [level.k for level in stage.levels[:-1]] or [0.0]
        texts = {text for one in stage.conditions for text in self._texts(one)}
        # Sorted, since warnings come in this order.
        chunks = max((bundle.count_chunks(text) for text in texts), default=1)
        self._embeds: dict[str, Embeds] = {
            text: bundle.encode_prompt(text, chunks=chunks, size=stage.size) for text in sorted(texts)
        }

    def _texts(self, conditions: Conditions) -> set[str]:
        """Every text that is asked for at some step; at guidance 0 not the prompt, at 1 not the other."""
        steps = range(len(self._ratios))
        wanted: list[str] = []
        if conditions.guidance_scale != 0.0:
            wanted += [conditions.prompt, *(text for _, text in conditions.directions)]
        if conditions.guidance_scale != 1.0:
            wanted.append(conditions.negative_prompt)
        return {at_step(text, step, len(steps)) for text in wanted for step in steps}

    def step(self, level: Level) -> int:
        """The step that evaluates the network at this level, from 0; solvers may look between levels."""
        return max(0, sum(ratio >= level.k for ratio in self._ratios) - 1)

    def at(self, picture: int, which: Which, level: Level) -> Mapping[str, NDArray[Any]]:
        """The embeddings of one picture, without a batch axis."""
        conditions, step = self._conditions[picture], self.step(level)
        if which == "unconditional":
            return self._embeds[at_step(conditions.negative_prompt, step, len(self._ratios))]
        embeds = self._embeds[at_step(conditions.prompt, step, len(self._ratios))]
        if not conditions.directions:
            return embeds
        moved = dict(embeds)
        for weight, text in conditions.directions:
            further = self._embeds[at_step(text, step, len(self._ratios))]
            moved = {name: array + np.float32(weight) * further[name] for name, array in moved.items()}
        return moved

    def stacked(
        self, pictures: Sequence[int], which: Sequence[Which], levels: Sequence[Level]
    ) -> dict[str, NDArray[Any]]:
        """The embeddings of a batch, one row a picture."""
        rows = [self.at(*row) for row in zip(pictures, which, levels, strict=True)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
