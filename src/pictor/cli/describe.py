"""`pictor describe`: words for a picture."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from pictor.cli._model import Device, Model
from pictor.cli._terminal import printable
from pictor.core.errors import InputError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def describe(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A picture.", show_default=False)],
    model: Model = None,
    language: Annotated[
        str | None, typer.Option(metavar="en|zh", help="Of the words.  [default: en]", show_default=False)
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="How many, the likeliest first.  [default: 3, of --among all]", show_default=False),
    ] = None,
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
    wishes: dict[str, Any] = {"model": model, "among": among or None, "language": language, "top": top}
    if captioner is not None:
        _refuse(wishes, ("model", "among", "language", "top"), "a captioner")
        from pictor.engine.describe import captioned

        found = captioned(captioner, image, device=device)
    else:
        if among:
            _refuse(wishes, ("language",), "texts to rank")
        from pictor.engine.studio import load

        given = {name: wish for name, wish in wishes.items() if name != "model" and wish is not None}
        found = load(model, device=device).describe(image, **given)
    if as_json:
        print(json.dumps([asdict(one) for one in found], ensure_ascii=False, indent=2))
        return
    for one in found:
        likely = "" if one.probability is None else f"{100 * one.probability:5.1f}%  "
        print(f"{likely}{printable(one.text)}")


def _refuse(wishes: Mapping[str, Any], names: Sequence[str], beside: str) -> None:
    """Make sure that what would be ignored is not given."""
    for name in names:
        if wishes[name] is not None:
            raise InputError(f"--{name} is given beside {beside}", expected="one of them", param=name)
