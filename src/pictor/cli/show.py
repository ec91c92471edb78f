"""`pictor show`: what a picture was made from."""

import json
from typing import Annotated, Any

import typer

from pictor.cli._terminal import printable
from pictor.core.errors import InputError
from pictor.core.recipe import RECIPE_KEY, Parameters, Recipe

app = typer.Typer(rich_markup_mode=None)


@app.command()
def show(
    file: Annotated[str, typer.Argument(help="A picture.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print what a picture was made from.

    That is its recipe, or the A1111 parameters of other tools' pictures.
    """
    from pictor.engine.files import PARAMETERS_KEY, read_picture

    _, texts = read_picture(file)
    if RECIPE_KEY in texts:
        recipe = json.loads(Recipe.from_json(texts[RECIPE_KEY]).to_json())
        facts: dict[str, Any] = {"source": "pictor", **recipe}
    elif PARAMETERS_KEY in texts:
        found = Parameters.from_text(texts[PARAMETERS_KEY])
        facts = {
            "source": "parameters",
            "prompt": found.prompt,
            "negative_prompt": found.negative_prompt,
            **({} if as_json else found.settings),
            **({"settings": dict(found.settings)} if as_json else {}),
        }
    else:
        raise InputError(
            f"{file} carries no recipe", expected="a picture of Pictor or of a tool like A1111's"
        )
    if as_json:
        print(json.dumps(facts, indent=2))
        return
    for key, value in facts.items():
        if value not in ("", {}):
            print(f"{printable(str(key))}: {printable(str(value))}")
