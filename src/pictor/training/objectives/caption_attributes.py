"""Text encoder: every caption tells what it names: objects, colours, count, place, style, relation.

A picture tower needs long to tell objects apart, and until it does, contrast leaves the words for objects
close together. The corpus knows what each caption names, so that the words can be spread apart from that
alone, in minutes. They are read off the end token, and off the mean of the end token and the padding
after it, which is most of what a denoiser's cross-attention looks at.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from pictor.data.picturebook import Caption, Mix, Picturebook
from pictor.data.picturebook.surroundings import PLACES, RELATIONS, STYLES
from pictor.data.picturebook.vocabulary import COLOURS, THINGS
from pictor.training.captioned_latents import MixTable
from pictor.training.drawing import Arrays
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.parts import open_text_encoder
from pictor.training.recipe import Strict, validated
from pictor.training.sourced import Sourced
from pictor.training.tokenizer import tokenize, train_tokenizer

_VALIDATION = 1024
_TOKENIZER_CAPTIONS = 40_000

_THINGS: list[str | None] = [thing.name for thing in THINGS]
_COLOURS: list[str | None] = [None, *(colour.name for colour in COLOURS)]
_CLASSES: dict[str, list[Any]] = {
    "thing": _THINGS,
    "colour": _COLOURS,
    "count": [1, 2, 3, 4],
    "place": [None, *(place.name for place in PLACES)],
    "night": [None, False, True],
    "style": [None, *(style.name for style in STYLES if style.name != "plain")],
    "relation": [None, *(relation.name for relation in RELATIONS)],
    "other_thing": [None, *_THINGS],
    "other_colour": _COLOURS,
}
"""None: the caption leaves it unsaid."""


class Config(Strict):
    """Keys of the recipe's [objective] table."""

    text_encoder: Path | None = None
    """Folder that holds text_encoder/ and tokenizer/ to start from; without it both are made here."""
    length: int = Field(32, ge=8, le=77)
    """Tokens of a prompt, start and end included; with a text_encoder, its own."""
    width: int = Field(192, ge=32, le=1024, multiple_of=32)
    layers: int = Field(4, ge=1, le=24)
    anchor: float = Field(0.5, ge=0)
    """Weight of the squared distance from where a given text encoder started."""
    mix: MixTable = Mix()
    font: Path | None = None


def _fresh(config: Config, book: Picturebook) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """A tokenizer learnt from the corpus's captions, and an untrained text encoder for it."""
    numbers = range(1_000_000_000, 1_000_000_000 + _TOKENIZER_CAPTIONS)
    captions = (book.caption(book.scene(i), book.rng(i, 21)).text for i in numbers)
    tokenizer = train_tokenizer(captions, length=config.length)
    text = CLIPTextConfig(
        hidden_size=config.width,
        intermediate_size=4 * config.width,
        num_attention_heads=config.width // 32,
        num_hidden_layers=config.layers,
        projection_dim=config.width,
        vocab_size=len(tokenizer),
        max_position_embeddings=config.length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(text), tokenizer


class TextToAttributes(nn.Module):
    """A text encoder with one linear reader an attribute."""

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        width = text_encoder.config.hidden_size
        self.readers = nn.ModuleDict({name: nn.Linear(width, len(c)) for name, c in _CLASSES.items()})

    def forward(self, ids_BT: torch.Tensor) -> tuple[torch.Tensor, dict[str, list[torch.Tensor]]]:
        """Hidden states [B, T, D], and two sets of logits [B, classes] for each attribute."""
        hidden_BTD = self.text_encoder(input_ids=ids_BT).last_hidden_state
        ended_BT = ids_BT == self.text_encoder.config.eos_token_id
        first_B = ended_BT.int().argmax(1)
        end_BD = hidden_BTD[torch.arange(len(ids_BT), device=ids_BT.device), first_B]
        weight_BT1 = ended_BT.to(hidden_BTD.dtype)[..., None]
        mean_BD = (hidden_BTD * weight_BT1).sum(1) / weight_BT1.sum(1)
        logits = {name: [reader(end_BD), reader(mean_BD)] for name, reader in self.readers.items()}
        return hidden_BTD, logits


@dataclass(frozen=True, kw_only=True)
class ToldCaptions:
    """Draws captions by their numbers, with what they name; can be pickled to other processes."""

    book: Picturebook
    tokenizer: CLIPTokenizer

    def __call__(self, first: int, count: int, held_out: bool = False) -> Arrays:
        """Samples first .. first + count - 1: ids [B, T], and of each attribute its class [B], int64."""
        captions: list[Caption] = []
        for number in range(first, first + count):
            scene = self.book.scene(number, held_out=held_out)
            captions.append(self.book.caption(scene, self.book.rng(number, 51)))
        named = {
            name: np.array([classes.index(getattr(caption, name)) for caption in captions])
            for name, classes in _CLASSES.items()
        }
        return named | {"ids": tokenize(self.tokenizer, [caption.text for caption in captions]).numpy()}

    def in_batches(self, size: int) -> ToldCaptions:
        """The same: one caption is as long as another."""
        return self

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        """The same as tensors."""
        return {key: torch.from_numpy(array) for key, array in self(first, count, held_out).items()}


class CaptionAttributesObjective(Sourced[ToldCaptions]):
    """Supervision by the scene's record; no pictures are drawn."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        # Captions do not depend on the size.
        book = Picturebook(64, seed, config.font, config.mix)
        self.start: CLIPTextModel | None = None
        if config.text_encoder is None:
            text_encoder, tokenizer = _fresh(config, book)
        else:
            text_encoder, tokenizer = open_text_encoder(config.text_encoder)
            self.start = copy.deepcopy(text_encoder).eval().requires_grad_(False)
        self.source = ToldCaptions(book=book, tokenizer=tokenizer)
        self.module = TextToAttributes(text_encoder)

    def rate(self, name: str) -> float:
        # The readers start from nothing and must not make the encoder wait for them.
        return 5.0 if name.startswith("readers.") else 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        hidden, logits = self.module(batch["ids"])
        named = [F.cross_entropy(one.float(), batch[name]) for name, pair in logits.items() for one in pair]
        loss = torch.stack(named).sum()
        if self.start is not None:
            with torch.no_grad():
                before = self.start(input_ids=batch["ids"]).last_hidden_state
            loss = loss + self.config.anchor * F.mse_loss(hidden, before)
        right = (logits["thing"][1].argmax(1) == batch["thing"]).float().mean()
        other = (logits["other_thing"][1].argmax(1) == batch["other_thing"]).float().mean()
        return loss, {"thing_accuracy": right, "other_thing_accuracy": other}

    def validate(self) -> dict[str, float]:
        """Share of captions of held-out compositions whose attribute is read right from the mean."""
        batch = beside(self.source.batch(0, _VALIDATION, held_out=True), self.module)
        _, logits = self.module(batch["ids"])
        return {
            f"held_out_{name}": float((pair[1].argmax(1) == batch[name]).float().mean())
            for name, pair in logits.items()
        }

    def save(self, folder: Path) -> None:
        self.module.text_encoder.save_pretrained(folder / "text_encoder")
        self.source.tokenizer.save_pretrained(folder / "tokenizer")


def build(table: dict[str, Any], seed: int) -> CaptionAttributesObjective:
    return CaptionAttributesObjective(validated(Config, table, "[objective]"), seed)
