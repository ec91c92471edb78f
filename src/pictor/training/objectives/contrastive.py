"""Text encoder: captions and pictures meet in one space.

Sigmoid loss over all pairs (Zhai et al. 2023, arXiv 2303.15343). A pair is positive whenever the caption is
true of the picture, by the scene's record, so that two captions of equal meaning never repel each other;
every picture also brings a nearly right, false caption.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from transformers import CLIPConfig, CLIPModel

from pictor.data.picturebook import Caption, Picturebook, Scene, describes
from pictor.training.objectives import Batch
from pictor.training.recipe import Strict, validated
from pictor.training.tokenizer import tokenize, train_tokenizer

_TOKENIZER_CAPTIONS = 20_000
_VALIDATION = 512


class Config(Strict):
    """Keys of the recipe's [objective] table."""

    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    length: int = Field(24, ge=8, le=77)
    """Tokens of a prompt, start and end included."""
    width: int = Field(192, ge=32, le=1024, multiple_of=32)
    layers: int = Field(4, ge=1, le=24)
    vision_layers: int = Field(3, ge=1, le=24)
    shared: int = Field(128, ge=8, le=1024)
    """Numbers of the common space."""
    font: Path | None = None


class ContrastiveNetwork(nn.Module):
    """CLIP with the sigmoid loss's learnt offset."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.offset = nn.Parameter(torch.tensor(-8.0))

    def forward(self, image_BCHW: torch.Tensor, ids_NT: torch.Tensor) -> torch.Tensor:
        """Logits, [B, N]."""
        pictures = self.clip.visual_projection(self.clip.vision_model(image_BCHW).pooler_output)
        texts = self.clip.text_projection(self.clip.text_model(input_ids=ids_NT).pooler_output)
        similarity = F.normalize(pictures, dim=-1) @ F.normalize(texts, dim=-1).T
        logits: torch.Tensor = similarity * self.clip.logit_scale.exp().clamp(max=100) + self.offset
        return logits


class ContrastiveObjective:
    """A small CLIP on the picturebook."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.book = Picturebook(config.size, seed, config.font)
        numbers = range(1_000_000_000, 1_000_000_000 + _TOKENIZER_CAPTIONS)
        captions = (self.book.caption(self.book.scene(i), self.book.rng(i, 21)).text for i in numbers)
        self.tokenizer = train_tokenizer(captions, length=config.length)
        common: dict[str, Any] = {
            "hidden_size": config.width,
            "intermediate_size": 4 * config.width,
            "num_attention_heads": config.width // 32,
            "projection_dim": config.shared,
        }
        text = {
            "vocab_size": len(self.tokenizer),
            "num_hidden_layers": config.layers,
            "max_position_embeddings": config.length,
            "bos_token_id": self.tokenizer.bos_token_id,
            "eos_token_id": self.tokenizer.eos_token_id,
            "pad_token_id": self.tokenizer.pad_token_id,
        }
        vision = {"num_hidden_layers": config.vision_layers, "image_size": config.size, "patch_size": 8}
        clip = CLIPModel(
            CLIPConfig(text_config=common | text, vision_config=common | vision, projection_dim=config.shared)
        )
        self.module = ContrastiveNetwork(clip)

    def rate(self, name: str) -> float:
        return 1.0

    def _pairs(
        self, first: int, count: int, held_out: bool
    ) -> tuple[list[Scene], list[Caption], list[Caption]]:
        scenes, true, false = [], [], []
        for number in range(first, first + count):
            scene = self.book.scene(number, held_out=held_out)
            rng = self.book.rng(number, 22)
            scenes.append(scene)
            true.append(self.book.caption(scene, rng))
            false.append(self.book.caption(self.book.confused(scene, rng), rng))
        return scenes, true, false

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        scenes, true, false = self._pairs(first, count, held_out)
        drawn = np.stack([self.book.draw(scene, first + n) for n, scene in enumerate(scenes)])
        captions = true + false
        labels = np.array([[describes(caption, scene) for caption in captions] for scene in scenes])
        return {
            "image": torch.from_numpy(drawn).permute(0, 3, 1, 2).float().div_(127.5).sub_(1),
            "ids": tokenize(self.tokenizer, [caption.text for caption in captions]),
            "labels": torch.from_numpy(labels),
        }

    def loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        logits = self.module(batch["image"], batch["ids"])
        sign = batch["labels"].float() * 2 - 1
        loss = -F.logsigmoid(sign * logits).sum(1).mean()
        count = len(logits)
        best = logits.detach()[:, :count].argmax(1)
        right = batch["labels"][torch.arange(count), best].float().mean()
        return loss, {"retrieval": float(right)}

    def validate(self) -> dict[str, float]:
        """On held-out pictures: is the best caption true, and is the true one above the nearly right one?"""
        batch = self.batch(0, _VALIDATION, held_out=True)
        logits, labels = self.module(batch["image"], batch["ids"]), batch["labels"]
        rows = torch.arange(_VALIDATION)
        true, near = logits[rows, rows], logits[rows, rows + _VALIDATION]
        judged = ~labels[rows, rows + _VALIDATION]
        best = logits[:, :_VALIDATION].argmax(1)
        return {
            "held_out_retrieval": float(labels[rows, best].float().mean()),
            "held_out_true_over_near": float((true > near)[judged].float().mean()),
        }

    def save(self, folder: Path) -> None:
        self.module.clip.text_model.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        self.module.clip.save_pretrained(folder / "clip")


def build(table: dict[str, Any], seed: int) -> ContrastiveObjective:
    config = validated(Config, table, "[objective]")
    return ContrastiveObjective(config, seed)
