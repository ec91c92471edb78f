"""Picture tokens: pictures to a grid of whole numbers and back, which a language model can then learn.

The code is rounded by finite scalar quantisation (Mentzer et al. 2023, arXiv:2309.15505), see
`pictor.backends.picture_tokens`. The loss is L1 on pixels and on the steps between neighbours at three sizes,
so that edges are worth more than planes; as nothing of the code is learnt apart from it, there is no term for
a codebook.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, model_validator

from pictor.backends.picture_tokens import PictureTokenizer
from pictor.training.captioned_latents import CorpusKeys
from pictor.training.linear_code import fit_linear_code
from pictor.training.objectives import Batch, Figures, beside
from pictor.training.planes import planes
from pictor.training.recipe import validated
from pictor.training.sourced import Sourced
from pictor.training.token_samples import TokenSamples

_VALIDATION = 256
_SIZES = 3
_FITTED = 512
_SPREAD = 0.8
"""Standard deviation of the code's numbers before they are squashed, as training begins."""


class Config(CorpusKeys):
    """Keys of the recipe's [objective] table."""

    reads_words: ClassVar[bool] = False
    size: int = Field(64, ge=16, le=512, multiple_of=8)
    """Side of the pictures in pixels."""
    levels: tuple[int, ...] = Field((8, 8, 8, 5, 5), min_length=1, max_length=8)
    """How many values each number of a place can have; their product is the number of tokens."""
    factor: Literal[4, 8] = 8
    """Pixels a side of a place: a picture of 64 pixels has 8 x 8 tokens at 8."""
    width: int = Field(96, ge=8, le=512, multiple_of=2)
    """Channels at a quarter of the pictures' size, twice as many at an eighth."""
    blocks: tuple[int, int, int, int] = (2, 3, 2, 1)
    """Residual blocks: of the encoder at its coarsest size; of the decoder there, at a quarter, at half."""

    @model_validator(mode="after")
    def _sensible(self) -> Config:
        if min(self.levels) < 2:
            raise ValueError("levels need 2 or more each")
        if min(self.blocks) < 0:
            raise ValueError("blocks are 0 or more each")
        return self


class PictureTokensObjective(Sourced[TokenSamples]):
    """An autoencoder with a rounded code."""

    def __init__(self, config: Config, seed: int) -> None:
        self.config = config
        self.source = TokenSamples(pictures=config.pictures(config.size, seed, 8))
        self.module = PictureTokenizer(
            levels=list(config.levels), factor=config.factor, width=config.width, blocks=list(config.blocks)
        )
        self._begin_linear()

    @torch.no_grad()
    def _begin_linear(self) -> None:
        """Begin with the best linear code of patches, and the linear way back."""
        shown = [self.source.pictures.shown(number, held_out=False).pixels for number in range(_FITTED)]
        same = np.stack([pixels for pixels in shown if pixels.shape == shown[0].shape])
        code = fit_linear_code(same, self.config.factor, len(self.config.levels), 1.0, _SPREAD)
        there, back = self.module.straight_in, self.module.straight_out
        patch = (-1, 3, self.config.factor, self.config.factor)
        there.weight.copy_(torch.from_numpy(code.weight).reshape(patch))
        there.bias.copy_(torch.from_numpy(-code.weight @ code.mean))
        back.weight.copy_(torch.from_numpy(np.linalg.pinv(code.weight).T.copy()).reshape(patch))
        back.bias.copy_(torch.from_numpy(code.mean.reshape(3, -1).mean(1)))

    def rate(self, name: str) -> float:
        return 1.0

    def loss(self, batch: Batch) -> tuple[torch.Tensor, Figures]:
        image = planes(batch["image"])
        out = self.module(image)[0].float()
        loss = (out - image).abs().mean()
        error = out - image
        for size in range(_SIZES):
            small = F.avg_pool2d(error, 2**size) if size else error
            down, right = small.diff(dim=2).abs().mean(), small.diff(dim=3).abs().mean()
            loss = loss + (down + right) / _SIZES
        return loss, {"psnr": 10 * torch.log10(4 / error.detach().square().mean())}

    def validate(self) -> dict[str, float]:
        """On held-out pictures, or where there are none on others: how like they come back, and how evenly
        tokens are used. Perplexity is the number of tokens that, used alike, would be as hard to foretell.
        """
        kind = "held_out" if self.source.pictures.has_held_out else "seen"
        each, used = [], torch.zeros(self.module.code.tokens)
        for batch in self.source.judged(_VALIDATION):
            image = planes(beside(batch, self.module)["image"])
            tokens = self.module.encode(image)
            out = self.module.decode(tokens).float().clamp(-1, 1)
            each.append((out - image).square().flatten(1).mean(1).cpu())
            used += torch.bincount(tokens.flatten().cpu(), minlength=len(used))
        errors, shares = torch.cat(each), used / used.sum()
        return {
            f"{kind}_psnr_of_mean_error": float(10 * torch.log10(4 / errors.mean())),
            f"{kind}_mean_psnr": float((10 * torch.log10(4 / errors.clamp_min(1e-8))).mean()),
            "tokens": float(len(used)),
            "tokens_used": float((used > 0).sum()),
            "perplexity": float(torch.special.entr(shares).sum().exp()),
        }

    def save(self, folder: Path) -> None:
        copy.deepcopy(self.module).half().save_pretrained(folder)


def build(table: dict[str, Any], seed: int) -> PictureTokensObjective:
    return PictureTokensObjective(validated(Config, table, "[objective]"), seed)
