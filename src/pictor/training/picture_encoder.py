"""Write a CLIP's picture encoder as a part of a model folder, which `pictor describe` uses."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import CLIPModel, CLIPVisionModelWithProjection

from pictor.backends.base import PICTURE_ENCODER
from pictor.backends.export import export_part
from pictor.data.picturebook.phrases import phrase_tables


def write_picture_encoder(
    folder: Path, clip: CLIPModel, *, things: Sequence[str], scale: float, offset: float
) -> None:
    """Write `image_encoder/`: weights as fp16 safetensors, the ONNX graph, and vocabulary.json.

    Args:
        folder: of the model.
        clip: both towers, whose text tower is the folder's text encoder.
        things: names of the objects that it knows; none for all of the picturebook.
        scale: of cosines, to logits.
        offset: added to them.
    """
    network = CLIPVisionModelWithProjection(clip.config.vision_config)
    network.vision_model.load_state_dict(clip.vision_model.state_dict())
    network.visual_projection.load_state_dict(clip.visual_projection.state_dict())
    place = folder / PICTURE_ENCODER.subfolder
    copy.deepcopy(network).to(torch.float16).save_pretrained(place)
    vocabulary = {"scale": scale, "offset": offset, "languages": phrase_tables(things)}
    text = json.dumps(vocabulary, ensure_ascii=False, indent=0)
    (place / "vocabulary.json").write_text(text + "\n", encoding="utf-8")
    export_part(folder, PICTURE_ENCODER)
