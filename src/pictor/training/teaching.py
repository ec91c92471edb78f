"""Teaching a trained model something of one's own: what low-rank adapters, learnt words and DreamBooth share.

They differ in which parameters learn. The samples are pictures with their captions, and where a prior is
wanted as many that the model itself drew before (`pictor.training.prior_pictures`).

Legend: B samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import nn

from pictor.core.errors import InputError
from pictor.data.prepared import Prepared
from pictor.families.parts.files import read_json
from pictor.training.base_model import BaseModel
from pictor.training.captioned_latents import CaptionedPictures, CorpusKeys
from pictor.training.drawing import Arrays
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.pictures import JUDGED_AT_ONCE, Pictures, Shown, StillPictures
from pictor.training.prior_pictures import drawn_by
from pictor.training.sourced import Sourced
from pictor.training.text_reader import TextReader

_JUDGED = 32
_JUDGED_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)


class TeachingKeys(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    base: Path
    """Folder of the model that is taught: Stable Diffusion 1.x, 2.x or XL, or one of Pictor's."""
    size: int = Field(ge=16, le=2048, multiple_of=8)
    """Side of the pictures in pixels."""
    instance: str | None = Field(None, min_length=1)
    """Caption of every picture in the place of its own, as DreamBooth has it: a word that the model does not
    know and what kind of thing it is, such as "a sks dog"."""
    prior: tuple[str, ...] = ()
    """Prompts whose pictures by the model itself make up half of every batch; empty for no prior."""
    prior_count: int = Field(64, ge=1, le=10_000)
    """How many pictures it draws of them before training."""
    prior_weight: float = Field(1.0, gt=0, le=100)
    """How much their loss counts beside the other half's."""
    min_snr_gamma: float | None = Field(None, gt=0)
    """Gamma of min-SNR weighting, usually 5; None weighs all times alike."""
    num_steps: int | None = Field(None, ge=1, le=1000)
    """Default of the model that is saved; None for the base's."""
    guidance_scale: float | None = Field(None, ge=0, le=100)
    """As num_steps."""

    @model_validator(mode="after")
    def _prior_is_told(self) -> TeachingKeys:
        if any(not prompt.strip() for prompt in self.prior):
            raise ValueError("a prompt of prior is empty")
        if not self.prior and {"prior_count", "prior_weight"} & self.model_fields_set:
            raise ValueError("prior_count and prior_weight are of a prior, and none is given")
        return self

    @property
    def defaults(self) -> dict[str, Any]:
        """Those of the saved model's defaults that are not the base's."""
        told = {"num_steps": self.num_steps, "guidance_scale": self.guidance_scale}
        return {key: value for key, value in told.items() if value is not None}


@dataclass(frozen=True)
class Recaptioned:
    """The same pictures under other captions.

    Args:
        pictures: the source.
        instance: the caption of all of them; None for their own.
        spelt: word -> what is written for it, which a tokenizer reads.
    """

    pictures: Pictures
    instance: str | None
    spelt: Mapping[str, str]

    @property
    def has_held_out(self) -> bool:
        return self.pictures.has_held_out

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.pictures.facts

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        return self.pictures.sizes

    @property
    def still(self) -> StillPictures | None:
        return self.pictures.still

    @property
    def folder(self) -> Path | None:
        return self.pictures.folder

    @property
    def captions(self) -> Sequence[str] | None:
        captions = self.pictures.captions if self.instance is None else (self.instance,)
        return None if captions is None else [self._spelt(caption) for caption in captions]

    def in_batches(self, size: int) -> Pictures:
        return replace(self, pictures=self.pictures.in_batches(size))

    def _spelt(self, caption: str) -> str:
        for word, spelt in self.spelt.items():
            caption = caption.replace(word, spelt)
        return caption

    def shown(self, number: int, held_out: bool) -> Shown:
        shown = self.pictures.shown(number, held_out)
        caption = shown.caption if self.instance is None else self.instance
        return shown._replace(caption=self._spelt(caption))


@dataclass(frozen=True)
class Lessons:
    """Samples by their numbers: even ones of what is taught, odd ones of the prior, where there is one.

    Can be pickled to other processes.
    """

    taught: CaptionedPictures
    prior: CaptionedPictures | None = None
    prior_weight: float = 1.0

    def __call__(self, first: int, count: int) -> Arrays:
        """What `CaptionedPictures` returns, and weight [B], of each sample's loss."""
        if self.prior is None:
            return dict(self.taught(first, count)) | {"weight": np.ones(count, np.float32)}
        rows = [
            (self.prior if number % 2 else self.taught)(number // 2, 1)
            for number in range(first, first + count)
        ]
        weight = [self.prior_weight if number % 2 else 1.0 for number in range(first, first + count)]
        whole = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
        return whole | {"weight": np.array(weight, np.float32)}

    def each(self, change: Callable[[CaptionedPictures], CaptionedPictures]) -> Lessons:
        """The same with a change to what it consists of."""
        prior = None if self.prior is None else change(self.prior)
        return replace(self, taught=change(self.taught), prior=prior)

    def in_batches(self, size: int) -> Lessons:
        return replace(self, taught=self.taught.in_batches(size if self.prior is None else -(-size // 2)))

    def batch(self, first: int, count: int) -> Batch:
        return {key: torch.from_numpy(array) for key, array in self(first, count).items()}

    def judged(self) -> Iterator[Batch]:
        """Held-out samples of what is taught, or where there are none others; in batches of one size each."""
        for first in range(0, _JUDGED, JUDGED_AT_ONCE):
            yield self.taught.batch(first, min(JUDGED_AT_ONCE, _JUDGED - first), held_out=True)


class Teaching(Sourced[Lessons], ABC):
    """The half of an objective that is the same whatever learns; `module` and `save` are the other half's."""

    module: nn.Module

    def __init__(self, config: TeachingKeys, seed: int, *, spelt: Mapping[str, str] | None = None) -> None:
        """Open the base and the pictures; `spelt` is `Recaptioned`'s."""
        self.base = BaseModel(config.base)
        self._keys = config
        check_captions(config)
        pictures = config.pictures(config.size, seed, self.base.stride)
        if config.prior and len(pictures.sizes) > 1:
            raise InputError(
                f"a prior beside pictures of {len(pictures.sizes)} sizes",
                expected="pictures of one size",
                remedy="Prepare them without --buckets.",
                param="objective.prior",
            )
        tokenizers = list(self.base.tokenizers.values())
        taught = CaptionedPictures(
            pictures=Recaptioned(pictures, config.instance, spelt or {}),
            tokenizer=tokenizers[0],
            further=tuple(tokenizers[1:]),
            channels=self.base.channels,
            factor=self.base.pictures.factor,
            empty_captions=config.empty_captions,
            draw_time=self.base.draw_time,
        )
        self.source = Lessons(taught)
        if config.prior:
            drawn = drawn_by(config.base, config.prior, config.prior_count, config.size, seed)
            self.source = Lessons(taught, replace(taught, pictures=drawn), config.prior_weight)

    @property
    def facts(self) -> dict[str, Any]:
        """What a model's pictor.json says of what was taught, and of the picturebook that the base knows."""
        sheet = self.base.folder / "pictor.json"
        known = read_json(sheet) if sheet.is_file() else {}
        kept = {key: known[key] for key in ("picturebook",) if key in known}
        return kept | dict(self.source.taught.pictures.facts) | {"base": self.base.folder.resolve().name}

    def rate(self, name: str) -> float:
        return 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        error_B = self.base.squared_error(batch, min_snr_gamma=self._keys.min_snr_gamma)
        return (error_B * batch["weight"]).mean(), {}

    def validate(self) -> dict[str, float]:
        """Error at fixed times with fixed noise: of held-out pictures, or where there are none of others."""
        kind = "held_out" if self.source.taught.pictures.has_held_out else "seen"
        figures = {}
        batches = [beside(batch, self.base) for batch in self.source.judged()]
        for time in _JUDGED_TIMES:
            errors = [
                self.base.squared_error(batch | {"t": torch.full_like(batch["t"], time)}) for batch in batches
            ]
            figures[f"{kind}_mse_t{time}"] = float(torch.cat(errors).mean())
        return figures

    def text_reader(self) -> TextReader | None:
        """See `text_cache.ReadsTexts`."""
        if self.learnt_texts:
            return None

        def read(tokens: Batch) -> Batch:
            words = self.base.words(tokens)
            return {"ids": words.pop("hidden"), **words}

        return TextReader(self.base.encoders, read)

    @property
    def learnt_texts(self) -> bool:
        """Whether what texts mean to the base changes while this learns."""
        return True

    def save_draft(self, folder: Path) -> None:
        self.save(folder)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write what was learnt."""


def check_captions(config: TeachingKeys, word: str | None = None) -> None:
    """Refuse pictures of which nothing is said.

    Args:
        config: whose `instance` is the caption of all, or whose `data` have their own.
        word: what every caption has to name; None for anything.

    Raises:
        InputError: no picture has a caption; or one lacks the word.
    """
    if config.instance is not None:
        captions: Iterator[str] = iter((config.instance,))
    elif config.data is not None:
        prepared = Prepared(config.data)
        captions = (prepared.plain(row).caption for row in prepared.rows.tolist())
    else:
        captions = iter(("",) if word else ("the picturebook's",))
    if word is None:
        if any(caption.strip() for caption in captions):
            return
        raise InputError(
            f"none of the pictures of {config.data} has a caption",
            expected="words to learn with the pictures",
            remedy='Write them, or name one caption of all as instance, such as "a sks dog".',
            param="objective.data",
        )
    for caption in captions:
        if word not in caption:
            raise InputError(
                f"a caption is {caption!r}",
                expected=f"captions with the word {word}",
                remedy=f'Write it there, or name one caption of all as instance, such as "a {word}".',
                param="objective.token",
            )
