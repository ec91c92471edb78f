"""Captioned pictures as a denoiser sees them: latents, caption tokens, a time and noise.

Objectives that learn to denoise share this, and differ in what they make of it. Legend: B samples, C latent
channels, h, w latent rows and columns, T tokens, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator
from torch import nn
from transformers import CLIPTokenizer

from pictor.core.errors import InputError
from pictor.data.picturebook import Mix, Picturebook
from pictor.data.prepared import Variation
from pictor.training.linear_code import patches
from pictor.training.objectives import Batch
from pictor.training.parts import encode
from pictor.training.pictures import JUDGED_AT_ONCE, BookPictures, FolderPictures, Pictures, identity
from pictor.training.planes import planes
from pictor.training.recipe import Strict
from pictor.training.tokenizer import tokenize

_SAME = 1e-3
"""How far a linear encoder's latents, of about unit variance, may round from its matrix's."""

DrawTime = Callable[[np.random.Generator], float]
"""A sample's time in [0, 1], 0 the picture and 1 noise; drawers in other processes need to pickle it."""


def _mix(table: object) -> object:
    """A table of shares as a Mix; what a Mix does not have is refused."""
    if not isinstance(table, dict):
        return table
    known = [field.name for field in fields(Mix)]
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"no share is called {', '.join(unknown)}; known are {', '.join(known)}")
    return Mix.of(table)


Kept = Callable[[int, np.random.Generator], NDArray[np.float32]]
"""Latents [C, h, w] of what training sees as a sample; see `latent_cache`."""

Arrays = dict[str, NDArray[Any]]
Read = Callable[[Arrays], Arrays]
"""What frozen text encoders make of caption tokens; see `text_cache`."""

MixTable = Annotated[Mix, BeforeValidator(_mix)]
"""A recipe's table of shares."""


def _variation(table: object) -> object:
    """A table of options as a Variation; what a Variation does not have is refused."""
    if not isinstance(table, dict):
        return table
    known = [field.name for field in fields(Variation)]
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"no option is called {', '.join(unknown)}; known are {', '.join(known)}")
    return Variation(**table)


VariationTable = Annotated[Variation, BeforeValidator(_variation)]
"""A recipe's table of how pictures and captions vary."""


class CorpusKeys(Strict):
    """Keys of the [objective] table that say what is shown."""

    reads_words: ClassVar[bool] = True
    """False for objectives that learn from pictures alone, which then need no captions."""

    data: Path | None = None
    """Folder that `pictor data prepare` wrote; without it the picturebook is drawn."""
    data_identity: str | None = None
    """Of the folder's manifest, where the run is to refuse other pictures than it began with."""
    variation: VariationTable = Variation()
    """[objective.variation]: how the pictures of `data` differ from time to time that they are seen."""
    empty_captions: float = Field(0.1, ge=0, le=1)
    """Share of captions emptied, which classifier-free guidance needs."""
    mix: MixTable = Mix()
    """[objective.mix]: shares of the kinds of scene of the picturebook."""
    font: Path | None = None
    """Of the picturebook, where the system has none."""

    @model_validator(mode="after")
    def _of_one_source(self) -> CorpusKeys:
        if self.data is not None and (self.mix != Mix() or self.font is not None):
            raise ValueError("mix and font are the picturebook's, and data is given")
        if self.data is None and self.variation != Variation():
            raise ValueError("variation is of the pictures of data, and none is given")
        if not self.reads_words and "empty_captions" in self.model_fields_set:
            raise ValueError("empty_captions is of words, which this objective does not read")
        return self

    def pictures(self, size: int, seed: int, stride: int) -> Pictures:
        """What is shown.

        Args:
            size: side of the pictures in pixels; those of `data` have about as many pixels.
            seed: of the run.
            stride: what the networks need sides to be multiples of, in pixels.

        Raises:
            InputError: the folder is none, or of another size.
        """
        if self.data is None:
            return BookPictures(Picturebook(size, seed, self.font, self.mix))
        if self.data_identity is not None and identity(self.data) != self.data_identity:
            raise InputError(
                f"the pictures of {self.data} have changed since the run began",
                expected=f"those of identity {self.data_identity}",
                remedy="Begin a run of its own with them.",
                param="objective.data",
            )
        found = FolderPictures(self.data, seed, self.variation)
        for width, height in found.sizes:
            if width % stride or height % stride or not 0.5 <= width * height / size**2 <= 2:
                raise InputError(
                    f"{self.data} has pictures of {width}x{height}",
                    expected=f"sides that are multiples of {stride}, about {size}x{size}",
                    remedy=f"Prepare them with --size {size}, and --step {stride} where with --buckets.",
                    param="objective.data",
                )
        return found


class NoisedCorpusKeys(CorpusKeys):
    """The same of objectives that noise what is shown."""

    noisings: int = Field(1, ge=1, le=64)
    """Samples that one drawn picture and its caption make, one after the other, each with a time and noise of
    its own: for GPUs that denoise faster than processors draw."""

    @model_validator(mode="after")
    def _drawn_once(self) -> NoisedCorpusKeys:
        if self.data is not None and self.noisings > 1:
            raise ValueError("noisings is of drawn pictures, and data is given")
        return self


def downsampling(autoencoder: AutoencoderTiny | AutoencoderKL) -> int:
    """Pixels a latent, along each side."""
    config = autoencoder.config
    blocks = getattr(config, "encoder_block_out_channels", None) or config.block_out_channels
    return int(2 ** (len(blocks) - 1))


@dataclass(frozen=True, kw_only=True)
class CaptionedPictures:
    """Draws samples by their numbers; can be pickled to other processes."""

    pictures: Pictures
    tokenizer: CLIPTokenizer | None
    """None for samples without words."""
    channels: int
    """Of latents."""
    factor: int
    """Pixels a latent, along each side."""
    empty_captions: float
    draw_time: DrawTime
    further: tuple[CLIPTokenizer, ...] = ()
    """Of the text encoders after the first."""
    noisings: int = 1
    """Samples of each picture that is trained on, which share its pixels."""
    kept: Kept | None = None
    """Latents in the place of the pictures that are trained on."""
    read: Read | None = None
    """What text encoders make of the captions that are trained on, in the place of their tokens."""

    def each(self, change: Callable[[CaptionedPictures], CaptionedPictures]) -> CaptionedPictures:
        """The same with a change to what it consists of, which is itself alone."""
        return change(self)

    def tokens(self, texts: list[str]) -> Arrays:
        """Captions as token numbers [B, T] int64, by each tokenizer: ids, ids_2."""
        told = {
            f"ids_{number}": tokenize(tokenizer, texts).numpy()
            for number, tokenizer in enumerate(self.further, 2)
        }
        return told if self.tokenizer is None else told | {"ids": tokenize(self.tokenizer, texts).numpy()}

    def __call__(self, first: int, count: int, held_out: bool = False) -> Arrays:
        """Samples first .. first + count - 1, a pure function of the source's seed and the numbers.

        Args:
            first: number of the first sample.
            count: how many.
            held_out: pictures that training never sees, where there are any.

        Returns:
            image [B, H, W, 3] uint8, or kept latents [B, C, h, w] float32; ids [B, T] int64, and by a second
            tokenizer ids_2, or where they are read already ids [B, T, D] and pooled [B, P], float32; t [B];
            eps [B, C, h, w]; lot [B], uniform in [0, 1), for what else has to be decided of a sample. Where
            pictures make several samples, image [P, H, W, 3] and the one of each sample, picture [B]. Where
            captions are told in another language, too, ids_retold [B, T].
        """
        pictures: list[NDArray[Any]] = []
        texts, retold, times, noises, lots, places = [], [], [], [], [], []
        noisings = 1 if held_out else self.noisings
        for number in range(first, first + count):
            shown, turn = divmod(number, noisings)
            fresh = turn == 0 or number == first
            if fresh:
                pixels, text, rng, told = self.pictures.shown(shown, held_out)
                streams = [rng, *(_stream_beside(rng, other) for other in range(1, noisings))]
            rng = streams[turn]
            texts.append("" if rng.random() < self.empty_captions else text)
            if told is not None:
                retold.append(told if texts[-1] else "")
            times.append(self.draw_time(rng))
            rows, columns = (side // self.factor for side in pixels.shape[:2])
            noises.append(rng.standard_normal((self.channels, rows, columns), np.float32))
            lots.append(rng.random())
            if fresh:
                pictures.append(pixels if self.kept is None or held_out else self.kept(number, rng))
            places.append(len(pictures) - 1)
        words = self.tokens(texts)
        if self.read is not None and not held_out:
            words = self.read(words)
        if retold:
            words["ids_retold"] = self.tokens(retold)["ids"]
        if noisings > 1:
            words["picture"] = np.array(places)
        return words | {
            "image": np.stack(pictures),
            "t": np.array(times, np.float32),
            "eps": np.stack(noises),
            "lot": np.array(lots),
        }

    def in_batches(self, size: int) -> CaptionedPictures:
        """The same samples, ordered for batches of this size."""
        return replace(self, pictures=self.pictures.in_batches(size))

    def judged(self, count: int) -> Iterator[Batch]:
        """So many held-out samples, in batches that each are of one size."""
        for first in range(0, count, JUDGED_AT_ONCE):
            yield self.batch(first, min(JUDGED_AT_ONCE, count - first), held_out=True)

    def batch(self, first: int, count: int, held_out: bool = False) -> Batch:
        """The same as tensors."""
        return {key: torch.from_numpy(array) for key, array in self(first, count, held_out).items()}


def _stream_beside(rng: np.random.Generator, turn: int) -> np.random.Generator:
    """Randomness that meets that of `rng` nowhere."""
    philox: Any = rng.bit_generator
    return np.random.Generator(philox.jumped(turn))


def latents_of(batch: Batch, encoder: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Latents [B, C, h, w] of each sample, where several may be of one picture."""
    latents = encoder(batch["image"])
    return latents[batch["picture"]] if "picture" in batch else latents


class PictureEncoder(nn.Module):
    """Drawn pictures to latents of about unit variance, by a frozen autoencoder.

    An encoder that is linear in each patch alone, such as `install_linear_code` makes, is asked once for its
    matrix: one product costs a hundredth of its wide convolutions. Whether it is linear is tried on noise.
    """

    def __init__(self, autoencoder: AutoencoderTiny | AutoencoderKL) -> None:
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.factor = downsampling(autoencoder)
        side, numbers = self.factor, 3 * self.factor**2
        bias_C = encode(autoencoder, torch.zeros(1, 3, side, side)).flatten()
        unit = torch.eye(numbers).reshape(numbers, 3, side, side)
        self.weight: torch.Tensor
        self.bias: torch.Tensor
        self.register_buffer("weight", (encode(autoencoder, unit).flatten(1) - bias_C).T.contiguous())
        self.register_buffer("bias", bias_C)
        noise = torch.rand(1, 3, 4 * side, 4 * side, generator=torch.Generator().manual_seed(0)) * 2 - 1
        self.linear = bool((self._product(noise) - encode(autoencoder, noise)).abs().max() < _SAME)

    def _product(self, image_B3HW: torch.Tensor) -> torch.Tensor:
        latents_BhwC = nn.functional.linear(patches(image_B3HW, self.factor), self.weight, self.bias)
        return latents_BhwC.permute(0, 3, 1, 2).contiguous()

    @torch.no_grad()
    def forward(self, image_BHW3: torch.Tensor) -> torch.Tensor:
        """Latents [B, C, h, w] in float32 of pictures [B, H, W, 3] in uint8; latents stay as they are."""
        if image_BHW3.is_floating_point():
            return image_BHW3
        # What is encoded is data, whatever numbers the networks that learn it compute in.
        with torch.autocast(image_BHW3.device.type, enabled=False):
            image_B3HW = planes(image_BHW3)
            return self._product(image_B3HW) if self.linear else encode(self.autoencoder, image_B3HW)
