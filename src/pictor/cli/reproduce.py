"""`pictor reproduce`: make a picture again, and say whether it is the same."""

import json
import sys
from typing import Annotated

import typer

from pictor.cli import _model
from pictor.cli._terminal import printable
from pictor.core.errors import InputError
from pictor.core.recipe import RECIPE_KEY, Recipe

app = typer.Typer(rich_markup_mode=None)


@app.command()
def reproduce(
    file: Annotated[str, typer.Argument(help="A picture that Pictor made.", show_default=False)],
    model: _model.Model = None,
    backend: Annotated[
        str | None, typer.Option(metavar="NAME", help="auto, onnx or torch; else the recipe's.")
    ] = None,
    device: _model.Device = "auto",
    dtype: _model.Dtype = "auto",
    offload: _model.Offload = False,
    lora: _model.Loras = None,
    controlnet: _model.Controlnet = None,
    ip_adapter: _model.IpAdapter = None,
    image_encoder: _model.ImageEncoder = None,
    embedding: _model.Embeddings = None,
    tokenizer: _model.Tokenizer = None,
    prediction: _model.Prediction = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input", metavar="NAME=FILE", help="What the picture was made from, such as image=cat.png."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Make a picture again, and compare.

    Exit 0 if all pixels are the same, else 1 with the difference.
    """
    from pictor.cli._progress import ProgressLine
    from pictor.engine.files import read_picture
    from pictor.engine.reproduce import compare
    from pictor.engine.reproduce import reproduce as make_again

    image, texts = read_picture(file)
    if RECIPE_KEY not in texts:
        raise InputError(f"{file} carries no recipe of Pictor's", expected="a PNG that Pictor wrote")
    recipe = Recipe.from_json(texts[RECIPE_KEY])
    inputs = _inputs(given or [], recipe)
    studio = _model.open_studio(
        model,
        backend=backend or recipe.backend,
        device=device,
        dtype=dtype,
        offload=offload,
        lora=lora,
        controlnet=controlnet,
        ip_adapter=ip_adapter,
        image_encoder=image_encoder,
        embedding=embedding,
        tokenizer=tokenizer,
        prediction=prediction,
    )
    with ProgressLine() as progress:
        again = make_again(recipe, studio, inputs=inputs, on_progress=progress)
    difference = compare(image, again.image)
    if as_json:
        facts = {
            "identical": difference.identical,
            "maximum": difference.maximum,
            "mean": difference.mean,
            "size": image.size,
            "remade_size": again.image.size,
        }
        print(json.dumps(facts, indent=2))
    elif difference.identical:
        print("identical")
    elif difference.maximum is None:
        print(f"differs: {_size(image.size)} pixels, made again {_size(again.image.size)}")
    else:
        print(f"differs: by at most {difference.maximum} of 255, by {difference.mean:.3g} on average")
    if not difference.identical:
        _hint(recipe, again.recipe)
        raise typer.Exit(1)


def _inputs(given: list[str], recipe: Recipe) -> dict[str, str]:
    """The files of `--input name=file`, by name."""
    files: dict[str, str] = {}
    for text in given:
        name, equals, file = text.partition("=")
        if not equals or name not in recipe.inputs:
            raise InputError(
                f"the input {text!r}",
                expected=f"NAME=FILE with a name among {', '.join(sorted(recipe.inputs)) or 'none'}",
                param="input",
            )
        files[name] = file
    return files


def _hint(was: object, now: object) -> None:
    """Say what was not the same this time; differences of versions and runtimes are the usual cause."""
    for name in ("version", "backend", "dtype"):
        before, after = getattr(was, name), getattr(now, name)
        if before != after:
            print(f"note: {name} was {printable(before)}, is {after}", file=sys.stderr)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
