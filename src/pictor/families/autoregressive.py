"""Models that write a picture token by token after its caption, as the objective "autoregressive" makes them.

A folder holds transformer/, a language model over words and picture tokens (DALL-E, Ramesh et al. 2021,
arXiv:2102.12092); picture_tokenizer/, which paints them; tokenizer/ for the words; and pictor.json:

    {"defaults": {"guidance_scale": 3.0, "size": [64, 64]}, "choosing": {"top_k": 0, "top_p": 0.95}}

It may hold text_encoder/ and image_encoder/ besides, a CLIP of the same tokenizer, to choose candidates by.
The transformer's vocabulary is that of the words, then the picture's; a caption fills a fixed length, and the
places of the picture follow row by row.

Legend of array shapes: B rows, T tokens of a caption, V picture tokens, C numbers of a place, h, w rows and
columns of the grid, H, W pixels.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, PICTURE_ENCODER, Part, Tensors
from pictor.backends.token_transformer import TRANSFORMER, TokenTransformer
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import InputError, ModelError
from pictor.core.notices import PictorWarning
from pictor.core.pixels import to_picture
from pictor.core.plan import Defaults, Drawing, Traits
from pictor.core.prompts import at_step, fragments
from pictor.families.beside import with_describer
from pictor.families.bundle import Bundle, Family, Opening
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.opening import Background, check_classes, open_parts
from pictor.families.parts.tokens import PromptTokenizer
from pictor.sampling.tokens import chosen, guided, picture_lots

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pictor.backends.base import Module
    from pictor.core.plan import Pixels

PIPELINE = "PictorAutoregressive"
"""The `_class_name` in model_index.json."""
_AT_ONCE = 16
"""Pictures that are written side by side."""
_CLASSES = {"transformer": TRANSFORMER.classes, "picture_tokenizer": ("PictureTokenizer",)}


def _decode(network: Any, inputs: Tensors) -> Tensors:
    return {"image": network.decode(inputs["tokens"])}


def _encode(network: Any, inputs: Tensors) -> Tensors:
    return {"tokens": network.encode(inputs["image"])}


_COMMON: dict[str, Any] = {
    "subfolder": "picture_tokenizer",
    "library": "pictor.backends.picture_tokens",
    "classes": _CLASSES["picture_tokenizer"],
}
DECODER = Part(
    name="decoder",
    inputs={"tokens": "Bhw"},
    outputs=("image",),
    call=_decode,
    unused=("encoder", "straight_in"),
    **_COMMON,
)
ENCODER = Part(
    name="encoder",
    inputs={"image": "B3HW"},
    outputs=("tokens",),
    call=_encode,
    unused=("decoder", "straight_out"),
    **_COMMON,
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How words and places follow each other."""

    words: int
    """Tokens of the vocabulary of words; the picture's are counted on from there."""
    caption: int
    """Tokens that a caption fills."""
    side: int
    """Rows of the grid, and columns."""


@dataclass(frozen=True, kw_only=True)
class Choosing:
    """Which tokens are chosen among; see `pictor.sampling.tokens.chosen`."""

    top_k: int = 0
    top_p: float = 1.0


class PictureTokens:
    """Between pixels in [-1, 1] and tokens, which stand in for latents of one channel.

    Args:
        decoder: runs `DECODER`.
        encoder: runs `ENCODER`.
        size: side of the pictures in pixels.
    """

    def __init__(self, decoder: Module, encoder: Module, size: int) -> None:
        self._decoder, self._encoder, self._size = decoder, encoder, size

    def decode(self, x0_BChw: NDArray[Any]) -> NDArray[np.float32]:
        """Pictures [B, 3, H, W], about [-1, 1], of tokens [B, 1, h, w]."""
        return self._decoder.run(tokens=x0_BChw[:, 0].astype(np.int64))["image"]

    def encode(self, image_B3HW: NDArray[np.float32]) -> NDArray[np.float32]:
        """Tokens [B, 1, h, w]; float32 holds all whole numbers that they can be."""
        return self._encoder.run(image=image_B3HW)["tokens"][:, None]

    def painted(self, tokens_hw: NDArray[np.int64]) -> Pixels:
        """The picture [H, W, 3]. One at a time: in batches of other sizes processors sum in other orders.

        Raises:
            PictorError: the network's numbers are no picture.
        """
        return to_picture(self.decode(tokens_hw[None, None]), self._size)


@dataclass(frozen=True, kw_only=True)
class Writer:
    """Writes pictures after their captions."""

    transformer: TokenTransformer
    tokenizer: PromptTokenizer
    pictures: PictureTokens
    layout: Layout
    choosing: Choosing

    def ids(self, text: str, param: str = "prompt") -> list[int]:
        """A caption's tokens, cut with a warning where it is too long.

        Raises:
            InputError: words are stressed, which such a model cannot heed.
        """
        pieces = fragments(at_step(text, 0, 1))
        if any(weight != 1.0 for _, weight in pieces):
            raise InputError(
                f"the {param.replace('_', ' ')} {text[:40]!r} stresses words, and this model reads all alike",
                expected="words without stress",
                remedy=r"Write brackets that are meant as signs as \( and \).",
                param=param,
            )
        first, *rest = self.tokenizer(pieces)
        if rest:
            warnings.warn(
                f"the {param.replace('_', ' ')} is longer than {self.layout.caption} tokens;"
                f" this was cut: {self.tokenizer.text(rest)[:200]!r}",
                PictorWarning,
                stacklevel=2,
            )
        return first.ids

    def draw(self, drawing: Drawing, seeds: Sequence[int], watch: Callable[[int, int], None]) -> list[Pixels]:
        """See `pictor.families.bundle.Drawer`."""
        words = {
            one: (self.ids(one.prompt), self.ids(one.negative_prompt, "negative_prompt"))
            for one in dict.fromkeys(drawing.conditions)
        }
        batches = [range(at, min(at + _AT_ONCE, len(seeds))) for at in range(0, len(seeds), _AT_ONCE)]
        places = self.layout.side**2
        done, total = 0, places * len(batches)
        watch(done, total)
        pictures: list[Pixels] = []
        for batch in batches:
            said = [words[drawing.conditions[i]] for i in batch]
            scale_B = np.array([drawing.conditions[i].guidance_scale for i in batch])
            lots_BN = np.stack([picture_lots(seeds[i], places) for i in batch])

            def step() -> None:
                nonlocal done
                done += 1
                watch(done, total)

            tokens_BN = self._written(said, scale_B, lots_BN, drawing.temperature, step)
            pictures += [self.pictures.painted(row.reshape(self.layout.side, -1)) for row in tokens_BN]
        return pictures

    def _written(
        self,
        said: Sequence[tuple[Sequence[int], Sequence[int]]],
        scale_B: NDArray[np.float64],
        lots_BN: NDArray[np.float64],
        temperature: float,
        step: Callable[[], None],
    ) -> NDArray[np.int64]:
        """Picture tokens [B, N] of N places, after captions and what to keep away from."""
        count, places = lots_BN.shape
        guides = bool((scale_B != 1.0).any())
        read = np.array([ids for ids, _ in said] + [ids for _, ids in said if guides], np.int64)
        memory: Any = None
        tokens_BN = np.empty((count, places), np.int64)
        for place in range(places):
            logits, memory = self.transformer.read(read, memory)
            logits_BV = logits[:, self.layout.words :]
            if guides:
                logits_BV = guided(logits_BV[:count], logits_BV[count:], scale_B)
            tokens_BN[:, place] = chosen(
                logits_BV,
                lots_BN[:, place],
                temperature=temperature,
                top_k=self.choosing.top_k,
                top_p=self.choosing.top_p,
            )
            step()
            read = np.tile(tokens_BN[:, place, None] + self.layout.words, (2 if guides else 1, 1))
        return tokens_BN


def open_autoregressive(folder: Path, index: Mapping[str, Any], how: Opening) -> Bundle:
    """Open the folder. Weights are checked to be whole at once, and read when they are first needed.

    Raises:
        ModelError: a file is missing or damaged, or the parts do not fit each other.
        InputError: an adapter is given, which it cannot have.
        MissingExtraError: torch is not installed.
    """
    check_classes(folder / "model_index.json", index, _CLASSES)
    traits, layout, choosing = _read(folder)
    weights = [file for part in _CLASSES for file in find_weights(folder / part)]
    for file in weights:
        read_header(file)
    clip = (folder / PICTURE_ENCODER.subfolder / "vocabulary.json").is_file()
    reader = [PARTS["text_encoder"]] if clip else []
    opened = open_parts(folder, [DECODER, ENCODER, *reader], how)
    seat = getattr(opened.parts["decoder"], "seat", None)
    writer = Writer(
        transformer=TokenTransformer(folder, TRANSFORMER, device=how.device, dtype=how.dtype, seat=seat),
        tokenizer=PromptTokenizer(folder / "tokenizer", layout.caption),
        pictures=PictureTokens(opened.parts["decoder"], opened.parts["encoder"], traits.defaults.size[0]),
        layout=layout,
        choosing=choosing,
    )
    bundle = Bundle(
        traits=traits,
        autoencoder=writer.pictures,
        draw=writer.draw,
        prepare=Background([writer.transformer.load, opened.parts["decoder"].load]),
        hash_weights=lambda: hash_weights(folder, weights),
        backend=opened.backend,
        dtype=opened.dtype,
        adapters=opened.adapters,
    )
    if not clip:
        return bundle
    longest = int(read_json(folder / "text_encoder" / "config.json").get("max_position_embeddings", 77))
    whole = PromptTokenizer(folder / "tokenizer", longest)
    return with_describer(bundle, folder, how, whole, opened.parts["text_encoder"])


def _read(folder: Path) -> tuple[Traits, Layout, Choosing]:
    """What the folder's configurations say."""
    coder, writer = (
        read_json(folder / part / "config.json") for part in ("picture_tokenizer", "transformer")
    )
    own = read_json(folder / "pictor.json")
    try:
        wishes = own["defaults"]
        width, height = (int(side) for side in wishes["size"])
        factor, tokens = int(coder["factor"]), math.prod(coder["levels"])
        side = width // factor
        layout = Layout(
            words=int(writer["vocab_size"]) - tokens,
            caption=int(writer["n_positions"]) - side**2,
            side=side,
        )
        choosing = Choosing(**own.get("choosing", {}))
        if width % factor or width != height or min(layout.words, layout.caption, side) < 1:
            raise ValueError(f"{tokens} tokens at {side} x {side} places leave no room for words")
        if choosing.top_k < 0 or not 0 <= choosing.top_p <= 1:
            raise ValueError(f"{choosing}")
        guidance = float(wishes["guidance_scale"])
    except (LookupError, TypeError, ValueError, OverflowError, ZeroDivisionError) as error:
        raise ModelError(
            f"a configuration in {folder} is damaged ({error!r})",
            expected="a transformer and a picture tokenizer for one size of pictures",
            param="model",
        ) from None
    traits = Traits(
        name=str(own.get("name") or folder.resolve().name),
        abilities=frozenset({"text", "whole", "draw"}),
        latent_channels=1,
        latent_stride=factor,
        stride=width,
        min_side=width,
        max_side=width,
        max_tokens=layout.caption,
        defaults=Defaults(num_steps=0, guidance_scale=guidance, solver="", spacing="", size=(width, height)),
    )
    return traits, layout, choosing


FAMILY = Family(name="autoregressive", pipelines=(PIPELINE,), open=open_autoregressive)
