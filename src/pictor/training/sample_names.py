"""Which pictures a run's samples show, by the names that their sources give them."""

from __future__ import annotations

from pathlib import Path

from pictor.data.manifest import MANIFEST
from pictor.data.prepared import Prepared
from pictor.training.recipe import Recipe


def sample_names(recipe: Recipe, batched: bool, first: int, last: int) -> list[str]:
    """Names of the pictures of samples first to last, in their order; none of the picturebook's.

    Args:
        recipe: of the run.
        batched: whether the objective orders pictures by batches of one size.
        first: number of a sample.
        last: number of the last one.
    """
    folder = recipe.objective.get("data")
    if folder is None:
        return []
    from pyarrow import parquet

    pictures = Prepared(Path(folder), seed=recipe.seed, batch_size=recipe.batch_size if batched else 1)
    rows = [pictures.sample(number).row for number in range(first, last + 1)]
    named = parquet.read_table(Path(folder) / MANIFEST, columns=["key"])["key"].take(rows)
    return list(dict.fromkeys(named.to_pylist()))
