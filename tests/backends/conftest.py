import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pictor.backends.base import PARTS

Inputs = Callable[..., dict[str, np.ndarray]]


@pytest.fixture
def text_encoder(tiny_folder: Path, tmp_path: Path) -> Path:
    """A copy of the text encoder's folder, to be damaged."""
    return Path(shutil.copytree(tiny_folder / "text_encoder", tmp_path / "text_encoder"))


@pytest.fixture
def inputs() -> Inputs:
    """Random inputs of a part of the tiny folder: inputs(name, batch, rows, columns, tokens)."""

    def make(
        name: str, batch: int = 2, rows: int = 8, columns: int = 8, tokens: int = 32
    ) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(1)
        arrays = {
            "sample": rng.standard_normal((batch, 16, rows, columns)),
            "latent": rng.standard_normal((batch, 16, rows, columns)),
            "timestep": rng.uniform(0, 1000, batch),
            "encoder_hidden_states": rng.standard_normal((batch, tokens, 32)),
            "image": rng.uniform(-1, 1, (batch, 3, 8 * rows, 8 * columns)),
        }
        singles = {key: array.astype(np.float32) for key, array in arrays.items()}
        ids = rng.integers(0, 546, (batch, tokens))
        return {key: ids if key == "input_ids" else singles[key] for key in PARTS[name].inputs}

    return make
