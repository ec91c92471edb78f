"""Autoregressive: a language model that writes a picture's tokens after its caption.

DALL-E's way (Ramesh et al. 2021, arXiv:2102.12092; DALL-E Mini, Dayma et al. 2021): a caption and the tokens
of its picture, row by row, are one text, and the loss is the cross entropy of each picture token given all
before it. Some captions are emptied, for guidance between the two. What turns pictures into tokens is frozen.
"""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from transformers import CLIPTokenizer, GPT2Config, GPT2LMHeadModel

from pictor.backends.base import PICTURE_ENCODER
from pictor.backends.picture_tokens import PictureTokenizer
from pictor.backends.torch import quiet
from pictor.core.errors import InputError
from pictor.engine.studio import model_folder
from pictor.families.autoregressive import PIPELINE
from pictor.training.captioned_latents import CorpusKeys
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.planes import planes
from pictor.training.recipe import validated
from pictor.training.sourced import Sourced
from pictor.training.token_samples import TokenSamples
from pictor.training.tokenizer import tokenize

_VALIDATION = 256


class Config(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    picture_tokens: Path
    """Folder of what the objective "picture_tokens" trained."""
    words: Path | None = None
    """Model whose tokenizer/ reads captions, None for the embedded one; its image_encoder/ and text_encoder/
    come along where it has them, to choose among candidates by."""
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    caption: int = Field(16, ge=4, le=77)
    """Tokens that a caption fills, start and end included; longer ones are cut."""
    width: int = Field(256, ge=32, le=2048, multiple_of=32)
    layers: int = Field(4, ge=1, le=48)
    head_width: int = Field(32, ge=8)
    """Numbers of an attention head; divides the width."""
    guidance_scale: float = Field(3.0, ge=0, le=100)
    """What a user of the model who does not say gets, and so with the next two."""
    top_k: int = Field(0, ge=0)
    """Of how many of the likeliest tokens one is chosen, 0 for all."""
    top_p: float = Field(0.95, ge=0, le=1)
    """How likely those together are that one is chosen of."""

    @model_validator(mode="after")
    def _divided(self) -> Config:
        if self.width % self.head_width:
            raise ValueError("head_width must divide width")
        return self


class AutoregressiveObjective(Sourced[TokenSamples]):
    """GPT-2's architecture from nothing, over words and picture tokens."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.coder = _coder(config.picture_tokens)
        self.words = model_folder(config.words)
        tokenizer = _tokenizer(self.words, config.caption)
        self.vocabulary = len(tokenizer)
        pictures = config.pictures(config.size, seed, self.coder.config.factor)
        if any(shown != (config.size, config.size) for shown in pictures.sizes):
            raise InputError(
                f"pictures of {', '.join(f'{w}x{h}' for w, h in pictures.sizes)}",
                expected=f"all of {config.size}x{config.size}: a picture is so many tokens",
                remedy=f"Prepare them with --size {config.size}, and without --buckets.",
                param="objective.data",
            )
        self.source = TokenSamples(
            pictures=pictures, tokenizer=tokenizer, empty_captions=config.empty_captions
        )
        self.places = (config.size // self.coder.config.factor) ** 2
        self.module = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=self.vocabulary + self.coder.code.tokens,
                n_positions=config.caption + self.places,
                n_embd=config.width,
                n_layer=config.layers,
                n_head=config.width // config.head_width,
                activation_function="gelu_pytorch_tanh",
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
            )
        )
        self.module.set_attn_implementation("eager")  # its gradient is the faster one on CPUs

    def rate(self, name: str) -> float:
        return 1.0

    def _surprise(self, ids_BT: torch.Tensor, image_BHW3: torch.Tensor) -> torch.Tensor:
        """Cross entropy of each picture token in nats, [B, N]."""
        with torch.no_grad():
            tokens_BN = self.coder.encode(planes(image_BHW3)).flatten(1)
        read = torch.cat([ids_BT, self.vocabulary + tokens_BN[:, :-1]], 1)
        logits = self.module(input_ids=read, use_cache=False, logits_to_keep=self.places).logits
        # What follows is a picture's token always, so that words take no part in the sum.
        logits_BVN = logits[..., self.vocabulary :].float().transpose(1, 2)
        return F.cross_entropy(logits_BVN, tokens_BN, reduction="none")

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        return self._surprise(batch["ids"], batch["image"]).mean(), {}

    def validate(self) -> dict[str, float]:
        """On held-out pictures, or where there are none on others: nats a token after the true caption and
        after an empty one, and the share of pictures that the true one explains better than another's does.
        """
        kind = "held_out" if self.source.pictures.has_held_out else "seen"
        told, untold, right = [], [], []
        for batch in (beside(one, self.module) for one in self.source.judged(_VALIDATION)):
            ids, image = batch["ids"], batch["image"]
            empty = tokenize(self.source.tokenizer, [""]).to(ids.device).expand(len(ids), -1)
            true, other, none = (
                self._surprise(words, image).mean(1).cpu() for words in (ids, ids.roll(1, 0), empty)
            )
            told.append(true)
            untold.append(none)
            right.append((true < other).float())
        return {
            f"{kind}_nats": float(torch.cat(told).mean()),
            f"{kind}_nats_without_words": float(torch.cat(untold).mean()),
            f"{kind}_true_over_other": float(torch.cat(right).mean()),
        }

    def save(self, folder: Path) -> None:
        half = copy.deepcopy(self.module).half()
        with quiet():
            half.save_pretrained(folder / "transformer")
        copy.deepcopy(self.coder).half().save_pretrained(folder / "picture_tokenizer")
        _tokenizer(self.words, None).save_pretrained(folder / "tokenizer")
        if (self.words / PICTURE_ENCODER.subfolder / "vocabulary.json").is_file():
            for part in ("text_encoder", PICTURE_ENCODER.subfolder):
                shutil.copytree(self.words / part, folder / part)
        index = {
            "_class_name": PIPELINE,
            "picture_tokenizer": ["pictor.backends.picture_tokens", "PictureTokenizer"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "transformer": ["transformers", "GPT2LMHeadModel"],
        }
        config = self.config
        sheet = {
            "defaults": {"guidance_scale": config.guidance_scale, "size": [config.size, config.size]},
            "choosing": {"top_k": config.top_k, "top_p": config.top_p},
            **self.source.pictures.facts,
        }
        for name, table in (("model_index.json", index), ("pictor.json", sheet)):
            (folder / name).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    def save_draft(self, folder: Path) -> None:
        self.save(folder)


def _coder(folder: Path) -> PictureTokenizer:
    """What turns pictures into tokens, frozen.

    Raises:
        InputError: the folder holds none.
    """
    config = folder / "config.json"
    if not config.is_file() or "PictureTokenizer" not in config.read_text("utf-8"):
        raise InputError(
            f"{folder} holds no picture tokens",
            expected="the model of a run of the kind picture-tokens",
            remedy="Train one with `pictor train --kind picture-tokens`, and name its run as --base.",
            param="objective.picture_tokens",
        )
    network = PictureTokenizer.from_pretrained(folder).float().eval().requires_grad_(False)
    coder: PictureTokenizer = network.to(memory_format=torch.channels_last)
    return coder


def _tokenizer(folder: Path, length: int | None) -> CLIPTokenizer:
    """A model's, for texts of this length; None for its own.

    Raises:
        InputError: the folder holds none.
    """
    place = folder / "tokenizer"
    if not place.is_dir():
        raise InputError(
            f"{folder} holds no tokenizer", expected="a model with a tokenizer/", param="objective.words"
        )
    own: CLIPTokenizer = CLIPTokenizer.from_pretrained(place)
    if length is not None:
        if own.model_max_length < length:
            raise InputError(
                f"caption is {length}, and {place} reads {own.model_max_length} tokens",
                expected="no more than that",
                param="objective.caption",
            )
        own.model_max_length = length
    return own


def build(table: dict[str, Any], seed: int) -> AutoregressiveObjective:
    return AutoregressiveObjective(validated(Config, table, "[objective]"), seed)
