"""`pictor data caption`: words for pictures that have none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pictor.cli._data_sources import AsJson, opened, terms
from pictor.cli._model import Device, Model
from pictor.core.errors import InputError

if TYPE_CHECKING:
    from pictor.core.plan import Pixels


def caption(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder of pictures.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The metadata.jsonl to write; in the folder it captions it.")
    ],
    model: Model = None,
    captioner: Annotated[
        str | None, typer.Option(metavar="PATH|ID", help="A captioning model of transformers to ask.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(metavar="en|zh", help="Of the model's captions; en where nothing is said.")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also for pictures that have captions, in their place.")
    ] = False,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Write captions for pictures, by the model's own encoders or by a captioner.

    Pictures that have captions keep them. Ctrl-C keeps what is made; the same command goes on.
    """
    from pictor.data.captioning import caption as run
    from pictor.engine.describe import open_captioner
    from pictor.engine.studio import load

    [found] = opened([source])
    if captioner is not None:
        for name, value in (("model", model), ("language", language)):
            if value is not None:
                raise InputError(
                    f"--{name} and a captioner are given, which has no use for it",
                    expected="one of the two",
                    param=name,
                )
        say, by = open_captioner(captioner, device=device), captioner
    else:
        studio, wanted = load(model, device=device), language or "en"
        if wanted not in (known := studio.describer.languages):
            raise InputError(f"language is {wanted!r}", expected=" or ".join(known), param="language")
        by = f"{studio.traits.name} {studio.bundle.model_hash[:10]} {wanted}"

        def say(picture: Pixels) -> str:
            return studio.describe(picture, language=wanted, top=1)[0].text

    with terms(None) as how:
        done = run(
            found, out, say, by=by, again=again, on_progress=how.on_progress, should_stop=how.should_stop
        )
    for name, why in done.left_out.items():
        print(f"left out: {name}: {why}", file=sys.stderr)
    if as_json:
        print(json.dumps({"out": str(out), "said": done.said, "kept": done.kept, "left_out": done.left_out}))
        return
    print(f"{done.said} captions made, {done.kept} kept, {len(done.left_out)} pictures left out")
    print(out)
