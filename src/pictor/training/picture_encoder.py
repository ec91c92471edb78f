"""Write a picture encoder as a part of a model folder, which `pictor describe` uses, and go on from one."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pictor.backends.base import PICTURE_ENCODER, first_line
from pictor.backends.export import export_part
from pictor.backends.torch import load_network
from pictor.core.errors import InputError


def write_picture_encoder(
    folder: Path, network: nn.Module, *, languages: dict[str, Any], scale: float, offset: float
) -> None:
    """Write `image_encoder/`: weights as fp16 safetensors, the ONNX graph, and vocabulary.json.

    Args:
        folder: of the model.
        network: of one of `PICTURE_ENCODER`'s classes; its texts are what the folder's text encoder pools.
        languages: words to describe with, as `pictor.families.parts.describing` has them.
        scale: of cosines, to logits.
        offset: added to them.
    """
    place = folder / PICTURE_ENCODER.subfolder
    half: Any = copy.deepcopy(network).to(torch.float16)
    half.save_pretrained(place)
    vocabulary = {"scale": scale, "offset": offset, "languages": languages}
    text = json.dumps(vocabulary, ensure_ascii=False, indent=0)
    (place / "vocabulary.json").write_text(text + "\n", encoding="utf-8")
    export_part(folder, PICTURE_ENCODER)


def load_picture_encoder(folder: Path, network: nn.Module) -> tuple[float, float]:
    """Put a model folder's picture encoder into a network.

    Args:
        folder: of the model, as `write_picture_encoder` left it.
        network: of the same class and sizes; changed.

    Returns:
        Its scale and offset.

    Raises:
        InputError: the folder holds none, or another network.
        ModelError: a file of it is damaged.
    """
    words = folder / PICTURE_ENCODER.subfolder / "vocabulary.json"
    if not words.is_file():
        raise InputError(
            f"{folder} holds no picture encoder",
            expected=f"a model folder with {PICTURE_ENCODER.subfolder}/{words.name}",
            param="objective.start",
        )
    try:
        network.load_state_dict(load_network(folder, PICTURE_ENCODER).state_dict())
    except RuntimeError as error:
        raise InputError(
            f"the picture encoder of {folder} is another network than the recipe's ({first_line(error)})",
            expected="the same eye and sizes",
            param="objective.start",
        ) from error
    record = json.loads(words.read_text(encoding="utf-8"))
    return float(record["scale"]), float(record["offset"])
