"""Which model a verb opens, and what changes it: options that several verbs have."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pictor.core.errors import InputError

if TYPE_CHECKING:
    from pictor.engine.studio import Studio

Model = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|ID", help="A diffusers folder, a .safetensors file, or OWNER/NAME on the Hub."
    ),
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, ... (with torch).")]
Dtype = Annotated[str, typer.Option(metavar="NAME", help="auto, float32, float16 or bfloat16 (with torch).")]
Offload = Annotated[bool, typer.Option("--offload", help="Let the GPU hold one network at a time.")]
Loras = Annotated[
    list[str] | None,
    typer.Option(metavar="FILE[:WEIGHT]", help="An adapter, and how strongly it works."),
]
Controlnet = Annotated[str | None, typer.Option(metavar="PATH|ID", help="A control network, for --control.")]
IpAdapter = Annotated[str | None, typer.Option(metavar="FILE", help="A picture adapter, for --like.")]
ImageEncoder = Annotated[str | None, typer.Option(metavar="DIR", help="The picture adapter's image encoder.")]
Embeddings = Annotated[
    list[str] | None, typer.Option(metavar="FILE", help="A learnt word (textual inversion).")
]
Tokenizer = Annotated[
    str | None, typer.Option(metavar="DIR", help="CLIP's tokenizer, for a model in one file.")
]
Prediction = Annotated[str | None, typer.Option(metavar="eps|v", help="What a model in one file predicts.")]


def open_studio(
    model: str | None, *, lora: list[str] | None, embedding: list[str] | None, **options: Any
) -> Studio:
    """The studio that the options ask for.

    Args:
        model: None for the embedded one.
        lora: adapters as they are written.
        embedding: files of learnt words.
        options: what else `pictor.load` takes.
    """
    from pictor.engine.studio import load

    return load(model, loras=parse_loras(lora), embeddings=embedding or (), **options)


def parse_loras(texts: list[str] | None) -> dict[str | os.PathLike[str], float]:
    """Files and weights of "FILE" or "FILE:WEIGHT".

    Raises:
        InputError: the weight is no number.
    """
    loras: dict[str | os.PathLike[str], float] = {}
    for text in texts or []:
        file, colon, weight = text.rpartition(":")
        if not colon or os.path.isfile(text):
            file, weight = text, "1"
        try:
            loras[file] = float(weight)
        except ValueError:
            raise InputError(
                f"the adapter {text!r}",
                expected="FILE or FILE:WEIGHT, such as ink.safetensors:0.8",
                param="lora",
            ) from None
    return loras
