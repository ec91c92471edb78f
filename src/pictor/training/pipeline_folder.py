"""Write trained parts as one diffusers folder, half precision, that diffusers' plain pipelines open."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDPMPipeline,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

import pictor
from pictor.backends.export import export_folder
from pictor.backends.torch import quiet
from pictor.families.registry import graphed_parts

TEXT_TO_PIXELS = "PictorTextToPixelsPipeline"


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineFacts:
    """What pictor.json says of the model."""

    size: int
    """Side of the pictures that the model was trained on, in pixels."""
    corpus: Mapping[str, Any]
    """What it was trained on."""
    num_steps: int = 20
    """What a user who does not say gets; these three defaults suit a model that is not distilled."""
    guidance_scale: float = 3.0
    solver: str = "dpmpp_2m"
    spacing: str = "uniform"


def write_pipeline(
    folder: Path,
    unet: UNet2DConditionModel,
    autoencoder: AutoencoderTiny | AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    facts: PipelineFacts,
    *,
    scheduler: Any = None,
    graphs: bool = True,
) -> None:
    """Write model_index.json, the parts as fp16 safetensors, pictor.json, and if so wished ONNX graphs.

    The scheduler is diffusers', None for the straight path of rectified flow.
    """
    # first-order solver on flow sigmas: equals plain Euler on the straight path
    scheduler = scheduler or DPMSolverMultistepScheduler(
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        final_sigmas_type="zero",
        solver_order=1,
        steps_offset=1,  # diffusers insists, and flow sigmas do not use it
    )
    with quiet():
        pipeline = StableDiffusionPipeline(
            vae=copy.deepcopy(autoencoder).to(torch.float16),
            text_encoder=copy.deepcopy(text_encoder).to(torch.float16),
            tokenizer=tokenizer,
            unet=copy.deepcopy(unet).to(torch.float16),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.save_pretrained(folder, safe_serialization=True)
    write_facts(folder, facts)
    if graphs:
        export_folder(folder)


def write_pixel_pipeline(
    folder: Path,
    unet: UNet2DConditionModel | UNet2DModel,
    scheduler: DDPMScheduler,
    text_encoder: CLIPTextModel | None,
    tokenizer: CLIPTokenizer | None,
    facts: PipelineFacts,
    *,
    graphs: bool = True,
) -> None:
    """The same of a network that denoises pixels.

    Without words it is diffusers' `DDPMPipeline`; with words diffusers has no pipeline for it, and each part
    opens with its own class.
    """
    with quiet():
        half = copy.deepcopy(unet).to(torch.float16)
        if text_encoder is None or tokenizer is None:
            DDPMPipeline(half, scheduler).save_pretrained(folder, safe_serialization=True)
        else:
            half.save_pretrained(folder / "unet")
            copy.deepcopy(text_encoder).to(torch.float16).save_pretrained(folder / "text_encoder")
            tokenizer.save_pretrained(folder / "tokenizer")
            scheduler.save_pretrained(folder / "scheduler")
            write_index(
                folder,
                TEXT_TO_PIXELS,
                unet=("diffusers", "UNet2DConditionModel"),
                scheduler=("diffusers", "DDPMScheduler"),
                text_encoder=("transformers", "CLIPTextModel"),
                tokenizer=("transformers", "CLIPTokenizer"),
            )
    write_facts(folder, facts)
    if graphs:
        export_folder(folder, graphed_parts(folder))


def write_index(folder: Path, pipeline: str, **parts: tuple[str, str]) -> None:
    """A model_index.json: a pipeline's class, and library and class of each part."""
    index = {"_class_name": pipeline, "_pictor_version": pictor.__version__}
    text = json.dumps(index | {name: list(part) for name, part in parts.items()}, indent=2)
    (folder / "model_index.json").write_text(text + "\n", encoding="utf-8")


def write_facts(folder: Path, facts: PipelineFacts) -> None:
    """The pictor.json: defaults, sizes, and what the model was trained on."""
    defaults = {
        "num_steps": facts.num_steps,
        "guidance_scale": facts.guidance_scale,
        "solver": facts.solver,
        "spacing": facts.spacing,
        "size": [facts.size, facts.size],
    }
    sheet = {
        "defaults": defaults,
        "sizes": {"min": facts.size // 2, "max": facts.size * 2},
        **facts.corpus,
    }
    (folder / "pictor.json").write_text(json.dumps(sheet, indent=1) + "\n", encoding="utf-8")
