"""A tiny model folder with fixed random weights: it stands in for a trained one."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DPMSolverMultistepScheduler,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 32
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = ("a", "red", "green", "blue", "cat", "dog", "apple", "banana", "star", "on", "the", "left", "of")


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    """What a tiny folder is made of; the defaults run in about a millisecond a step."""

    channels: tuple[int, ...] = (32, 64)
    """Channels of the UNet's levels."""
    head_dim: int = 8
    """As `attention_head_dim` of UNet2DConditionModel, which means the number of heads there."""
    norm_groups: int = 8
    width: int = 32
    """Width of the text encoder, and of the cross attention."""
    text_layers: int = 2
    latent_channels: int = 16
    latent_size: int = 8
    autoencoder: Literal["tiny", "kl"] = "tiny"
    autoencoder_channels: int = 16
    dtype: torch.dtype = torch.float16
    seed: int = 0


def build(folder: Path, config: TinyConfig | None = None) -> Path:
    """Write a diffusers folder that plain `StableDiffusionPipeline.from_pretrained(folder)` opens.

    Args:
        folder: where to write; created where it is missing.
        config: sizes of the parts.

    Returns:
        The folder.
    """
    config = config or TinyConfig()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for name, part in {
            "unet": make_unet(config),
            "vae": make_autoencoder(config),
            "text_encoder": make_text_encoder(config, tokenizer),
        }.items():
            part.to(config.dtype).save_pretrained(folder / name, safe_serialization=True)
    make_scheduler().save_pretrained(folder / "scheduler")
    autoencoder = {"tiny": "AutoencoderTiny", "kl": "AutoencoderKL"}[config.autoencoder]
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.36.0",
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", autoencoder],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
    return folder


def make_unet(config: TinyConfig) -> UNet2DConditionModel:
    """Cross attention at every level but the lowest, as in Stable Diffusion; one residual layer a block."""
    others = len(config.channels) - 1
    return UNet2DConditionModel(
        sample_size=config.latent_size,
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=config.channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * others + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * others,
        cross_attention_dim=config.width,
        attention_head_dim=config.head_dim,
        norm_num_groups=config.norm_groups,
    )


def make_autoencoder(config: TinyConfig) -> AutoencoderTiny | AutoencoderKL:
    """Eight pixels a latent, with a scaling factor that is not 1 so that a forgotten one shows."""
    width = config.autoencoder_channels
    if config.autoencoder == "kl":
        return AutoencoderKL(
            block_out_channels=(width,) * 4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=1,
            latent_channels=config.latent_channels,
            norm_num_groups=config.norm_groups,
            sample_size=config.latent_size * 8,
            scaling_factor=0.8,
        )
    return AutoencoderTiny(
        encoder_block_out_channels=(width,) * 4,
        decoder_block_out_channels=(width,) * 4,
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
        latent_channels=config.latent_channels,
        scaling_factor=0.8,
    )


def make_text_encoder(config: TinyConfig, tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """A causal transformer; its end token is the tokenizer's, which pooling needs."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=config.width,
            intermediate_size=2 * config.width,
            projection_dim=config.width,
            num_hidden_layers=config.text_layers,
            num_attention_heads=2,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_tokenizer() -> CLIPTokenizer:
    """Byte-level BPE: all 256 bytes, plain and word-final, and one token for each of `WORDS`."""
    alphabet = sorted(ByteLevel.alphabet())
    tokens = alphabet + [letter + "</w>" for letter in alphabet]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            left, right = parts[:2]
            parts[:2] = [left + right]
            if (left, right) not in merges:
                merges.append((left, right))
                tokens.append(left + right)
    vocab = {token: index for index, token in enumerate(dict.fromkeys([*tokens, START, END]))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def make_scheduler() -> DPMSolverMultistepScheduler:
    """Rectified flow; its first order is plain Euler."""
    return DPMSolverMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        final_sigmas_type="zero",
        solver_order=1,
        steps_offset=1,
    )
