"""`pictor solvers`: the ways from noise to a picture."""

import inspect
import json
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command()
def solvers(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the solvers and the spacings by name."""
    from pictor.core.spacings import SPACINGS
    from pictor.sampling.registry import solvers as all_solvers

    known = all_solvers()
    spacings = {name: _first_sentence(function) for name, function in SPACINGS.items()}
    if as_json:
        rows = {
            name: {
                "description": info.description,
                "evaluations_per_step": info.evaluations_per_step,
                "stochastic": info.stochastic,
            }
            for name, info in known.items()
        }
        print(json.dumps({"solvers": rows, "spacings": spacings}, indent=2))
        return
    print("Solvers (--solver):")
    for name, info in known.items():
        cost = "" if info.evaluations_per_step == 1 else f"; {info.evaluations_per_step} evaluations a step"
        noise = "; draws fresh noise" if info.stochastic else ""
        print(f"  {name:<18}{info.description}{cost}{noise}")
    print("Spacings (--spacing):")
    for name, text in spacings.items():
        print(f"  {name:<18}{text}")


def _first_sentence(function: object) -> str:
    return (inspect.getdoc(function) or "").split("\n")[0].rstrip(".")
