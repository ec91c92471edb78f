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
        self._embeds_guidance = bundle.traits.embeds_guidance
        self._ratios = [level.k for level in stage.levels[:-1]] or [0.0]
        wanted = {text for one in stage.conditions for text in self._wanted(one)}
        chunks = max((bundle.count_chunks(text) for text, _ in wanted), default=1)
        self._embeds: dict[tuple[str, bool], Embeds] = {
            # Sorted, since warnings come in this order.
            (text, negative): bundle.encode_prompt(text, chunks=chunks, size=stage.size, negative=negative)
            for text, negative in sorted(wanted)
        }

    def _wanted(self, conditions: Conditions) -> set[tuple[str, bool]]:
        """Every text that is asked for at some step, and whether as the negative prompt.

        At guidance 0 the prompt is not, at 1 the negative prompt is not.
        """
        texts: list[tuple[str, bool]] = []
        if conditions.guidance_scale != 0.0 or self._embeds_guidance:
            texts += [(text, False) for text in (conditions.prompt, *(t for _, t in conditions.directions))]
        if conditions.guidance_scale != 1.0 and not self._embeds_guidance:
            texts.append((conditions.negative_prompt, True))
        steps = range(len(self._ratios))
        return {(at_step(text, step, len(steps)), negative) for text, negative in texts for step in steps}

    def step(self, level: Level) -> int:
        """The step that evaluates the network at this level, from 0; solvers may look between levels."""
        return max(0, sum(ratio >= level.k for ratio in self._ratios) - 1)

    def at(self, picture: int, which: Which, level: Level) -> Mapping[str, NDArray[Any]]:
        """The embeddings of one picture, without a batch axis."""
        conditions, step = self._conditions[picture], self.step(level)

        def read(text: str, negative: bool = False) -> Embeds:
            return self._embeds[at_step(text, step, len(self._ratios)), negative]

        if which == "unconditional":
            return read(conditions.negative_prompt, negative=True)
        embeds = dict(read(conditions.prompt))
        for weight, text in conditions.directions:
            further = read(text)
            embeds = {name: array + np.float32(weight) * further[name] for name, array in embeds.items()}
        if self._embeds_guidance:
            embeds["guidance"] = np.array(conditions.guidance_scale, np.float32)
        return embeds

    def stacked(
        self, pictures: Sequence[int], which: Sequence[Which], levels: Sequence[Level]
    ) -> dict[str, NDArray[Any]]:
        """The embeddings of a batch, one row a picture."""
        rows = [self.at(*row) for row in zip(pictures, which, levels, strict=True)]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
