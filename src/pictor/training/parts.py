"""Open what earlier runs trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel, UNet2DModel
from transformers import CLIPTextModel, CLIPTokenizer

from pictor.backends.torch import quiet
from pictor.core.errors import InputError


def _open(folder: Path, what: str, loader: Any) -> Any:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} holds no {what}",
            expected="a folder with config.json and safetensors",
            remedy=f"Train the {what} first; the recipes' README gives the order.",
            param=f"objective.{what}",
        )
    with quiet():
        return loader.from_pretrained(folder)


def open_autoencoder(folder: Path) -> AutoencoderTiny | AutoencoderKL:
    """A frozen autoencoder from its folder, whichever of the two classes wrote it.

    Raises:
        InputError: the folder holds none.
    """
    config = folder / "config.json"
    tiny = config.is_file() and "AutoencoderTiny" in config.read_text("utf-8")
    kind = AutoencoderTiny if tiny else AutoencoderKL
    return _open(folder, "autoencoder", kind).eval().requires_grad_(False)


@torch.no_grad()
def encode(autoencoder: AutoencoderTiny | AutoencoderKL, image_BCHW: torch.Tensor) -> torch.Tensor:
    """Pictures in [-1, 1] to latents of about unit variance."""
    coded = autoencoder.encode(image_BCHW)
    latents = coded.latents if isinstance(autoencoder, AutoencoderTiny) else coded.latent_dist.mean
    shift = getattr(autoencoder.config, "shift_factor", None) or 0.0
    out: torch.Tensor = (latents - shift) * autoencoder.config.scaling_factor
    return out


def open_text_encoder(folder: Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """A text encoder in float32 and its tokenizer, from a folder with text_encoder/ and tokenizer/.

    Raises:
        InputError: the folder holds none.
    """
    network = _open(folder / "text_encoder", "text_encoder", CLIPTextModel).float()
    return network, CLIPTokenizer.from_pretrained(folder / "tokenizer")


def open_unet(folder: Path) -> UNet2DConditionModel:
    """The denoiser of a model folder, in float32.

    Raises:
        InputError: the folder holds none.
    """
    return _open(folder / "unet", "unet", UNet2DConditionModel).float()


def open_plain_unet(folder: Path) -> UNet2DModel:
    """The same of a model that no words steer.

    Raises:
        InputError: the folder holds none.
    """
    return _open(folder / "unet", "unet", UNet2DModel).float()
