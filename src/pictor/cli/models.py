"""`pictor models`: what there is, what is in one, and other forms of it."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True)

_Model = Annotated[str | None, typer.Argument(metavar="[PATH|ID]", help="Else the embedded model.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.callback()
def models() -> None:
    """Look at models, and turn them into other forms."""


@app.command("list")
def list_models(as_json: _Json = False) -> None:
    """List the embedded model and those kept in the Hugging Face Hub's cache."""
    from pictor.engine.facts import kept_models
    from pictor.engine.studio import model_folder

    found = [("embedded", model_folder(None)), *kept_models()]
    if as_json:
        print(json.dumps([{"model": name, "folder": str(folder)} for name, folder in found], indent=2))
        return
    for name, folder in found:
        print(f"{name}\t{folder}")


@app.command()
def info(model: _Model = None, as_json: _Json = False) -> None:
    """Print a model's parts, parameters, prediction and hash."""
    from dataclasses import asdict

    from pictor.engine.facts import model_facts
    from pictor.engine.studio import model_folder

    facts = model_facts(model_folder(model))
    if as_json:
        print(json.dumps({**asdict(facts), "parameters": facts.parameters}, indent=2, default=str))
        return
    print(f"name: {facts.name}")
    print(f"folder: {facts.folder}")
    print(f"family: {facts.family} ({facts.pipeline})")
    if facts.prediction:
        print(f"prediction: {facts.prediction} on a {facts.path}")
    print(f"hash: {facts.digest}")
    for part in facts.parts:
        types = "+".join(sorted(part.types))
        graphs = f", graphs {', '.join(part.graphs)}" if part.graphs else ""
        print(
            f"{part.name}: {part.kind}, {part.parameters:,} parameters in {types},"
            f" {part.size / 1e6:.1f} MB{graphs}"
        )
    print(f"all: {facts.parameters:,} parameters")


@app.command()
def export(
    model: Annotated[str, typer.Argument(metavar="PATH", help="A Stable Diffusion or XL folder.")],
) -> None:
    """Write ONNX graphs beside a model's weights, so that it runs without torch.

    The graphs point into the weights: nothing is stored twice.
    """
    from pictor.backends.export import export_folder
    from pictor.families.registry import graphed_parts

    for path in export_folder(Path(model), graphed_parts(Path(model))):
        print(path)


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A .ckpt, .pt, .pth or .bin file.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A new .safetensors file.")],
) -> None:
    """Turn an old pickled checkpoint into safetensors.

    A pickle is a program: it is read by a process that has no network and makes tensors alone.
    """
    from pictor.backends.pickles import convert_pickle

    count = convert_pickle(source, out)
    print(f"{out}\t{count} tensors")
