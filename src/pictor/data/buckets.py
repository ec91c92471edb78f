"""Sizes of pictures for a target area, so that portraits and panoramas are not cut to squares.

A bucket is a width and a height. Pictures of one bucket share batches; each picture goes to the bucket whose
proportions are nearest to its own, so that every picture has one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pictor.core.errors import InputError

_LEAST_AREA = 0.9
"""Share of the target area below which a size is left out of the table."""


@dataclass(frozen=True)
class Buckets:
    """A table of (width, height), from the tallest to the widest."""

    sizes: tuple[tuple[int, int], ...]

    @classmethod
    def square(cls, side: int) -> Buckets:
        """One size for all pictures."""
        return cls(((side, side),))

    @classmethod
    def of_area(cls, side: int, step: int, max_aspect: float) -> Buckets:
        """All sizes in steps whose area is 90% to 100% of side * side: each takes about as much memory.

        For every width the largest height that the area allows is taken, as in the table of SDXL (Podell et
        al. 2023, appendix I); the same with width and height exchanged.

        Args:
            side: of the square with the target area, a multiple of `step`.
            step: what divides all widths and heights, in pixels.
            max_aspect: the longer side over the shorter one, at most.

        Raises:
            InputError: step does not divide the side, or a number is out of range.
        """
        if step < 1 or side < step or side % step:
            raise InputError(
                f"the side {side} is no multiple of the step {step}",
                expected=f"a side of {max(round(side / max(step, 1)), 1) * max(step, 1)}",
                param="size",
            )
        if not 1 <= max_aspect <= 8:
            raise InputError(f"max_aspect is {max_aspect:g}", expected="1 to 8", param="max_aspect")
        sizes = set()
        for width in range(side, math.floor(side * math.sqrt(max_aspect)) + step, step):
            height = side * side // width // step * step
            if height and width <= max_aspect * height and width * height >= _LEAST_AREA * side * side:
                sizes |= {(width, height), (height, width)}
        return cls(tuple(sorted(sizes, key=lambda size: (size[0] / size[1], size))))

    def assign(self, width: int, height: int) -> int:
        """Number of the bucket whose proportions are nearest, by their ratio; of equals the larger area."""
        aspect = math.log(width / height)

        def farness(number: int) -> tuple[float, int]:
            across, down = self.sizes[number]
            return round(abs(aspect - math.log(across / down)), 9), -across * down

        return min(range(len(self.sizes)), key=farness)

    def names(self) -> list[str]:
        return [bucket_name(size) for size in self.sizes]


def bucket_name(size: tuple[int, int]) -> str:
    """How people write a size."""
    return f"{size[0]}x{size[1]}"


def part_kept(width: int, height: int, size: tuple[int, int]) -> float:
    """Share of a picture that is left when it fills a size and what stands over is cut off."""
    scale = max(size[0] / width, size[1] / height)
    return size[0] * size[1] / (width * height * scale * scale)
