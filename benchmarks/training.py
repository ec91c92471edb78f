"""Training the embedded model's denoiser: samples a second of Pictor and of diffusers' text-to-image script.

The peer does in each step what diffusers' examples/text_to_image/train_text_to_image.py does: accelerate, a
DataLoader of default settings, the frozen autoencoder and text encoder, AdamW, clipping, one EMA. Network,
pictures, captions, batch, the optimiser's settings and the loss are those of Pictor's recipe. A way to train
is ENGINE-PRECISION[-PROCESSES][-compile]; each runs in processes of its own, in turns, and is measured over
the steps after the first ones. Ratios are between the first way and each of the others; processor time is of
all threads and processes, and tells something even on a machine that does other work.

Usage: python benchmarks/training.py [--rounds 3] [--steps 30] [--settle 5] [--batch 128] [--device cpu]
       [--ways pictor-bf16-2-compile diffusers-fp32 diffusers-bf16 ...] [--peak TFLOPS]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rounds import machine, ratio, run

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "picturebook-cpu" / "denoiser.toml"
EMBEDDED = ROOT / "src" / "pictor" / "embedded"
ON_CPU = ("pictor-bf16-2-compile", "pictor-bf16-2", "diffusers-fp32", "diffusers-bf16", "diffusers-bf16-2")
ON_GPU = ("pictor-bf16-compile", "pictor-bf16", "diffusers-fp32", "diffusers-bf16")
_PICTURES = 100_000
_MATRIX = 4096


@dataclass(frozen=True)
class Way:
    """How to train."""

    engine: str
    precision: str
    processes: int
    compile: bool

    @classmethod
    def named(cls, name: str) -> Way:
        found = re.fullmatch(r"(pictor|diffusers)-(fp32|bf16)(?:-(\d))?(-compile)?", name)
        if found is None:
            raise argparse.ArgumentTypeError(f"{name} is not ENGINE-PRECISION[-PROCESSES][-compile]")
        return cls(found[1], found[2], int(found[3] or 1), bool(found[4]))


@dataclass(frozen=True)
class Span:
    """What is measured: the steps after those in which memory, caches and compilers settle."""

    settle: int
    steps: int
    batch: int

    @property
    def first(self) -> int:
        return self.settle * self.batch

    @property
    def last(self) -> int:
        return (self.settle + self.steps) * self.batch

    def figures(self, marks: list[Mark], processes: int) -> dict[str, float]:
        """Samples a second, and processor ms a sample, as one of several equal processes saw it."""
        first, *_, last = (mark for mark in marks if mark.samples >= self.first)
        samples = last.samples - first.samples
        busy = 1000 * processes * (last.busy - first.busy) / samples
        return {"speed": samples / (last.clock - first.clock), "busy": busy}


@dataclass(frozen=True)
class Mark:
    """The end of a step."""

    samples: int
    clock: float = field(default_factory=time.perf_counter)
    busy: float = field(default_factory=time.process_time)


def recipe_of(way: Way, batch: int) -> Any:
    from pictor.training.recipe import read_recipe

    recipe = read_recipe(RECIPE)
    folders = {"autoencoder": str(EMBEDDED / "vae"), "text_encoder": str(EMBEDDED)}
    changes = {"precision": way.precision, "compile": way.compile, "batch_size": batch, "preview_minutes": 0}
    return recipe.model_copy(update={**changes, "objective": recipe.objective | folders})


def pictor(way: Way, span: Span, device: str) -> dict[str, float]:
    """Pictor's loop, stopped after the last step that counts."""
    from pictor.core.errors import Cancelled
    from pictor.training.loop import train

    marks: list[Mark] = []
    flops: list[int] = []
    with tempfile.TemporaryDirectory() as folder, suppress(Cancelled):
        train(
            recipe_of(way, span.batch),
            Path(folder),
            processes=way.processes,
            device=device,
            drawers=max(0, len(os.sched_getaffinity(0)) - 1) if device == "cuda" else 0,
            on_outlook=lambda outlook: flops.append(outlook.flops),
            on_progress=lambda progress: marks.append(Mark(progress.samples_seen)),
            should_stop=lambda: bool(marks) and marks[-1].samples >= span.last,
        )
    return span.figures(marks, way.processes) | {"flops": flops[0]}


def diffusers(way: Way, span: Span, device: str) -> dict[str, float]:
    """A step of diffusers' script, in its order; in each of several processes where torchrun started them."""
    import torch
    import torch.nn.functional as F
    from accelerate import Accelerator
    from diffusers import AutoencoderTiny, UNet2DConditionModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel
    from transformers import CLIPTextModel, CLIPTokenizer

    options = recipe_of(way, span.batch).optimiser
    accelerator = Accelerator(
        mixed_precision="bf16" if way.precision == "bf16" else "no",
        cpu=device == "cpu",
        dynamo_backend="inductor" if way.compile else None,
    )
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(EMBEDDED / "text_encoder").requires_grad_(False)
    vae = AutoencoderTiny.from_pretrained(EMBEDDED / "vae").requires_grad_(False)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(EMBEDDED / "unet")).train()
    ema_unet = EMAModel(unet.parameters(), model_cls=UNet2DConditionModel, model_config=unet.config)
    optimizer = torch.optim.AdamW(
        unet.parameters(),
        lr=options.learning_rate,
        betas=options.betas,
        weight_decay=options.weight_decay,
    )
    loader = torch.utils.data.DataLoader(
        _Pictures(tokenizer), shuffle=True, batch_size=span.batch // accelerator.num_processes
    )
    schedule = get_scheduler("constant_with_warmup", optimizer=optimizer, num_warmup_steps=100)
    unet, optimizer, loader, schedule = accelerator.prepare(unet, optimizer, loader, schedule)
    dtype = torch.bfloat16 if way.precision == "bf16" else torch.float32
    ema_unet.to(accelerator.device)
    text_encoder.to(accelerator.device, dtype=dtype)
    vae.to(accelerator.device, dtype=dtype)
    marks: list[Mark] = []
    for step, batch in enumerate(loader, 1):
        with accelerator.accumulate(unet):
            x0 = vae.encode(batch["pixel_values"].to(dtype)).latents * vae.config.scaling_factor
            noise = torch.randn_like(x0)
            t = torch.rand(len(x0), 1, 1, 1, device=x0.device)
            noisy = ((1 - t) * x0 + t * noise).to(dtype)
            words = text_encoder(batch["input_ids"])[0]
            predicted = unet(noisy, 1000 * t.flatten(), words).sample
            loss = F.mse_loss(predicted.float(), (noise - x0).float())
            accelerator.gather(loss.repeat(len(x0))).mean().item()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(unet.parameters(), options.clip_norm)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        ema_unet.step(unet.parameters())
        loss.detach().item()
        marks.append(Mark(step * span.batch))
        if step * span.batch >= span.last:
            break
    leads = accelerator.is_main_process
    accelerator.end_training()
    return span.figures(marks, way.processes) if leads else {}


class _Pictures:
    """The recipe's pictures as the script's data set gives them: [3, H, W] in [-1, 1], and token numbers."""

    def __init__(self, tokenizer: Any) -> None:
        from pictor.data.picturebook import Picturebook
        from pictor.training.objectives.rectified_flow import Config
        from pictor.training.pictures import BookPictures
        from pictor.training.recipe import read_recipe, validated

        table = {key: value for key, value in read_recipe(RECIPE).objective.items() if key != "kind"}
        config = validated(Config, table, "[objective]")
        self._pictures = BookPictures(Picturebook(config.size, 0, config.font, config.mix))
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return _PICTURES

    def __getitem__(self, number: int) -> dict[str, Any]:
        import torch

        shown = self._pictures.shown(number, held_out=False)
        pixels = torch.tensor(shown.pixels).permute(2, 0, 1).float().div(127.5).sub(1)
        length = self._tokenizer.model_max_length
        ids = self._tokenizer(
            shown.caption, max_length=length, padding="max_length", truncation=True, return_tensors="pt"
        )
        return {"pixel_values": pixels.contiguous(), "input_ids": ids.input_ids[0]}


def peak(device: str, threads: int) -> float:
    """FLOP/s of one large product of bfloat16 matrices, the best of ten."""
    import torch

    torch.set_num_threads(threads)
    a, b = (torch.randn(_MATRIX, _MATRIX, dtype=torch.bfloat16, device=device) for _ in range(2))
    wait: Callable[[], object] = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = []
    for _ in range(11):
        wait()
        started = time.perf_counter()
        a @ b
        wait()
        seconds.append(time.perf_counter() - started)
    return 2 * _MATRIX**3 / min(seconds[1:])


def command(name: str, options: argparse.Namespace, cores: int) -> tuple[list[str], int]:
    """How a way is started, and the threads of each of its processes."""
    way = Way.named(name)
    start = [sys.executable]
    if way.engine == "diffusers" and way.processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={way.processes}"]
    numbers = [f"--{key}={getattr(options, key)}" for key in ("steps", "settle", "batch", "device")]
    # Pictor's processes share the threads that it is given.
    each = cores // way.processes if way.engine == "diffusers" else cores
    return [*start, __file__, f"--measure={name}", *numbers], max(1, each)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--settle", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--ways", nargs="+", help="the first is compared with each of the others")
    parser.add_argument("--peak", type=float, help="TFLOP/s of the device by its data sheet, else measured")
    parser.add_argument("--measure", type=Way.named, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure = pictor if options.measure.engine == "pictor" else diffusers
        span = Span(options.settle, options.steps, options.batch)
        if figures := measure(options.measure, span, options.device):
            print(json.dumps(figures))
        return
    ways = options.ways or (ON_CPU if options.device == "cpu" else ON_GPU)
    cores = len(os.sched_getaffinity(0))
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for number in range(options.rounds):
        for name in ways if number % 2 == 0 else reversed(ways):
            start, threads = command(name, options, cores)
            found[name].append(json.loads(run(start, threads).output.splitlines()[-1]))
    flops = next((figures["flops"] for runs in found.values() for figures in runs if "flops" in figures), 0.0)
    ceiling = options.peak * 1e12 if options.peak else peak(options.device, cores)
    print(f"{machine()}; batches of {options.batch}, {options.steps} steps, {options.rounds} rounds\n")
    print("| | samples/s (median) | processor ms a sample | GFLOP/s | of the peak | ratio |")
    print("|---|---|---|---|---|---|")
    for name in ways:
        speed, busy = (
            statistics.median(figures[key] for figures in found[name]) for key in ("speed", "busy")
        )
        pairs = [(1 / a["speed"], 1 / b["speed"]) for a, b in zip(found[ways[0]], found[name], strict=True)]
        middle, low, high = ratio(pairs)
        against = "" if name == ways[0] else f"{middle:.2f} ({low:.2f} to {high:.2f})"
        rate = speed * flops
        print(f"| {name} | {speed:.1f} | {busy:.1f} | {rate / 1e9:.0f} | {rate / ceiling:.1%} | {against} |")
    source = "data sheet" if options.peak else "a large matrix product in bfloat16"
    print(f"\n{flops / 1e9:.2f} GFLOP a sample; peak {ceiling / 1e12:.2f} TFLOP/s by {source}")


if __name__ == "__main__":
    main()
