"""A CLIP tokenizer's folder, read with `tokenizers` alone: framed and padded as transformers does it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pictor.core.errors import ModelError
from pictor.families.parts.files import read_json, require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_END = "<|endoftext|>"
_START = "<|startoftext|>"
_MAX_LENGTH = 10_000  # so that a damaged number asks for no memory
# How CLIP splits text into words (Radford et al. 2021; the pattern is part of the published model).
_WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


class Tokens(NamedTuple):
    """A part of a prompt that fills the text encoder once."""

    ids: list[int]
    """Start, words, end, padding: always as many as the encoder takes."""
    weights: list[float]
    """The stress of each; 1 for start, end and padding."""


class PromptTokenizer:
    """Turns prompts into token ids of a fixed length.

    Args:
        folder: the model's `tokenizer/`, with a tokenizer.json, or CLIP's vocab.json and merges.txt.
        max_length: of the text encoder, start and end included; the tokenizer's own may be shorter.
        learnt: words that the vocabulary does not have, and their tokens.

    Raises:
        ModelError: a file is missing or damaged, or lacks a special token.
    """

    def __init__(
        self, folder: Path, max_length: int, learnt: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        self._learnt = dict(learnt or {})
        names = sorted(self._learnt, key=len, reverse=True)
        patterns = [rf"(?<!\w){re.escape(name)}(?!\w)" for name in names]
        self._learnt_words = re.compile("|".join(patterns) or r"(?!)")  # matches nothing where there are none
        config = _config(folder)
        self._tokenizer = _read(folder)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        own_length = config.get("model_max_length")
        length = min(max_length, own_length) if isinstance(own_length, int | float) else max_length
        if not 3 <= length <= _MAX_LENGTH:
            raise ModelError(
                f"{folder} has prompts of {length} tokens", expected=f"from 3 to {_MAX_LENGTH}", param="model"
            )
        self.max_length = int(length)
        self._start = self._id(config, "bos_token", _START, folder)
        self._end = self._id(config, "eos_token", _END, folder)
        self._pad = self._id(config, "pad_token", _END, folder)

    def __call__(self, fragments: Sequence[tuple[str, float]]) -> list[Tokens]:
        """A prompt in as many chunks as it needs, at least one. No chunk ends inside of a word.

        Args:
            fragments: pieces of text with their weights, as `pictor.core.prompts.fragments` returns them.
        """
        room = self.max_length - 2
        words: list[tuple[list[int], float]] = []
        for text, weight in self._divided(fragments):
            if text in self._learnt:
                words.append((list(self._learnt[text])[:room], weight))
                continue
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            last: int | None = None
            for number, word in zip(encoding.ids, encoding.word_ids, strict=True):
                if word is None or word != last or len(words[-1][0]) == room:
                    words.append(([], weight))
                words[-1][0].append(number)
                last = word
        chunks: list[tuple[list[int], list[float]]] = [([], [])]
        for numbers, weight in words:
            if len(chunks[-1][0]) + len(numbers) > room:
                chunks.append(([], []))
            chunks[-1][0].extend(numbers)
            chunks[-1][1].extend([weight] * len(numbers))
        return [self._framed(*chunk) for chunk in chunks]

    def _divided(self, fragments: Sequence[tuple[str, float]]) -> Iterator[tuple[str, float]]:
        """The pieces, with learnt words as pieces of their own."""
        for text, weight in fragments:
            at = 0
            for found in self._learnt_words.finditer(text):
                yield text[at : found.start()], weight
                yield found.group(), weight
                at = found.end()
            yield text[at:], weight

    def text(self, chunks: Sequence[Tokens]) -> str:
        """The words of these chunks."""
        special = {self._start, self._end, self._pad}
        numbers = [number for chunk in chunks for number in chunk.ids if number not in special]
        # Tokenizers without a decoder leave CLIP's mark of a word's end.
        return str(self._tokenizer.decode(numbers)).replace("</w>", " ").strip()

    def _framed(self, ids: list[int], weights: list[float]) -> Tokens:
        padding = self.max_length - 2 - len(ids)
        return Tokens(
            [self._start, *ids, self._end, *[self._pad] * padding], [1.0, *weights, 1.0, *[1.0] * padding]
        )

    def _id(self, config: Mapping[str, Any], role: str, usual: str, folder: Path) -> int:
        token = config.get(role) or usual
        name = token.get("content") if isinstance(token, dict) else token
        number = self._tokenizer.token_to_id(str(name))
        if number is None:
            raise ModelError(f"{folder} has no token {name!r} for its {role}", param="model")
        return int(number)


def _config(folder: Path) -> dict[str, Any]:
    """tokenizer_config.json, completed by the older special_tokens_map.json."""
    config: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            config.update(
                {key: value for key, value in read_json(folder / name).items() if value is not None}
            )
    return config


def _read(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file() and (folder / "vocab.json").is_file():
        return _clip_tokenizer(folder)
    try:
        return Tokenizer.from_file(str(require(file)))
    except ModelError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"{file} is damaged ({error})", expected="a tokenizer", param="model") from None


def _clip_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of folders from before tokenizer.json, such as Stable Diffusion 1.5's."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    vocab, merges = folder / "vocab.json", require(folder / "merges.txt")
    read_json(vocab)
    try:
        bpe = BPE.from_file(str(vocab), str(merges), end_of_word_suffix="</w>", unk_token=_END)
        tokenizer = Tokenizer(bpe)
    except Exception as error:  # tokenizers raises bare Exception
        raise ModelError(f"{merges} or {vocab.name} is damaged ({error})", param="model") from None
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([_START, _END])
    return tokenizer
