"""UNets against patch-1 transformers: held-out flow loss after equal training times on the same latents.

The transformer is diffusers' PixArt: self-attention over the latents' places, cross-attention to the caption,
and adaptive norms for the time. Latents and embedded captions are made once. The networks take turns of a few
seconds, so that whatever else the machine does hits them alike, and each has its own clock. Their learning
rate rises over the first 3% of that time and falls to zero over the last 30%.

Usage: python benchmarks/ablations/networks.py --autoencoder DIR --text-encoder DIR [--minutes 5]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import PixArtTransformer2DModel, UNet2DConditionModel
from tables import markdown
from torch import nn

from pictor.data.picturebook import Picturebook
from pictor.training.attention import TrainingAttention
from pictor.training.captioned_latents import CaptionedPictures, PictureEncoder, downsampling
from pictor.training.parts import open_autoencoder, open_text_encoder
from pictor.training.pictures import BookPictures
from pictor.training.schedule import rate_factor

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
_CHUNK = 64


@dataclass(frozen=True)
class Samples:
    """Encoded pictures and captions: B samples, C channels, h, w places, T tokens, D numbers each."""

    x0: torch.Tensor
    """[B, C, h, w]."""
    words: torch.Tensor
    """[B, T, D]."""

    def __len__(self) -> int:
        return len(self.x0)


def logit_normal(rng: np.random.Generator) -> float:
    """The times of rectified flow's training: the middle most often."""
    return float(1 / (1 + np.exp(-rng.standard_normal())))


@torch.no_grad()
def encoded(autoencoder: Path, text_encoder: Path, size: int, count: int, *, held_out: bool) -> Samples:
    """The first so many samples of the picturebook, encoded once."""
    words, tokenizer = open_text_encoder(text_encoder)
    encoder = PictureEncoder(open_autoencoder(autoencoder).float())
    pictures = CaptionedPictures(
        pictures=BookPictures(Picturebook(size)),
        tokenizer=tokenizer,
        channels=int(encoder.autoencoder.config.latent_channels),
        factor=downsampling(encoder.autoencoder),
        empty_captions=0.1,
        draw_time=logit_normal,
    )
    x0, embedded = [], []
    for first in range(0, count, _CHUNK):
        batch = pictures.batch(first, min(_CHUNK, count - first), held_out)
        x0.append(encoder(batch["image"]))
        embedded.append(words.eval()(input_ids=batch["ids"]).last_hidden_state)
    return Samples(torch.cat(x0), torch.cat(embedded))


def unet(channels: tuple[int, ...], layers: int, samples: Samples) -> nn.Module:
    """A UNet with cross-attention at every level."""
    _, width, side, _ = samples.x0.shape
    network = UNet2DConditionModel(
        sample_size=side,
        in_channels=width,
        out_channels=width,
        block_out_channels=channels,
        layers_per_block=layers,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        cross_attention_dim=samples.words.shape[2],
        attention_head_dim=tuple(number // 32 for number in channels),  # the class's name for their number
        norm_num_groups=16,
    )
    return _Flow(network)


def transformer(width: int, layers: int, samples: Samples) -> nn.Module:
    """A transformer with one token a latent."""
    _, channels, side, _ = samples.x0.shape
    network = PixArtTransformer2DModel(
        num_attention_heads=width // 32,
        attention_head_dim=32,
        in_channels=channels,
        out_channels=channels,
        num_layers=layers,
        cross_attention_dim=width,
        sample_size=side,
        patch_size=1,
        caption_channels=samples.words.shape[2],
        use_additional_conditions=False,
        interpolation_scale=1,
    )
    return _Flow(network)


class _Flow(nn.Module):
    """Either network as a velocity of (x, t, words), with the attention that is fast in training."""

    def __init__(self, network: UNet2DConditionModel | PixArtTransformer2DModel) -> None:
        super().__init__()
        network.set_attn_processor(TrainingAttention())
        self.network = network

    def forward(self, x_BChw: torch.Tensor, t_B: torch.Tensor, words_BTD: torch.Tensor) -> torch.Tensor:
        arguments: dict[str, Any] = {"timestep": 1000.0 * t_B, "encoder_hidden_states": words_BTD}
        if isinstance(self.network, PixArtTransformer2DModel):
            arguments["added_cond_kwargs"] = {"resolution": None, "aspect_ratio": None}
        out: torch.Tensor = self.network(x_BChw, **arguments).sample
        return out.float()


Make = Callable[[Samples], nn.Module]
NETWORKS: dict[str, Make] = {
    "UNet 96-160": lambda samples: unet((96, 160), 1, samples),
    "UNet 160-224": lambda samples: unet((160, 224), 1, samples),
    "DiT 192 x 8": lambda samples: transformer(192, 8, samples),
    "DiT 256 x 10": lambda samples: transformer(256, 10, samples),
}


@dataclass
class Contestant:
    """One network in training, and the time it has had."""

    name: str
    network: nn.Module
    rate: float
    batch_size: int
    seconds: float = 0.0
    steps: int = 0
    optimiser: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        weights = self.network.parameters()
        self.optimiser = torch.optim.AdamW(weights, lr=self.rate, betas=(0.9, 0.99), weight_decay=0.01)

    def train(self, samples: Samples, until: float, total: float, numbers: torch.dtype) -> None:
        """Step until its clock shows `until` of `total` seconds."""
        while self.seconds < until:
            started = time.perf_counter()
            factor = rate_factor(round(1000 * self.seconds / total), 1000, 0.03, 0.3)
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate * factor
            # Every network sees the same samples, times and noise at the same step.
            rng = np.random.default_rng([1, self.steps])
            rows = torch.from_numpy(rng.integers(len(samples), size=self.batch_size))
            t = torch.tensor([logit_normal(rng) for _ in range(self.batch_size)], dtype=torch.float32)
            x0 = samples.x0[rows]
            eps = torch.from_numpy(rng.standard_normal(x0.shape, np.float32))
            error = flow_error(self.network, x0, eps, t, samples.words[rows], numbers).mean()
            self.optimiser.zero_grad(set_to_none=True)
            error.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            self.optimiser.step()
            self.steps += 1
            self.seconds += time.perf_counter() - started


def flow_error(
    network: nn.Module,
    x0_BChw: torch.Tensor,
    eps_BChw: torch.Tensor,
    t_B: torch.Tensor,
    words_BTD: torch.Tensor,
    numbers: torch.dtype,
) -> torch.Tensor:
    """Mean squared error of each sample's velocity eps - x0, [B]."""
    t_B111 = t_B[:, None, None, None]
    with torch.autocast("cpu", torch.bfloat16, enabled=numbers == torch.bfloat16):
        out: torch.Tensor = network((1 - t_B111) * x0_BChw + t_B111 * eps_BChw, t_B, words_BTD)
    return (out - (eps_BChw - x0_BChw)).square().mean((1, 2, 3))


@torch.no_grad()
def losses(network: nn.Module, samples: Samples, numbers: torch.dtype) -> list[float]:
    """Mean error at each of TIMES, the same noise for every network."""
    eps = torch.randn(samples.x0.shape, generator=torch.Generator().manual_seed(0))
    found = []
    for time_ in TIMES:
        parts = [
            flow_error(network, x0, noise, torch.full((len(x0),), time_), words, numbers)
            for x0, noise, words in zip(
                *(torch.split(whole, _CHUNK) for whole in (samples.x0, eps, samples.words)), strict=True
            )
        ]
        found.append(float(torch.cat(parts).mean()))
    return found


def compare(
    contestants: list[Contestant],
    samples: Samples,
    held_out: Samples,
    *,
    seconds: float,
    turn: float,
    numbers: torch.dtype,
) -> list[tuple[object, ...]]:
    """Train all for so many seconds each, in turns, and measure them: the table's rows."""
    until = 0.0
    while until < seconds:
        until = min(until + turn, seconds)
        for one in contestants:
            one.train(samples, until, seconds, numbers)
    rows: list[tuple[object, ...]] = []
    for one in contestants:
        figures = losses(one.network.eval(), held_out, numbers)
        millions = sum(p.numel() for p in one.network.parameters()) / 1e6
        speed = one.steps * one.batch_size / one.seconds
        cells = [f"{figure:.4f}" for figure in (*figures, float(np.mean(figures)))]
        rows.append((one.name, f"{millions:.1f}", one.steps, f"{speed:.0f}", *cells))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--autoencoder", type=Path, required=True, help="folder of a trained autoencoder")
    parser.add_argument("--text-encoder", type=Path, required=True, help="with text_encoder/ and tokenizer/")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels")
    parser.add_argument("--count", type=int, default=16384, help="samples to train on")
    parser.add_argument("--minutes", type=float, default=5.0, help="training time of each network")
    parser.add_argument("--turn", type=float, default=10.0, help="seconds of a turn")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate of all")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    options = parser.parse_args()
    folders = options.autoencoder, options.text_encoder
    samples = encoded(*folders, options.size, options.count, held_out=False)
    held_out = encoded(*folders, options.size, 512, held_out=True)
    contestants = []
    for name in options.networks:
        torch.manual_seed(0)
        contestants.append(Contestant(name, NETWORKS[name](samples), options.rate, options.batch))
    numbers = torch.bfloat16 if options.precision == "bf16" else torch.float32
    rows = compare(
        contestants, samples, held_out, seconds=60 * options.minutes, turn=options.turn, numbers=numbers
    )
    head = ("network", "M parameters", "steps", "samples/s", *(f"t = {time_}" for time_ in TIMES), "mean")
    print(f"{options.minutes:g} minutes each, {options.precision}, {torch.get_num_threads()} threads\n")
    print(markdown(head, rows))


if __name__ == "__main__":
    main()
