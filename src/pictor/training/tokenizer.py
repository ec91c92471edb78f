"""A small CLIP tokenizer for captions in English and Chinese.

Byte-level merges learnt from raw Chinese run across characters and break words that were not seen together.
So English words bring learnt merges, and every Han character of the domain gets exactly the merges that make
it one token, inside a word and at a word's end.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
_WORD_END = "</w>"


def is_han(character: str) -> bool:
    """Whether a character is a Han ideograph of the basic block."""
    return "\u4e00" <= character <= "\u9fff"


def _byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-ins of the 256 bytes, as the byte-level pre-tokenizer writes them."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [byte for byte in range(256) if byte not in plain]
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(other)}


def _english_merges(captions: list[str], vocabulary: int) -> list[tuple[str, str]]:
    words = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, end_of_word_suffix=_WORD_END, show_progress=False
    )
    latin = ("".join(c if c.isascii() else " " for c in caption.lower()) for caption in captions)
    words.train_from_iterator(latin, trainer)
    return [tuple(merge) for merge in json.loads(words.to_str())["model"]["merges"]]


def _han_merges(captions: list[str]) -> list[tuple[str, str]]:
    letters = _byte_letters()
    merges: dict[tuple[str, str], None] = {}
    for character in sorted({c for caption in captions for c in caption if is_han(c)}):
        one, two, three = (letters[byte] for byte in character.encode())
        merges[one, two] = None
        merges[one + two, three] = None
        merges[one + two, three + _WORD_END] = None
    return list(merges)


def train_tokenizer(captions: Iterable[str], *, length: int, vocabulary: int = 1500) -> CLIPTokenizer:
    """Learn a tokenizer from captions, in CLIP's format.

    Args:
        captions: text in English, Chinese or both.
        length: tokens of a prompt, start and end included.
        vocabulary: upper bound on English tokens.
    """
    texts = list(captions)
    letters = sorted(_byte_letters().values())
    pieces = [*letters, *(letter + _WORD_END for letter in letters)]
    merges = [*_english_merges(texts, vocabulary), *_han_merges(texts)]
    tokens = dict.fromkeys([*pieces, *(left + right for left, right in merges), START, END])
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=length,
    )


def tokenize(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """Token numbers [B, T] int64, cut or padded with end tokens to the tokenizer's length."""
    length = tokenizer.model_max_length
    encoded = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt")
    ids: torch.Tensor = encoded.input_ids
    return ids
