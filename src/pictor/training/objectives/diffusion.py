"""Denoiser: diffusion in discrete steps, of pixels or latents, with words or without.

x_t = alpha x0 + sigma eps at one of a hundred or a thousand timesteps, each as likely; the network answers
with eps, x0 or v (DDPM, Ho et al. 2020, arXiv:2006.11239; cosine schedule, Nichol and Dhariwal 2021,
arXiv:2102.09672; v, Salimans and Ho 2022, arXiv:2202.00512). A frozen autoencoder makes it latent diffusion
(Rombach et al. 2022, arXiv:2112.10752).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, model_validator

from pictor.core.predictions import x0_from_output
from pictor.training.captioned_latents import latents_of
from pictor.training.denoisers import DenoiserKeys, DenoisingObjective
from pictor.training.noising import Noising, NoisingKeys, uniform_time
from pictor.training.objectives import Batch
from pictor.training.parts import open_autoencoder
from pictor.training.pipeline_folder import PipelineFacts, write_pipeline, write_pixel_pipeline
from pictor.training.recipe import validated

_VALIDATION_RATIOS = (0.25, 1.0, 4.0)
"""Of noise to signal: the same for every schedule and prediction, which their timesteps are not."""


class Config(NoisingKeys, DenoiserKeys):
    """Keys of the recipe's [objective] table."""

    autoencoder: Path | None = None
    """Folder of a trained AutoencoderTiny or AutoencoderKL; None for diffusion of pixels."""
    text_encoder: Path | None = None
    """Folder that holds text_encoder/ and tokenizer/; None for a network without words."""
    num_steps: int | None = Field(None, ge=1, le=1000)
    """Default of the model's user; None for 100 ancestral steps of pixels and 20 of a solver of latents."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.autoencoder is not None and self.text_encoder is None:
            raise ValueError("latents are denoised with words: text_encoder is missing")
        if self.text_encoder is None and {"empty_captions", "text_rate"} & self.model_fields_set:
            raise ValueError("empty_captions and text_rate are of words, and there is no text_encoder")
        return self


class DiffusionObjective(DenoisingObjective):
    """A UNet on pixels or latents, and what steers it."""

    def __init__(self, config: Config, seed: int) -> None:
        super().__init__(
            config,
            seed,
            autoencoder=config.autoencoder,
            text_encoder=config.text_encoder,
            draw_time=uniform_time,
        )
        self.config = config
        self.noising = Noising(config)

    def squared_error(self, batch: Batch) -> torch.Tensor:
        x0, eps = latents_of(batch, self.encoder), batch["eps"]
        step = self.noising.steps(batch["t"])
        level = self.noising.levels(step)
        out = self.module(level.alpha * x0 + level.sigma * eps, step.float(), batch.get("ids"))
        return self.noising.error(out, x0, eps, level)

    def validate(self) -> dict[str, float]:
        """Squared error of the picture as estimated at fixed ratios of noise to signal, with fixed noise."""
        path = self.noising.path

        def at(ratio: float) -> Callable[[Batch], torch.Tensor]:
            level = path.at(path.t_of_k(ratio))

            def error(batch: Batch) -> torch.Tensor:
                x0 = latents_of(batch, self.encoder)
                x = level.alpha * x0 + level.sigma * batch["eps"]
                out = self.module(x, torch.full_like(batch["t"], level.time), batch.get("ids"))
                made = x0_from_output(self.config.prediction, x, out, [level] * len(x))
                if self.config.autoencoder is None:
                    made = made.clamp(-1, 1)
                wrong: torch.Tensor = (made - x0).square().mean((1, 2, 3))
                return wrong

            return error

        return self.judged({f"x0_mse_k{ratio:g}": at(ratio) for ratio in _VALIDATION_RATIOS})

    def write(self, folder: Path, *, graphs: bool) -> None:
        config, pixels = self.config, self.config.autoencoder is None
        # Unclipped estimates from eps explode where a schedule leaves next to nothing of the picture.
        spacing = "leading" if config.prediction == "eps" and not pixels else "trailing"
        facts = PipelineFacts(
            size=config.size,
            corpus=self.source.pictures.facts,
            num_steps=config.num_steps or (min(100, config.num_train_timesteps) if pixels else 20),
            guidance_scale=1.0 if config.text_encoder is None else 3.0,
            solver="ddpm" if pixels else "dpmpp_2m",
            spacing=spacing,
        )
        scheduler = config.scheduler(clips=pixels, spacing=spacing)
        unet, words, tokenizer = self.module.unet, self.module.text_encoder, self.source.tokenizer
        if config.autoencoder is None:
            write_pixel_pipeline(folder, unet, scheduler, words, tokenizer, facts, graphs=graphs)
            return
        decoder = open_autoencoder(config.autoencoder)
        write_pipeline(folder, unet, decoder, words, tokenizer, facts, scheduler=scheduler, graphs=graphs)


def build(table: dict[str, Any], seed: int) -> DiffusionObjective:
    return DiffusionObjective(validated(Config, table, "[objective]"), seed)
