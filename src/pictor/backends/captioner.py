"""Captions by a network of transformers that was trained to write them (BLIP, GIT, BLIP-2 and their kind)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import first_line
from pictor.backends.torch import find_device, require_torch
from pictor.core.errors import ModelError

if TYPE_CHECKING:
    from pictor.core.plan import Pixels

MAX_TOKENS = 60
_SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


class Captioner:
    """Writes a sentence about a picture.

    Args:
        folder: of a model that transformers opens for pictures to text, with its processor; safetensors only.
        device: "cpu", "cuda", ...; "auto" is a GPU where there is one.

    Raises:
        MissingExtraError: torch or transformers are not installed.
        InputError: there is no such device.
        ModelError: the folder holds no such model.
    """

    def __init__(self, folder: Path, *, device: str = "auto") -> None:
        require_torch("a captioner")
        from transformers import AutoModelForImageTextToText, AutoProcessor

        if not (folder / "config.json").is_file():
            raise ModelError(
                f"there is no captioner in {folder}", expected="a folder of transformers", param="captioner"
            )
        place = find_device(device)
        try:
            self._processor: Any = AutoProcessor.from_pretrained(folder, **_SAFE)
            network = AutoModelForImageTextToText.from_pretrained(folder, use_safetensors=True, **_SAFE)
            self._network: Any = network.eval().to(place)
            self._say(np.full((32, 32, 3), 128, np.uint8), 2)  # another kind of model fails only here
        except Exception as error:  # the library raises whatever it meets
            raise ModelError(
                f"cannot load the captioner {folder}: {first_line(error)}",
                expected="a model such as BLIP or GIT, with its processor",
                param="captioner",
            ) from error

    def __call__(self, picture: Pixels) -> str:
        """A caption of the picture [H, W, 3], the likeliest word after word."""
        return self._say(picture, MAX_TOKENS)

    def _say(self, picture: Pixels, tokens: int) -> str:
        import torch
        from PIL import Image

        inputs = self._processor(images=Image.fromarray(picture), return_tensors="pt")
        with torch.inference_mode():
            ids = self._network.generate(
                **inputs.to(self._network.device), max_new_tokens=tokens, do_sample=False
            )
        text: str = self._processor.batch_decode(ids, skip_special_tokens=True)[0]
        return " ".join(text.split())
