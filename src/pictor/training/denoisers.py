"""What objectives that learn to denoise share: networks, samples, and how both are judged and written.

Legend: B samples, C latent channels (3 of pixels), H, W rows and columns, T tokens, D width of a word.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel, UNet2DModel
from pydantic import Field
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from pictor.core.errors import InputError
from pictor.training.attention import ready_to_train
from pictor.training.captioned_latents import (
    CaptionedPictures,
    DrawTime,
    NoisedCorpusKeys,
    PictureEncoder,
    downsampling,
)
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.parts import open_autoencoder, open_plain_unet, open_text_encoder, open_unet
from pictor.training.planes import planes
from pictor.training.sourced import Sourced
from pictor.training.text_reader import TextReader

_VALIDATION = 128
_USUAL_CHANNELS = (96, 160)


class DenoiserKeys(NoisedCorpusKeys):
    """Keys of the [objective] table that say what the network is like."""

    start: Path | None = None
    """Folder with a unet/ to go on from; where channels are named, of that shape."""
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    channels: tuple[int, ...] | None = Field(None, min_length=1, max_length=8)
    """Channels of the UNet's levels, fine to coarse; None for those of `start`, or 96 and 160."""
    attention: int | None = Field(None, ge=1)
    """How many levels, from the coarsest, attend to words and to each other's places; None for all."""
    layers: int = Field(1, ge=1, le=4)
    """Residual blocks a level."""
    head_width: int = Field(32, ge=8)
    """Channels of an attention head; divides every level's channels."""
    time_width: int | None = Field(None, ge=32)
    """Numbers of the embedding of time and words that scales and shifts every block; None for 4 times the
    finest level's channels."""
    text_rate: float = Field(0.3, ge=0)
    """Factor on the text encoder's learning rate; 0 freezes it."""


class Denoiser(nn.Module):
    """The two networks that learn together; without a text encoder one."""

    def __init__(
        self, unet: UNet2DConditionModel | UNet2DModel, text_encoder: CLIPTextModel | None = None
    ) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder

    def forward(
        self, x_BCHW: torch.Tensor, time_B: torch.Tensor, ids_BT: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The prediction, at times in the network's units, of captions' tokens or what was read in them."""
        if self.text_encoder is None or ids_BT is None:
            out: torch.Tensor = self.unet(x_BCHW, time_B).sample
        else:
            out = self.unet(x_BCHW, time_B, self.words(ids_BT)).sample
        return out.float()

    def words(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Numbers [B, T, D] of words; those that are read already stay as they are."""
        if self.text_encoder is None or ids_BT.is_floating_point():
            return ids_BT
        words_BTD: torch.Tensor = self.text_encoder(input_ids=ids_BT).last_hidden_state
        return words_BTD


class PixelEncoder(nn.Module):
    """Pictures as they are: what stands in the place of an autoencoder for networks that see pixels."""

    factor, channels = 1, 3

    def forward(self, image_BHW3: torch.Tensor) -> torch.Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] of pictures [B, H, W, 3] in uint8."""
        return planes(image_BHW3).contiguous()


def _blocks(keys: DenoiserKeys, attending: str) -> dict[str, object]:
    """Arguments that both of diffusers' UNets take, with this word in the names of blocks that attend."""
    channels = keys.channels or _USUAL_CHANNELS
    depth = len(channels)
    plain = depth - min(keys.attention or depth, depth)
    return {
        "block_out_channels": channels,
        "layers_per_block": keys.layers,
        "down_block_types": ("DownBlock2D",) * plain + (f"{attending}DownBlock2D",) * (depth - plain),
        "up_block_types": (f"{attending}UpBlock2D",) * (depth - plain) + ("UpBlock2D",) * plain,
        "norm_num_groups": 16,
        "resnet_time_scale_shift": "scale_shift",
        "time_embedding_dim": keys.time_width,
    }


def steered_unet(
    keys: DenoiserKeys, side: int, channels: int, words: int, *, seen: int = 0
) -> UNet2DConditionModel:
    """A fresh network that words steer, or the one to go on from if it is of the same shape.

    Args:
        keys: the recipe's.
        side: of what it denoises.
        channels: of what it denoises.
        words: width of a word's embedding.
        seen: further channels that it looks at.

    Raises:
        InputError: the one to go on from is of another shape.
    """
    if keys.start is not None and keys.channels is None:
        return _fitting(open_unet(keys.start), keys.start, channels, words)
    fresh = UNet2DConditionModel(
        sample_size=side,
        in_channels=channels + seen,
        out_channels=channels,
        cross_attention_dim=words,
        # The class's name for the number of heads.
        attention_head_dim=tuple(width // keys.head_width for width in keys.channels or _USUAL_CHANNELS),
        # The words, pooled, join the time: what is said of the whole picture need not wait for attention.
        addition_embed_type="text",
        addition_embed_type_num_heads=words // keys.head_width,
        **_blocks(keys, "CrossAttn"),
    )
    if keys.start is None:
        return fresh
    earlier = open_unet(keys.start)
    _check_same(keys, earlier, fresh, f", {words} numbers a word")
    return earlier


def plain_unet(keys: DenoiserKeys, side: int, channels: int, *, seen: int = 0) -> UNet2DModel:
    """The same without words; see `steered_unet`."""
    if keys.start is not None and keys.channels is None:
        earlier = open_plain_unet(keys.start)
        if (earlier.config.in_channels, earlier.config.out_channels) != (channels + seen, channels):
            raise InputError(
                f"{keys.start}/unet takes {earlier.config.in_channels} channels",
                expected=f"{channels + seen}",
                param="objective.start",
            )
        return earlier
    fresh = UNet2DModel(
        sample_size=side,
        in_channels=channels + seen,
        out_channels=channels,
        attention_head_dim=keys.head_width,
        **_blocks(keys, "Attn"),
    )
    if keys.start is None:
        return fresh
    earlier = open_plain_unet(keys.start)
    _check_same(keys, earlier, fresh)
    return earlier


def _check_same(keys: DenoiserKeys, earlier: nn.Module, fresh: nn.Module, further: str = "") -> None:
    shapes = [{name: p.shape for name, p in network.named_parameters()} for network in (earlier, fresh)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{keys.start}/unet has other channels or layers than this recipe",
            expected=f"channels {list(keys.channels or ())}, {keys.layers} a level{further}",
            remedy="Name that network's own sizes, or leave start or channels out.",
            param="objective.start",
        )


def _fitting(network: UNet2DConditionModel, folder: Path, latents: int, words: int) -> UNet2DConditionModel:
    """The network to go on from, if it is for these latents and words."""
    told = network.config
    if (told.in_channels, told.out_channels, told.cross_attention_dim) != (latents, latents, words):
        raise InputError(
            f"{folder}/unet takes latents of {told.in_channels} channels and words of"
            f" {told.cross_attention_dim} numbers",
            expected=f"{latents} and {words}, as this autoencoder and text encoder make them",
            remedy="Begin with parts of one model.",
            param="objective.start",
        )
    return network


class DenoisingObjective(Sourced[CaptionedPictures], ABC):
    """Samples, networks and validation of what learns to denoise; what exactly is learnt, a subclass says.

    Args:
        keys: the recipe's.
        seed: of the run.
        autoencoder: folder of a frozen one; None for pixels.
        text_encoder: folder that holds text_encoder/ and tokenizer/; None for a network without words.
        draw_time: a sample's time.
    """

    def __init__(
        self,
        keys: DenoiserKeys,
        seed: int,
        *,
        autoencoder: Path | None,
        text_encoder: Path | None,
        draw_time: DrawTime,
    ) -> None:
        self.keys = keys
        self.encoder: PictureEncoder | PixelEncoder = PixelEncoder()
        factor, channels = 1, 3
        if autoencoder is not None:
            self.encoder = PictureEncoder(open_autoencoder(autoencoder))
            factor = downsampling(self.encoder.autoencoder)
            channels = int(self.encoder.autoencoder.config.latent_channels)
        words: CLIPTextModel | None = None
        tokenizer: CLIPTokenizer | None = None
        if text_encoder is not None:
            words, tokenizer = open_text_encoder(text_encoder)
            # Plain attention, for the reason that `TrainingAttention` gives.
            words.set_attn_implementation("eager")
            words.requires_grad_(keys.text_rate > 0)
        side = keys.size // factor
        unet: UNet2DConditionModel | UNet2DModel = (
            plain_unet(keys, side, channels)
            if words is None
            else steered_unet(keys, side, channels, int(words.config.hidden_size))
        )
        stride = factor * 2 ** (len(unet.config.block_out_channels) - 1)
        self.source = CaptionedPictures(
            pictures=keys.pictures(keys.size, seed, stride),
            tokenizer=tokenizer,
            channels=channels,
            factor=factor,
            empty_captions=keys.empty_captions,
            noisings=keys.noisings,
            draw_time=draw_time,
        )
        self.module = Denoiser(ready_to_train(unet), words)

    def text_reader(self) -> TextReader | None:
        """See `text_cache.ReadsTexts`."""
        encoder = self.module.text_encoder
        if encoder is None or self.keys.text_rate > 0:
            return None
        return TextReader({"text_encoder": encoder}, lambda tokens: {"ids": self.module.words(tokens["ids"])})

    @abstractmethod
    def squared_error(self, batch: Batch) -> torch.Tensor:
        """Mean squared error of each sample, [B]."""

    def rate(self, name: str) -> float:
        return self.keys.text_rate if name.startswith("text_encoder.") else 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        return self.squared_error(batch).mean(), {}

    def judged(self, measures: Mapping[str, Callable[[Batch], torch.Tensor]]) -> dict[str, float]:
        """Means of figures [B] of batches, by their names: on held-out pictures, or where there are none on
        others."""
        kind = "held_out" if self.source.pictures.has_held_out else "seen"
        batches = [beside(batch, self.module) for batch in self.source.judged(_VALIDATION)]
        return {
            f"{kind}_{name}": float(torch.cat([measure(batch) for batch in batches]).mean())
            for name, measure in measures.items()
        }

    def save(self, folder: Path) -> None:
        self.write(folder, graphs=True)

    def save_draft(self, folder: Path) -> None:
        self.write(folder, graphs=False)

    @abstractmethod
    def write(self, folder: Path, *, graphs: bool) -> None:
        """The model's folder, with graphs or without."""
