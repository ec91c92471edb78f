"""Generative adversarial networks: pictures from noise, by two networks that learn against each other.

By default R3GAN's losses (Huang et al. 2024, arXiv:2501.05441). With D for a discriminator's number of a
picture, x a real picture, g a drawn one, and s(t) = log(1 + exp(t)):

    discriminator   E s(D(g) - D(x)) + gamma / 2 (E |grad D(x)|^2 + E |grad D(g)|^2)
    generator       E s(D(x) - D(g))

Each real picture is paired with a drawn one (Jolicoeur-Martineau 2018, arXiv:1807.00734), so that the
discriminator cannot forget parts of the data without paying, and the penalties R1 and R2 make the game
converge (Mescheder et al. 2018, arXiv:1801.04406). With `style = "dcgan"`, the networks of Radford et al.
2015 and the non-saturating loss of Goodfellow et al. 2014, arXiv:1406.2661:

    discriminator   E s(-D(x)) + E s(D(g))
    generator       E s(-D(g))

Both networks take their steps at once, from one scalar: see `_pulled`.

Legend of array shapes: B pictures, N numbers of noise, H, W pixels.
"""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import nn

from pictor.backends.export import export_part
from pictor.backends.gan import DiscriminatorNetwork, GeneratorNetwork
from pictor.core.errors import InputError
from pictor.families.gan import GENERATOR, PIPELINE
from pictor.training.captioned_latents import CorpusKeys
from pictor.training.noised_pictures import NoisedPictures
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.planes import planes
from pictor.training.recipe import validated
from pictor.training.sourced import Sourced

_VALIDATION = 256
_UNSEEN = 2**40
"""Number from which on pictures of an endless source are looked at, and no longer learnt."""
_CELLS = 8
"""Side that pictures are compared at."""
_THINNEST = 8
"""Channels that the full-sized level has at least."""
_SETTLING = 16
"""Batches of noise that batch normalisation's statistics are taken of."""


class Config(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    reads_words: ClassVar[bool] = False
    size: Literal[32, 64, 128] = 64
    """Side of the pictures in pixels."""
    noise: int = Field(100, ge=1, le=1024)
    """Numbers that decide a picture."""
    style: Literal["r3gan", "dcgan"] = "r3gan"
    """Losses, and networks that suit them: R3GAN's or DCGAN's."""
    width: int = Field(32, ge=4, le=512)
    """Channels at half the picture's side; each coarser level has twice as many, up to eight times."""
    penalty: float | None = Field(None, ge=0)
    """The gamma of the gradient penalties; None for 1 in the style "r3gan", and none in the other."""
    penalised: float = Field(1.0, gt=0, le=1)
    """Share of each batch that the penalties are taken of: their expectation stays, their cost falls."""
    generator_rate: float = Field(1.0, gt=0)
    """Factor on the learning rate for the generator."""

    @model_validator(mode="after")
    def _of_one_style(self) -> Config:
        if self.style == "dcgan" and self.penalty:
            raise ValueError(
                "the style dcgan has batch normalisation, which penalties of one picture do not suit"
            )
        if not self.gamma and self.penalised != 1.0:
            raise ValueError("penalised is given, and there is no penalty")
        return self

    @property
    def gamma(self) -> float:
        usual = 1.0 if self.style == "r3gan" else 0.0
        return usual if self.penalty is None else self.penalty

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level, coarse to fine: see `GeneratorNetwork`."""
        levels = (self.size // 2).bit_length() - 2  # the coarsest is 4x4
        strided = tuple(self.width * min(8, 2**level) for level in reversed(range(levels)))
        return strided if self.style == "dcgan" else (*strided, max(_THINNEST, self.width // 2))


class TwoNetworks(nn.Module):
    """The generator, which is kept, and the discriminator, which is needed to train it."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.generator = GeneratorNetwork(config.noise, config.channels, config.style)
        self.discriminator = DiscriminatorNetwork(config.channels, config.style)


def relativistic(ahead_B: torch.Tensor, behind_B: torch.Tensor) -> torch.Tensor:
    """E s(behind - ahead): small where each number is greater than its partner."""
    return F.softplus(behind_B - ahead_B).mean()


def _tracked(image_B3HW: torch.Tensor) -> torch.Tensor:
    """The same pictures, by which gradients can be taken, without their history.

    No leaf of it: what counts a run's work cannot watch the gradients of leaves that enter a network.
    """
    return image_B3HW.detach().requires_grad_().view_as(image_B3HW)


def slopes(discriminator: nn.Module, image_B3HW: torch.Tensor) -> torch.Tensor:
    """Squared length of the gradient of each picture's number by its pixels, [B], to be learnt from."""
    image_B3HW = _tracked(image_B3HW)
    (slope,) = torch.autograd.grad(discriminator(image_B3HW).sum(), image_B3HW, create_graph=True)
    return slope.float().square().sum((1, 2, 3))


def _pulled(image_B3HW: torch.Tensor, copy_B3HW: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
    """A number that equals the generator's loss and teaches the generator alone.

    The discriminator descends on a loss of its own, so that the generator's may not reach its weights. By
    the chain rule the loss's gradient by the pictures is all that the generator learns from it: taken at a
    copy of them, and multiplied with them, it gives their maker the same gradient and others none.
    """
    (pull,) = torch.autograd.grad(loss, copy_B3HW, retain_graph=True)
    product = (image_B3HW * pull.detach()).sum()
    return loss.detach() + product - product.detach()


class GanObjective(Sourced[NoisedPictures]):
    """A generator and a discriminator on pictures without their captions."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        pictures = config.pictures(config.size, seed, config.size)
        if set(pictures.sizes) != {(config.size, config.size)}:
            raise InputError(
                f"{config.data} has pictures of several sizes",
                expected=f"{config.size}x{config.size} alone",
                remedy=f"Prepare them with --size {config.size} and without --buckets.",
                param="objective.data",
            )
        self.source = NoisedPictures(pictures=pictures, channels=config.noise)
        self.module = TwoNetworks(config)

    def rate(self, name: str) -> float:
        return self.config.generator_rate if name.startswith("generator.") else 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        real = planes(batch["image"])
        drawn = self.module.generator(batch["noise"]).float()
        copy_of_drawn = _tracked(drawn)
        see = self.module.discriminator
        of_real, of_drawn = see(real), see(copy_of_drawn)
        if self.config.style == "dcgan":
            for_generator = F.softplus(-of_drawn).mean()
            for_discriminator = F.softplus(-of_real).mean() + F.softplus(of_drawn).mean()
        else:
            for_generator = relativistic(of_drawn, of_real)
            for_discriminator = relativistic(of_real, of_drawn)
        generator = _pulled(drawn, copy_of_drawn, for_generator)
        figures = {
            "generator_loss": for_generator.detach(),
            "discriminator_loss": for_discriminator.detach(),
            **_judgement(of_real.detach(), of_drawn.detach()),
            "diversity": diversity(drawn, real),
        }
        total = for_discriminator + generator
        if self.config.gamma:
            few = max(1, round(self.config.penalised * len(real)))
            r1, r2 = (slopes(see, image[:few]).mean() for image in (real, drawn))
            figures |= {"r1": r1.detach(), "r2": r2.detach()}
            total = total + self.config.gamma / 2 * (r1 + r2)
        return total, figures

    def validate(self) -> dict[str, float]:
        """How far drawn pictures are from real ones that training never drew, and what is told of them.

        On held-out pictures of one's own; of the picturebook, whose narrow mixes may hold nothing out, on new
        ones.
        """
        endless = self.config.data is None
        batch = self.source.batch(_UNSEEN if endless else 0, _VALIDATION, held_out=not endless)
        batch = beside(batch, self.module)
        real = planes(batch["image"])
        drawn = self._settled()(batch["noise"]).float()
        see = self.module.discriminator
        figures = {"energy_distance": energy_distance(drawn, real), "diversity": diversity(drawn, real)}
        figures |= _judgement(see(real), see(drawn))
        return {name: float(value) for name, value in figures.items()}

    def save(self, folder: Path) -> None:
        self._write(folder, graphs=True)

    def save_draft(self, folder: Path) -> None:
        self._write(folder, graphs=False)

    def _write(self, folder: Path, *, graphs: bool) -> None:
        index = {"_class_name": PIPELINE, "generator": [GENERATOR.library, GENERATOR.classes[0]]}
        sheet = {"defaults": {"size": [self.config.size] * 2}, **self.source.pictures.facts}
        for name, table in (("model_index.json", index), ("pictor.json", sheet)):
            (folder / name).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        self._settled().half().save_pretrained(folder / GENERATOR.subfolder)
        if graphs:
            export_part(folder, GENERATOR)

    @torch.no_grad()
    def _settled(self) -> GeneratorNetwork:
        """A copy of the generator, to draw with.

        Batch normalisation has statistics of its last batches, and the weights may be averages that made none
        of these: the copy's are taken anew, each batch of equal weight.
        """
        network = copy.deepcopy(self.module.generator).eval()
        norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
        for layer in norms:
            layer.reset_running_stats()
            layer.momentum = None
            layer.train()
        if norms:
            place, drawn = next(network.parameters()).device, torch.Generator().manual_seed(0)
            for _ in range(_SETTLING):
                network(torch.randn(_VALIDATION // 4, self.config.noise, generator=drawn).to(place))
        settled: GeneratorNetwork = network.eval()
        return settled


def _judgement(of_real_B: torch.Tensor, of_drawn_B: torch.Tensor) -> dict[str, torch.Tensor]:
    """Shares of pictures that the discriminator tells rightly.

    Paired losses leave open which number divides real pictures from drawn ones: it is the mean of both means.
    """
    edge = (of_real_B.mean() + of_drawn_B.mean()) / 2
    return {
        "real_accuracy": (of_real_B > edge).float().mean(),
        "drawn_accuracy": (of_drawn_B < edge).float().mean(),
    }


@torch.no_grad()
def diversity(drawn_B3HW: torch.Tensor, real_B3HW: torch.Tensor) -> torch.Tensor:
    """How far drawn pictures are from the nearest of the others, beside the same of as many real ones.

    1 is as varied as real ones, 0 is all alike; of fewer than two different real ones it is 1, as there is
    nothing to be told. Both are compared coarsely, so that grain does not pass for variety.
    """
    drawn, real = (_distances(image, image).fill_diagonal_(float("inf")) for image in (drawn_B3HW, real_B3HW))
    # A small folder's pictures are shown several times in a batch.
    nearest = real.masked_fill(real == 0, float("inf")).amin(1)
    known = nearest.isfinite()
    if not known.any():
        return torch.ones_like(nearest[0])
    return drawn.amin(1).mean() / nearest[known].mean()


@torch.no_grad()
def energy_distance(drawn_B3HW: torch.Tensor, real_B3HW: torch.Tensor) -> torch.Tensor:
    """2 E |g - x| - E |g - g'| - E |x - x'|, of coarse pictures: 0 in the mean for equal distributions alone.

    The unbiased estimate, which may lie below 0 (Szekely and Rizzo 2013).
    """
    pairs = len(real_B3HW) * (len(real_B3HW) - 1)
    within = [_distances(image, image).sum() / pairs for image in (drawn_B3HW, real_B3HW)]
    return 2 * _distances(drawn_B3HW, real_B3HW).mean() - within[0] - within[1]


def _distances(a_B3HW: torch.Tensor, b_B3HW: torch.Tensor) -> torch.Tensor:
    """Between each picture of one batch and each of the other, [B, B], in roots of mean squares."""
    a, b = (F.adaptive_avg_pool2d(image.float(), _CELLS).flatten(1) for image in (a_B3HW, b_B3HW))
    found: torch.Tensor = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return found / math.sqrt(a.shape[1])


def build(table: dict[str, Any], seed: int) -> GanObjective:
    return GanObjective(validated(Config, table, "[objective]"), seed)
