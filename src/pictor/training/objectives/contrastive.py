"""CLIP: captions and pictures meet in one space.

A pair is positive whenever the caption is true of the picture, by the scene's record, so that two captions of
equal meaning never repel each other; every picture also brings a nearly right, false caption. The loss is
the sigmoid one over all pairs (Zhai et al. 2023, arXiv 2303.15343), or InfoNCE with several positives a row
(Radford et al. 2021, arXiv 2103.00020; Khosla et al. 2020, arXiv 2004.11362). Where a trained text encoder is
given, it stays as it is, and the pictures learn to meet it (Zhai et al. 2022, arXiv 2111.07991, the other way
round).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPTokenizer

from pictor.data.picturebook import Caption, Mix, Picturebook, Scene, describes
from pictor.data.picturebook.captions import noun_phrase
from pictor.data.picturebook.vocabulary import COLOURS, THING_BY_NAME, THINGS
from pictor.training.captioned_latents import MixTable
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.parts import open_text_encoder
from pictor.training.picture_encoder import write_picture_encoder
from pictor.training.recipe import Strict, validated
from pictor.training.tokenizer import tokenize, train_tokenizer

_TOKENIZER_CAPTIONS = 20_000
_VALIDATION = 512
_MEAN, _SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the channels of CLIP's pictures, which every tool that opens one prepares so."""


class Config(Strict):
    """Keys of the recipe's [objective] table."""

    text_encoder: Path | None = None
    """Folder that holds text_encoder/ and tokenizer/, which stay as they are; else both are made here."""
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    patch: int = Field(8, ge=2, le=64)
    """Side of the pieces that a picture is cut into, in pixels."""
    loss: Literal["sigmoid", "softmax"] = "sigmoid"
    length: int = Field(24, ge=8, le=77)
    """Tokens of a prompt, start and end included; with a text_encoder, its own."""
    width: int = Field(192, ge=32, le=1024, multiple_of=32)
    layers: int = Field(4, ge=1, le=24)
    """Of the text encoder; with one that is given, its own."""
    vision_layers: int = Field(3, ge=1, le=24)
    shared: int = Field(128, ge=8, le=1024)
    """Numbers of the common space; with a text_encoder, those of its own."""
    mix: MixTable = Mix()
    font: Path | None = None


def _towers(config: Config, book: Picturebook) -> tuple[CLIPModel, CLIPTokenizer]:
    """Both networks, and the tokenizer."""
    given: CLIPTextModel | None = None
    if config.text_encoder is None:
        numbers = range(1_000_000_000, 1_000_000_000 + _TOKENIZER_CAPTIONS)
        captions = (book.caption(book.scene(i), book.rng(i, 21)).text for i in numbers)
        tokenizer = train_tokenizer(captions, length=config.length)
        text: dict[str, Any] = _tower(config.width, config.layers) | {
            "vocab_size": len(tokenizer),
            "max_position_embeddings": config.length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        }
    else:
        given, tokenizer = open_text_encoder(config.text_encoder)
        text = given.config.to_dict()
    shared = config.shared if given is None else int(given.config.hidden_size)
    vision = _tower(config.width, config.vision_layers) | {
        "image_size": config.size,
        "patch_size": config.patch,
    }
    clip = CLIPModel(
        CLIPConfig(
            text_config=text | {"projection_dim": shared},
            vision_config=vision | {"projection_dim": shared},
            projection_dim=shared,
        )
    ).float()
    if given is not None:
        # What it pools is the common space, so that nobody needs a further matrix to compare with it.
        clip.text_model.load_state_dict(given.state_dict())
        nn.init.eye_(clip.text_projection.weight)
        clip.text_model.requires_grad_(False)
        clip.text_projection.requires_grad_(False)
    clip.set_attn_implementation("eager")  # its gradient is the faster one on CPUs
    return clip, tokenizer


def _tower(width: int, layers: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": width // 32,
        "num_hidden_layers": layers,
    }


class ContrastiveNetwork(nn.Module):
    """CLIP with the sigmoid loss's learnt offset."""

    def __init__(self, clip: CLIPModel) -> None:
        super().__init__()
        self.clip = clip
        self.offset = nn.Parameter(torch.tensor(-8.0))

    def forward(self, image_BCHW: torch.Tensor, ids_NT: torch.Tensor) -> torch.Tensor:
        """Logits, [B, N]."""
        pictures = self.clip.visual_projection(self.clip.vision_model(pixel_values=image_BCHW).pooler_output)
        texts = self.clip.text_projection(self.clip.text_model(input_ids=ids_NT).pooler_output)
        similarity = F.normalize(pictures, dim=-1) @ F.normalize(texts, dim=-1).T
        logits: torch.Tensor = similarity * self.clip.logit_scale.exp().clamp(max=100) + self.offset
        return logits


class ContrastiveObjective:
    """A small CLIP on the picturebook."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.book = Picturebook(config.size, seed, config.font, config.mix)
        clip, self.tokenizer = _towers(config, self.book)
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
            "image": _prepared(drawn),
            "ids": tokenize(self.tokenizer, [caption.text for caption in captions]),
            "labels": torch.from_numpy(labels),
        }

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        logits, labels = self.module(batch["image"], batch["ids"]).float(), batch["labels"]
        loss = _sigmoid(logits, labels) if self.config.loss == "sigmoid" else _softmax(logits, labels)
        count = len(logits)
        best = logits.detach()[:, :count].argmax(1)
        right = labels[torch.arange(count, device=labels.device), best].float().mean()
        return loss, {"retrieval": right}

    def validate(self) -> dict[str, float]:
        """On held-out pictures: is the best caption true, is the true one above the nearly right one, and
        are the object and its colour told among all (zero-shot)?
        """
        batch = beside(self.batch(0, _VALIDATION, held_out=True), self.module)
        logits, labels = self.module(batch["image"], batch["ids"]).float().cpu(), batch["labels"].cpu()
        rows = torch.arange(_VALIDATION)
        true, near = logits[rows, rows], logits[rows, rows + _VALIDATION]
        judged = ~labels[rows, rows + _VALIDATION]
        best = logits[:, :_VALIDATION].argmax(1)
        figures = {
            "held_out_retrieval": float(labels[rows, best].float().mean()),
            "held_out_true_over_near": float((true > near)[judged].float().mean()),
        }
        return figures | self._zero_shot(batch["image"])

    def _zero_shot(self, image_BCHW: torch.Tensor) -> dict[str, float]:
        """Share of single objects whose name, and whose colour beside its name, is the nearest of all."""
        scenes = [self.book.scene(number, held_out=True) for number in range(len(image_BCHW))]
        single = [row for row, scene in enumerate(scenes) if len(scene.items) == 1]
        names = self.config.mix.things or tuple(thing.name for thing in THINGS)
        subjects = [scenes[row].subject for row in single]

        def nearest(rows: list[int], texts: list[str]) -> torch.Tensor:
            ids = tokenize(self.tokenizer, texts).to(image_BCHW.device)
            logits: torch.Tensor = self.module(image_BCHW[rows], ids).float().cpu()
            return logits

        things = nearest(single, [noun_phrase(THING_BY_NAME[name], name, None) for name in names]).argmax(1)
        right = [names[int(best)] == item.thing for best, item in zip(things, subjects, strict=True)]
        coloured = [(row, item) for row, item in zip(single, subjects, strict=True) if item.colour]
        told = []
        for row, item in coloured:
            thing = THING_BY_NAME[item.thing]
            texts = [noun_phrase(thing, thing.name, colour.name) for colour in COLOURS]
            told.append(COLOURS[int(nearest([row], texts).argmax())].name == item.colour)
        return {
            "held_out_thing": float(np.mean(right)) if right else 0.0,
            "held_out_colour": float(np.mean(told)) if told else 0.0,
        }

    def save(self, folder: Path) -> None:
        clip = self.module.clip
        clip.text_model.save_pretrained(folder / "text_encoder")
        self.tokenizer.save_pretrained(folder / "tokenizer")
        clip.save_pretrained(folder / "clip")
        write_picture_encoder(
            folder,
            clip,
            things=self.config.mix.things,
            scale=float(clip.logit_scale.detach().exp().clamp(max=100)),
            offset=float(self.module.offset.detach()) if self.config.loss == "sigmoid" else 0.0,
        )


def _prepared(drawn_BHWC: np.ndarray) -> torch.Tensor:
    mean, spread = (torch.tensor(values)[:, None, None] for values in (_MEAN, _SPREAD))
    return (torch.from_numpy(drawn_BHWC).permute(0, 3, 1, 2).float().div_(255) - mean) / spread


def _sigmoid(logits_BN: torch.Tensor, labels_BN: torch.Tensor) -> torch.Tensor:
    """Each pair by itself, summed over a picture's captions."""
    sign = labels_BN.float() * 2 - 1
    return -F.logsigmoid(sign * logits_BN).sum(1).mean()


def _softmax(logits_BN: torch.Tensor, labels_BN: torch.Tensor) -> torch.Tensor:
    """Both ways, the mean over the positives of each picture, and of each caption that has any."""
    positive = labels_BN.float()

    def one_way(logits: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        some = positive.sum(1) > 0
        likely = F.log_softmax(logits, 1)[some]
        return -((likely * positive[some]).sum(1) / positive[some].sum(1)).mean()

    return (one_way(logits_BN, positive) + one_way(logits_BN.T, positive.T)) / 2


def build(table: dict[str, Any], seed: int) -> ContrastiveObjective:
    config = validated(Config, table, "[objective]")
    return ContrastiveObjective(config, seed)
