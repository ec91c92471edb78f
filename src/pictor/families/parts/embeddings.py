"""Learnt words: embeddings that stand for a word that the text encoder never knew.

Textual inversion (Gal et al. 2022, arXiv:2208.01618), as diffusers writes it ({"<word>": [n, D]}) and as
AUTOMATIC1111's web UI does (emb_params, or clip_l and clip_g; the word is the file's name, unless the file's
metadata tell it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.weights import read_metadata
from pictor.core.errors import ModelError
from pictor.families.parts.lora import read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENCODER_KEYS = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
"""What a file calls the vectors for each of two text encoders."""
WORD = "token"
"""Key of a file's metadata under which Pictor writes the word of vectors without a name."""
_OF_ENCODER = {key: encoder for encoder, key in ENCODER_KEYS.items()}
_NAMELESS = ("emb_params", "clip_l", "clip_g")


@dataclass
class LearntWords:
    """The words that one text encoder learns."""

    ids: dict[str, list[int]] = field(default_factory=dict)
    """Word -> its tokens, which follow those of the vocabulary."""
    rows: list[NDArray[np.float32]] = field(default_factory=list)
    """[D] each, in the order of their tokens."""

    def add(self, word: str, vectors_ND: NDArray[np.float32], vocabulary: int) -> None:
        first = vocabulary + len(self.rows)
        self.ids[word] = list(range(first, first + len(vectors_ND)))
        self.rows += list(vectors_ND)

    def extend(self, network: Any) -> None:
        """Give a loaded text encoder the rows."""
        table = network.get_input_embeddings()
        weight = table.weight.data
        table.weight.data = weight.new_tensor(np.concatenate([weight.numpy(), self.rows]))
        table.num_embeddings = len(table.weight)


def read_embeddings(
    files: Sequence[Path], encoders: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, LearntWords], dict[str, str]]:
    """Read files of learnt words.

    Args:
        files: .safetensors.
        encoders: subfolder -> configuration of each text encoder of the model.

    Returns:
        What each encoder learns, and the files for a recipe: "embedding NAME" -> SHA-256.

    Raises:
        ModelError: a file is missing or damaged, or has no vectors for one of the encoders.
    """
    learnt = {name: LearntWords() for name in encoders}
    facts: dict[str, str] = {}
    for file in files:
        tensors = {name: np.atleast_2d(tensor) for name, tensor in read_tensors(file, "embedding").items()}
        for encoder, config in encoders.items():
            width, vocabulary = int(config.get("hidden_size", 0)), int(config.get("vocab_size", 0))
            found = {
                name: tensor
                for name, tensor in tensors.items()
                if tensor.ndim == 2 and tensor.shape[1] == width and _OF_ENCODER.get(name, encoder) == encoder
            }
            if not found:
                raise ModelError(
                    f"{file} is for another kind of model: it has no vectors of {width} for the {encoder}",
                    expected="words learnt with this family",
                    param="embedding",
                )
            for name, vectors_ND in found.items():
                word = read_metadata(file).get(WORD, file.stem) if name in _NAMELESS else name
                learnt[encoder].add(word, vectors_ND, vocabulary)
        facts[f"embedding {file.name}"] = sha256(file.read_bytes()).hexdigest()
    return learnt, facts
