"""`pictor generate`: pictures from words."""

import json
from typing import Annotated

import typer

from pictor.core.errors import InputError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def generate(
    prompt: Annotated[str, typer.Argument(help="What to show.", show_default=False)],
    negative: Annotated[str, typer.Option(metavar="TEXT", help="What to keep away from.")] = "",
    seed: Annotated[int, typer.Option(help="Picture i of several has seed + i.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Steps from noise to picture.")] = None,
    guidance: Annotated[
        float | None, typer.Option(help="How closely to follow the prompt; 1 is no guidance.")
    ] = None,
    solver: Annotated[
        str | None, typer.Option(metavar="NAME", help="How to step; see `pictor solvers`.")
    ] = None,
    spacing: Annotated[
        str | None, typer.Option(metavar="NAME", help="Where to step; see `pictor solvers`.")
    ] = None,
    size: Annotated[str | None, typer.Option(metavar="WxH", help="In pixels.")] = None,
    count: Annotated[int, typer.Option(help="How many pictures.")] = 1,
    model: Annotated[
        str | None, typer.Option(metavar="PATH", help="A diffusers folder; else the embedded model.")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="auto, onnx or torch.")] = "auto",
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR", help="A .png, which is overwritten, or a folder, in which nothing is."
        ),
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Write one sheet of all pictures instead.")] = False,
    frames: Annotated[
        bool, typer.Option("--frames", help="Also write the way from noise, as a strip and a GIF.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make pictures from words.

    The paths of their files are printed.
    """
    from pictor.cli._output import Destination
    from pictor.cli._progress import ProgressLine
    from pictor.engine.pictures import sheet
    from pictor.engine.studio import load
    from pictor.tasks.text2image import Text2Image

    pixels = None if size is None else _parse_size(size)
    destination = Destination.of(out)
    studio = load(model, backend=backend)
    plan = studio.plan(
        Text2Image(
            prompt=prompt,
            negative_prompt=negative,
            seed=seed,
            num_steps=steps,
            guidance_scale=guidance,
            solver=solver,
            spacing=spacing,
            size=pixels,
            count=count,
        )
    )
    with ProgressLine() as progress:
        pictures = studio.run(plan, frames=frames, on_progress=progress)
    alone = len(pictures) == 1
    if grid:
        destination.save(sheet(pictures), kind="sheet", alone=True)
    else:
        for picture in pictures:
            destination.save(picture, kind="picture", alone=alone)
    if frames:
        for picture in pictures:
            destination.save_frames(picture, alone=alone)
    if as_json:
        recipe = json.loads(pictures[0].recipe.to_json())
        print(json.dumps({"files": destination.written, "recipe": recipe}, indent=2))
    else:
        for file in destination.written:
            print(file["path"])


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise InputError(
            f"size {text!r}", expected="width x height in pixels, for instance 64x64", param="size"
        ) from None
