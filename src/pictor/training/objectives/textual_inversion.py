"""A learnt word: vectors in a frozen text encoder's table that stand for what its words could not say.

Textual inversion (Gal et al. 2022, arXiv:2208.01618). The word must stand in every caption.

Legend: N vectors, D width of an embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTokenizer

from pictor.core.errors import InputError
from pictor.families.parts.embeddings import ENCODER_KEYS, WORD
from pictor.training.adapter_folder import write_adapter_folder
from pictor.training.recipe import validated
from pictor.training.teaching import Teaching, TeachingKeys, check_captions

FILE = "learned_embeds.safetensors"
"""As diffusers names it."""


class Config(TeachingKeys):
    """Keys of the recipe's [objective] table."""

    token: str = Field(pattern=r"^<[^<>\s]+>$")
    """The word, in angle brackets so that no other word holds it, such as "<teapot>"."""
    initial: str = Field(min_length=1)
    """A word that the model knows, from whose vectors the learning begins."""
    vectors: int = Field(1, ge=1, le=32)
    """How many vectors stand for the word; each takes a token of the prompt."""


class LearntVectors(nn.Module):
    """The vectors of each text encoder, which it finds behind those of its vocabulary.

    Args:
        encoders: text encoders by name; their tables grow by rows that nothing else asks for.
        tokenizers: of the same names; they learn the tokens.
        config: the recipe's.

    Raises:
        InputError: a tokenizer knows the word already.
    """

    def __init__(
        self, encoders: Mapping[str, nn.Module], tokenizers: Mapping[str, CLIPTokenizer], config: Config
    ) -> None:
        super().__init__()
        self.rows = nn.ParameterDict()
        for name, encoder in encoders.items():
            tokenizer, table = tokenizers[name], encoder.get_input_embeddings()  # type: ignore[operator]
            begin = tokenizer(config.initial, add_special_tokens=False).input_ids
            first = len(tokenizer)
            if set(tokens(config)) & set(tokenizer.get_vocab()):
                raise InputError(
                    f"the model knows the token {config.token} already",
                    expected="a word that it does not know",
                    remedy="Choose another, such as <my-teapot>.",
                    param="objective.token",
                )
            tokenizer.add_tokens(tokens(config))
            start_ND = table.weight.detach()[torch.tensor(begin)]
            # A word of several tokens gives each vector one of them, in turn.
            start_ND = start_ND[torch.arange(config.vectors) % len(start_ND)]
            table.weight.data = torch.cat([table.weight.data[:first], start_ND])
            table.num_embeddings = len(table.weight)
            self.rows[name] = nn.Parameter(start_ND.clone())
            table.register_forward_hook(_putting(self.rows, name, first))


def tokens(config: Config) -> list[str]:
    """What a tokenizer reads of the word, as diffusers calls the tokens of several vectors."""
    return [config.token, *(f"{config.token}_{number}" for number in range(1, config.vectors))]


def _putting(rows: nn.ParameterDict, name: str, first: int) -> Any:
    """A hook on a table of words that puts the vectors of this encoder where their tokens are asked for."""

    def put(_table: nn.Module, asked: tuple[torch.Tensor, ...], out_BTD: torch.Tensor) -> torch.Tensor:
        learnt_BT = asked[0] - first
        vectors_BTD = rows[name][learnt_BT.clamp(min=0)]
        return torch.where((learnt_BT >= 0)[..., None], vectors_BTD.to(out_BTD.dtype), out_BTD)

    return put


class TextualInversionObjective(Teaching):
    """Vectors for one word; all networks stay as they are."""

    module: LearntVectors

    def __init__(self, config: Config, seed: int) -> None:
        check_captions(config, config.token)
        super().__init__(config, seed, spelt={config.token: " ".join(tokens(config))})
        self.config = config
        self.module = LearntVectors(self.base.encoders, self.base.tokenizers, config)

    def save(self, folder: Path) -> None:
        """Write diffusers' file of the word, and what makes a model folder of it."""
        rows = {name: row.detach().float().cpu().contiguous() for name, row in self.module.rows.items()}
        if len(rows) == 1:
            tensors = {self.config.token: rows["text_encoder"]}
        else:
            tensors = {ENCODER_KEYS[name]: row for name, row in rows.items()}
        save_file(tensors, folder / FILE, metadata={"format": "pt", WORD: self.config.token})
        write_adapter_folder(
            folder, self.base.folder, embeddings=(FILE,), defaults=self.config.defaults, facts=self.facts
        )


def build(table: dict[str, Any], seed: int) -> TextualInversionObjective:
    return TextualInversionObjective(validated(Config, table, "[objective]"), seed)
