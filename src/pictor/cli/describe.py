"""`pictor describe`: words for a picture."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from pictor.cli._model import Device, Model
from pictor.cli._terminal import printable

app = typer.Typer(rich_markup_mode=None)


@app.command()
def describe(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A picture.", show_default=False)],
    model: Model = None,
    language: Annotated[str, typer.Option(metavar="en|zh", help="Of the words.")] = "en",
    top: Annotated[int, typer.Option(help="How many captions, the likeliest first.")] = 3,
    among: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Rank these texts; may be given several times.")
    ] = None,
    captioner: Annotated[
        str | None, typer.Option(metavar="PATH|ID", help="A captioning model of transformers to ask.")
    ] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print what a picture shows, the likeliest caption first.

    Captions are put together from the model's own words, and ranked by its own picture and text encoders.
    """
    if captioner is not None:
        from pictor.engine.describe import captioned

        found = captioned(captioner, image, device=device)
    else:
        from pictor.engine.studio import load

        studio = load(model, device=device)
        found = studio.describe(image, language=language, top=top, among=among or ())
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
        return
    for one in found:
        likely = "" if one.probability is None else f"{100 * one.probability:5.1f}%  "
        print(f"{likely}{printable(one.text)}")
