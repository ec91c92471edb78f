"""CLIP: captions and pictures meet in one space.

A pair is positive whenever the caption is true of the picture, by the scene's record (of one's own pictures,
where the captions are the same), so that two captions of equal meaning never repel each other; every picture
of the picturebook also brings a nearly right, false caption. The loss is the sigmoid one over all pairs (Zhai
et al. 2023, arXiv 2303.15343), or InfoNCE with several positives a row (Radford et al. 2021, arXiv
2103.00020; Khosla et al. 2020, arXiv 2004.11362). Where a trained text encoder is given, it stays as it is,
and the pictures learn to meet it (Zhai et al. 2022, arXiv 2111.07991, the other way round).

What the text encoder pools is the common space, so that nobody needs a further matrix to compare with it.
With a given one, pictures of the picturebook are also told against every phrase of the vocabulary, group by
group (`pictor.training.phrase_bank`): contrast within a batch alone is a weak teacher for objects.

Legend of array shapes: B pictures, S captions, T tokens, D numbers of the common space, H, W pixels.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from pictor.backends.picture_encoder import PictureEncoderNetwork
from pictor.data.picturebook import Picturebook, Scene
from pictor.data.picturebook.captions import noun_phrase
from pictor.data.picturebook.phrases import phrase_tables
from pictor.data.picturebook.vocabulary import COLOURS, THING_BY_NAME
from pictor.training.captioned_latents import CorpusKeys
from pictor.training.contrast_samples import ContrastSamples, own_captions
from pictor.training.drawing import Draw
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.parts import open_text_encoder
from pictor.training.phrase_bank import PhraseBank, names_of
from pictor.training.picture_encoder import load_picture_encoder, write_picture_encoder
from pictor.training.pictures import FolderPictures
from pictor.training.recipe import validated
from pictor.training.tokenizer import tokenize, train_tokenizer

_TOKENIZER_CAPTIONS = 20_000
_VALIDATION = 512
_AT_ONCE = 128
_MEAN, _SPREAD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the channels of CLIP's pictures, which every tool that opens one prepares so."""
_MAX_SCALE = 100.0
_BESIDE = ("image_encoder", "judge", "README.md")
"""What is not taken over from a whole model."""


class Config(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    text_encoder: Path | None = None
    """Folder that holds text_encoder/ and tokenizer/, which stay as they are; else both are made here. Of a
    whole model the rest is written too, so that the result draws and describes."""
    start: Path | None = None
    """Folder of a model to go on from: its image_encoder/, trained with this text_encoder."""
    eye: Literal["transformer", "convolutional"] = "transformer"
    """What looks at pictures: transformers' CLIPVisionModelWithProjection, or a network of our own."""
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    patch: int = Field(8, ge=2, le=64)
    """Of a transformer: side of the pieces that a picture is cut into, in pixels."""
    width: int = Field(192, ge=32, le=1024, multiple_of=32)
    """Of a transformer, and of a text encoder that is made here."""
    vision_layers: int = Field(3, ge=1, le=24)
    stages: tuple[tuple[int, int, int], ...] = ((32, 2, 0), (64, 2, 1), (128, 2, 1), (160, 2, 1))
    """Of a convolutional eye: channels, stride and residual blocks."""
    length: int = Field(24, ge=8, le=77)
    """Tokens of a prompt, start and end included; with a text_encoder, its own."""
    layers: int = Field(4, ge=1, le=24)
    """Of the text encoder; with one that is given, its own."""
    loss: Literal["sigmoid", "softmax"] = "sigmoid"
    phrases: float | None = Field(None, ge=0)
    """Weight of telling each picture against the whole vocabulary; None for 1 where that can be done, on the
    picturebook with a text_encoder."""
    views: int = Field(1, ge=1, le=16)
    """Samples that are of the same picture, one after the other: drawing costs more than looking."""
    varied: bool = False
    """Whether each sample is a view of its own: moved, blurred and lit a little differently."""
    empty_captions: float = Field(0.0, ge=0, le=0)
    """None: an empty caption is true of every picture, and tells nothing."""

    @model_validator(mode="after")
    def _of_one_kind(self) -> Config:
        other = {"transformer": ("stages",), "convolutional": ("patch", "vision_layers")}[self.eye]
        if given := [name for name in other if name in self.model_fields_set]:
            raise ValueError(f"{', '.join(given)} given, which a {self.eye} eye does not have")
        if self.text_encoder is not None and {"length", "layers"} & self.model_fields_set:
            raise ValueError("length and layers are the given text_encoder's own")
        if self.start is not None and self.text_encoder is None:
            raise ValueError("start is given, and not the text_encoder that it was trained with")
        if self.phrases and not self._has_phrases:
            raise ValueError("phrases are the picturebook's, told by a text_encoder that is given")
        return self

    @property
    def _has_phrases(self) -> bool:
        return self.text_encoder is not None and self.data is None

    @property
    def phrase_weight(self) -> float:
        return float(self._has_phrases) if self.phrases is None else self.phrases


def _texts(config: Config, source: Picturebook | FolderPictures) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The text encoder and its tokenizer, given or untrained."""
    if config.text_encoder is not None:
        network, tokenizer = open_text_encoder(config.text_encoder)
        return network.requires_grad_(False), tokenizer
    if isinstance(source, FolderPictures):
        captions = own_captions(source)
    else:
        numbers = range(1_000_000_000, 1_000_000_000 + _TOKENIZER_CAPTIONS)
        captions = [source.caption(source.scene(i), source.rng(i, 21)).text for i in numbers]
    tokenizer = train_tokenizer(captions, length=config.length)
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    sizes = {"vocab_size": len(tokenizer), "max_position_embeddings": config.length}
    tower = _tower(config.width, config.layers)
    return CLIPTextModel(CLIPTextConfig(**tower, **sizes, **ends, projection_dim=config.width)), tokenizer


def _eye(config: Config, shared: int) -> nn.Module:
    network: nn.Module
    if config.eye == "convolutional":
        network = PictureEncoderNetwork(config.size, config.stages, projection_dim=shared)
    else:
        sizes = {"image_size": config.size, "patch_size": config.patch, "projection_dim": shared}
        network = CLIPVisionModelWithProjection(
            CLIPVisionConfig(**_tower(config.width, config.vision_layers), **sizes)
        )
    return network


def _tower(width: int, layers: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": width // 32,
        "num_hidden_layers": layers,
    }


class ContrastiveNetwork(nn.Module):
    """Both encoders, and how a cosine becomes a logit: CLIP's scale, and the offset of the sigmoid loss."""

    def __init__(
        self, text_encoder: CLIPTextModel, picture_encoder: nn.Module, scale: float, offset: float
    ) -> None:
        super().__init__()
        self.text_encoder, self.picture_encoder = text_encoder, picture_encoder
        for network in (text_encoder, picture_encoder):
            if isinstance(network, CLIPTextModel | CLIPVisionModelWithProjection):
                network.set_attn_implementation("eager")  # its gradient is the faster one on CPUs
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.offset = nn.Parameter(torch.tensor(offset))

    @property
    def scale(self) -> torch.Tensor:
        return self.log_scale.exp().clamp(max=_MAX_SCALE)

    def look(self, image_BHW3: torch.Tensor) -> torch.Tensor:
        """Where pictures of bytes lie, [B, D], of length 1."""
        mean, spread = (torch.tensor(values, device=image_BHW3.device) for values in (_MEAN, _SPREAD))
        # A view of bytes that lie channel by channel in each pixel is what convolutions on CPUs like best.
        image_B3HW = ((image_BHW3.float() / 255 - mean) / spread).permute(0, 3, 1, 2)
        return F.normalize(self.picture_encoder(image_B3HW).image_embeds.float(), dim=-1)

    def read(self, ids_ST: torch.Tensor) -> torch.Tensor:
        """Where texts lie, [S, D], of length 1."""
        # It reads from left to right and pools the first end: what pads after it changes nothing.
        ends_ST = ids_ST == self.text_encoder.config.eos_token_id
        longest = int(ends_ST.int().argmax(1).max()) + 1
        return F.normalize(self.text_encoder(input_ids=ids_ST[:, :longest]).pooler_output.float(), dim=-1)

    def logits(self, seen_BD: torch.Tensor, read_SD: torch.Tensor) -> torch.Tensor:
        """[B, S]."""
        with torch.autocast(seen_BD.device.type, enabled=False):  # captions that differ in a word are near
            return seen_BD @ read_SD.T * self.scale + self.offset


class ContrastiveObjective:
    """A small CLIP."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.source: Picturebook | FolderPictures
        if config.data is None:
            self.source = Picturebook(config.size, seed, config.font, config.mix)
        else:
            found = config.pictures(config.size, seed, 1)
            assert isinstance(found, FolderPictures)  # noqa: S101 - as data is given
            self.source = found
        text_encoder, self.tokenizer = _texts(config, self.source)
        eye = _eye(config, int(text_encoder.config.hidden_size))
        # Trained texts lie nearer to each other than new ones.
        scale, offset = (14.0, -10.0) if config.text_encoder is None else (50.0, -20.0)
        if config.start is not None:
            scale, offset = load_picture_encoder(config.start, eye)
        self.module = ContrastiveNetwork(text_encoder, eye, scale, offset)
        self.bank = PhraseBank(config.mix.things, self._embedded) if config.phrase_weight else None
        self.samples = ContrastSamples(
            source=self.source,
            tokenizer=self.tokenizer,
            size=config.size,
            seed=seed,
            views=config.views,
            varied=config.varied,
            phrases=self.bank is not None,
        )

    def rate(self, name: str) -> float:
        # Two numbers that have far to go, for which a step of a weight is nothing.
        return 10.0 if name in ("log_scale", "offset") else 1.0

    def drawer(self) -> Draw:
        return self.samples

    def batch(self, first: int, count: int) -> Batch:
        return {key: torch.from_numpy(array) for key, array in self.samples(first, count).items()}

    @torch.no_grad()
    def _embedded(self, texts: Sequence[str]) -> torch.Tensor:
        ids = beside({"ids": tokenize(self.tokenizer, list(texts))}, self.module)["ids"]
        with torch.autocast(ids.device.type, enabled=False):
            parts = ids.split(_AT_ONCE)  # type: ignore[no-untyped-call]
            return torch.cat([self.module.read(part) for part in parts])

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        seen, labels = self.module.look(batch["image"]), batch["labels"]
        logits = self.module.logits(seen, self.module.read(batch["ids"]))
        loss = _sigmoid(logits, labels) if self.config.loss == "sigmoid" else _softmax(logits, labels)
        best = logits.detach().argmax(1)
        figures = {"retrieval": labels[torch.arange(len(labels), device=labels.device), best].float().mean()}
        if self.bank is None:
            return loss, figures
        true = {key.removeprefix("true."): value for key, value in batch.items() if key.startswith("true.")}
        with torch.autocast(seen.device.type, enabled=False):
            groups = self.bank(seen * self.module.scale, true)
        figures |= {f"{name}_loss": one.detach() for name, one in groups.items()}
        return loss + self.config.phrase_weight * torch.stack(list(groups.values())).sum(), figures

    def validate(self) -> dict[str, float]:
        """For how many pictures and captions is one of the 1 or 5 best true, both ways?

        Of held-out ones, or of seen ones where none were held out. On the picturebook also: is the true
        caption above the nearly right one, and are an object and its colour told among all (zero-shot)?
        """
        shown = self.samples.shown(range(_VALIDATION), held_out=True)
        count = len(shown.pictures)
        seen = self._seen(shown.pictures)
        logits = self.module.logits(seen, self._embedded(shown.captions)).cpu()
        labels = torch.from_numpy(shown.labels)
        kind = "held_out" if self.samples.has_held_out else "seen"
        figures = {
            f"{kind}_{name}_recall_at_{k}": _recall(one, right, k)
            for name, one, right in (
                ("caption", logits[:, :count], labels[:, :count]),
                ("picture", logits[:, :count].T, labels[:, :count].T),
            )
            for k in (1, 5)
        }
        if not shown.scenes:
            return figures
        rows = torch.arange(count)
        judged = ~labels[rows, rows + count]
        above = logits[rows, rows] > logits[rows, rows + count]
        figures["held_out_true_over_near"] = float(above[judged].float().mean())
        return figures | self._zero_shot(shown.scenes, seen)

    def _seen(self, pictures: Sequence[NDArray[np.uint8]]) -> torch.Tensor:
        parts = torch.from_numpy(np.stack(pictures)).split(_AT_ONCE)  # type: ignore[no-untyped-call]
        return torch.cat([self.module.look(beside({"image": part}, self.module)["image"]) for part in parts])

    def _zero_shot(self, scenes: Sequence[Scene], seen_BD: torch.Tensor) -> dict[str, float]:
        """Share of single objects whose name, and whose colour beside its name, is the nearest of all."""
        names = names_of(self.config.mix.things)
        things = self._embedded([noun_phrase(THING_BY_NAME[name], name, None) for name in names])
        right, told = [], []
        for scene, seen_D in zip(scenes, seen_BD, strict=True):
            item = scene.subject
            if len(scene.items) > 1:
                continue
            right.append(names[int((things @ seen_D).argmax())] == item.thing)
            if item.colour:
                thing = THING_BY_NAME[item.thing]
                colours = self._embedded([noun_phrase(thing, thing.name, colour.name) for colour in COLOURS])
                told.append(COLOURS[int((colours @ seen_D).argmax())].name == item.colour)
        return {
            "held_out_thing": float(np.mean(right)) if right else 0.0,
            "held_out_colour": float(np.mean(told)) if told else 0.0,
        }

    def save(self, folder: Path) -> None:
        given = self.config.text_encoder
        if given is not None and (given / "model_index.json").is_file():
            shutil.copytree(given, folder, ignore=shutil.ignore_patterns(*_BESIDE), dirs_exist_ok=True)
        else:
            self.module.text_encoder.save_pretrained(folder / "text_encoder")
            self.tokenizer.save_pretrained(folder / "tokenizer")
        own = isinstance(self.source, FolderPictures)
        write_picture_encoder(
            folder,
            self.module.picture_encoder,
            languages=self._own_words() if own else phrase_tables(self.config.mix.things),
            scale=float(self.module.scale.detach()),
            offset=float(self.module.offset.detach()) if self.config.loss == "sigmoid" else 0.0,
        )

    def _own_words(self) -> dict[str, Any]:
        """Words to describe one's own pictures with: whole captions."""
        assert isinstance(self.source, FolderPictures)  # noqa: S101 - asked for them alone
        captions = [caption for caption in own_captions(self.source) if caption]
        whole = {caption: {"plain": [caption], "coloured": [caption]} for caption in captions}
        return {"en": {"pattern": "{thing}", "things": whole, "colours": {}, "places": {}, "styles": {}}}


def _recall(logits_NM: torch.Tensor, labels_NM: torch.Tensor, k: int) -> float:
    """Share of rows one of whose k highest is right."""
    best = logits_NM.topk(min(k, logits_NM.shape[1]), 1).indices
    return float(labels_NM.gather(1, best).any(1).float().mean())


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
    return ContrastiveObjective(validated(Config, table, "[objective]"), seed)
