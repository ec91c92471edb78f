"""Write trained parts as one diffusers folder, half precision, that plain Stable Diffusion pipelines open."""

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
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextModel, CLIPTokenizer

from pictor.backends.export import export_folder
from pictor.backends.torch import quiet


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


def write_pipeline(
    folder: Path,
    unet: UNet2DConditionModel,
    autoencoder: AutoencoderTiny | AutoencoderKL,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    facts: PipelineFacts,
    *,
    graphs: bool = True,
) -> None:
    """Write model_index.json, the parts as fp16 safetensors, pictor.json, and if so wished ONNX graphs."""
    # first-order solver on flow sigmas: equals plain Euler on the straight path
    scheduler = DPMSolverMultistepScheduler(
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
    defaults = {
        "num_steps": facts.num_steps,
        "guidance_scale": facts.guidance_scale,
        "solver": facts.solver,
        "spacing": "uniform",
        "size": [facts.size, facts.size],
    }
    sheet = {
        "defaults": defaults,
        "sizes": {"min": facts.size // 2, "max": facts.size * 2},
        **facts.corpus,
    }
    (folder / "pictor.json").write_text(json.dumps(sheet, indent=1) + "\n", encoding="utf-8")
    if graphs:
        export_folder(folder)
