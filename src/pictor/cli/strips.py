"""`pictor strips`: the ways between a picture and noise."""

from pathlib import Path
from typing import Annotated

import typer

from pictor.cli._model import Device, Model
from pictor.core.errors import InputError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def strips(
    prompt: Annotated[
        str, typer.Argument(help="What to show; nothing for models that read no words.", show_default=False)
    ] = "",
    model: Model = None,
    image: Annotated[
        str | None, typer.Option(metavar="IMAGE", help="Show how noise comes over this picture, as well.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Of the denoising; else the model's own.", show_default=False)
    ] = None,
    columns: Annotated[int, typer.Option(help="States of each way.")] = 9,
    seed: Annotated[int, typer.Option(help="Of the noise.")] = 0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The sheet, a PNG.")] = Path("strips.png"),
    device: Device = "auto",
) -> None:
    """Draw how a model makes a picture of noise, state by state, and below what it takes each state for.

    With a picture, the row above is how noise comes over it.
    """
    from pictor.engine.pictures import check_png
    from pictor.engine.studio import load
    from pictor.evaluation.strips import denoising, noising, sheet

    check_png(out)
    studio = load(model, device=device)
    if prompt and "text" not in studio.traits.abilities:
        raise InputError(f"{studio.traits.name} reads no words", expected="no prompt", param="prompt")
    rows = [] if image is None else [noising(studio, image, columns=columns, seed=seed)]
    rows += denoising(studio, columns=columns, prompt=prompt, num_steps=steps, seed=seed)
    if any(len(row) != columns for row in rows):
        raise InputError(
            f"{columns} columns of {len(rows[-1]) - 1} steps",
            expected="no more columns than steps and one",
            param="columns",
        )
    sheet(rows).save(out)
    print(out)
