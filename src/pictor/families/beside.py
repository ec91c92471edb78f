"""Networks that stand in a model's folder beside its pipeline, and what each lets the model do."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pictor.backends.base import ENLARGER, PICTURE_ENCODER, Module, Part
from pictor.backends.weights import find_weights, read_header
from pictor.core.notices import PictorWarning
from pictor.families.parts.describing import Describer, picture_side, read_vocabulary
from pictor.families.parts.enlarging import Enlarger, reach, read_blocks
from pictor.families.parts.files import require
from pictor.families.parts.hashes import hash_weights

if TYPE_CHECKING:
    from pictor.core.plan import Traits
    from pictor.families.bundle import Bundle, Opening
    from pictor.families.parts.tokens import PromptTokenizer


def with_enlarger(bundle: Bundle, folder: Path, how: Opening) -> Bundle:
    """The bundle, and what the folder's `enlarger/` lets it do, where there is one.

    One that lacks the graph that it would run by is left away with a warning, unless graphs are asked for.

    Raises:
        ModelError: a file of it is missing or damaged, or it is another network.
    """
    place = folder / ENLARGER.subfolder
    if not place.is_dir():
        return bundle
    blocks = read_blocks(place)
    # It is small, and in less than float32 pixels would not keep their bytes.
    module = _open(bundle, folder, ENLARGER, how, dtype="float32", lacking="does not enlarge by a network")
    if module is None:
        return bundle
    enlarger = Enlarger(module, reach(blocks), lambda: hash_weights(folder, find_weights(place)))
    return replace(bundle, traits=_able(bundle, "enlarge"), enlarge=enlarger)


def with_describer(
    bundle: Bundle, folder: Path, how: Opening, tokenizer: PromptTokenizer, reader: Module
) -> Bundle:
    """The bundle, and what the folder's `image_encoder/` lets it do, where there is one with a vocabulary.

    Without its graph it is left away as an enlarger is.

    Raises:
        ModelError: a file of it is missing or damaged, or it is another network.
    """
    place = folder / PICTURE_ENCODER.subfolder
    if not (place / "vocabulary.json").is_file():
        return bundle
    side = picture_side(place)
    module = _open(bundle, folder, PICTURE_ENCODER, how, dtype=how.dtype, lacking="does not describe")
    if module is None:
        return bundle
    scale, offset, languages = read_vocabulary(place / "vocabulary.json")
    describer = Describer(module, side, reader, tokenizer, scale, offset, languages)
    return replace(bundle, traits=_able(bundle, "describe"), describer=describer)


def _open(
    bundle: Bundle, folder: Path, part: Part, how: Opening, *, dtype: str, lacking: str
) -> Module | None:
    """A part on the runtime that the model has; None, with a warning, where it has no graph and needs one."""
    place = folder / part.subfolder
    for file in find_weights(place):
        read_header(file)
    if bundle.backend != "onnx":
        from pictor.backends.torch import TorchModule

        return TorchModule(folder, part, device=how.device, dtype=dtype)
    from pictor.backends.onnx import OnnxModule

    if how.backend == "auto" and not (place / part.graph).is_file():
        warnings.warn(
            f"{bundle.traits.name} {lacking}: its {part.subfolder}/ has no graph;"
            " `pictor models export` writes it",
            PictorWarning,
            stacklevel=3,
        )
        return None
    return OnnxModule(require(place / part.graph))


def _able(bundle: Bundle, ability: str) -> Traits:
    return replace(bundle.traits, abilities=bundle.traits.abilities | {ability})
