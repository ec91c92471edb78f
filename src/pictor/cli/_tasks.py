"""The verbs of the tasks: one command for each, made of the fields of its request."""

import dataclasses
import inspect
import json
import keyword
import typing
from typing import Annotated, Any

import typer

from pictor.cli import _model
from pictor.core.errors import InputError
from pictor.tasks.registry import Task

_SIZE = "size"


def app_of(task: Task) -> typer.Typer:
    """A command that makes the task's request of its options, runs it, and writes the pictures."""
    hints = typing.get_type_hints(task.request)
    fields = [field for field in dataclasses.fields(task.request) if "help" in field.metadata]

    def command(**values: Any) -> None:
        wish = {field.name: values.pop(_parameter(field)) for field in fields}
        _run(task, wish, **values)

    wished = [_option(field, hints[field.name]) for field in fields]
    leading = [parameter for parameter in wished if parameter.default is inspect.Parameter.empty]
    rest = [parameter for parameter in wished if parameter.default is not inspect.Parameter.empty]
    fixed = [
        parameter
        for parameter in inspect.signature(_options).parameters.values()
        if not (task.sequence and parameter.name in ("grid", "frames"))
    ]
    command.__signature__ = inspect.Signature([*leading, *rest, *fixed])  # type: ignore[attr-defined]
    command.__annotations__ = {
        parameter.name: parameter.annotation for parameter in [*leading, *rest, *fixed]
    }
    command.__doc__ = (
        f"{inspect.cleandoc(task.request.__doc__ or task.verb)}\n\nThe paths of the files are printed."
    )
    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    return app


def _options(
    model: _model.Model = None,
    backend: Annotated[str, typer.Option(metavar="NAME", help="auto, onnx or torch.")] = "auto",
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
    """What every painting verb can be told besides its wish."""


def _name(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("cli") or field.name)


def _parameter(field: dataclasses.Field[Any]) -> str:
    """The name, where Python can have it."""
    return f"{_name(field)}_" if keyword.iskeyword(_name(field)) else _name(field)


def _option(field: dataclasses.Field[Any], hint: Any) -> inspect.Parameter:
    """The parameter of a typer command that a field becomes."""
    notes, name = field.metadata, _parameter(field)
    kind = _kind(field, hint)
    if notes.get("argument"):
        several = typing.get_origin(kind) is list
        info = typer.Argument(help=notes["help"], show_default=False, metavar=notes["metavar"])
        default: Any = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        kind = str if several else kind
    else:
        flag = f"--{_name(field).replace('_', '-')}"
        info = typer.Option(flag, help=notes["help"], metavar=notes["metavar"])
        default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        if default is inspect.Parameter.empty:
            pass
        elif kind is str and not isinstance(default, str):
            kind = str | None
        elif default is None:
            kind = kind | None
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=Annotated[kind, info]
    )


def _kind(field: dataclasses.Field[Any], hint: Any) -> Any:
    """The plain type that a value has on the command line."""
    if field.metadata.get("picture") or field.name == _SIZE:
        return str
    choices = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None)]
    for kind in (bool, int, float, str):
        if kind in choices:
            return kind
    return str


def _run(
    task: Task,
    wish: dict[str, Any],
    *,
    out: str | None,
    as_json: bool,
    grid: bool = False,
    frames: bool = False,
    **opening: Any,
) -> None:
    from pictor.cli._output import Destination
    from pictor.cli._progress import ProgressLine
    from pictor.engine.pictures import sequence, sheet

    if wish.get(_SIZE) is not None:
        wish[_SIZE] = parse_size(wish[_SIZE])
    destination = Destination.of(out, name=task.verb)
    studio = _model.open_studio(**opening)
    plan = studio.plan(task.request(**wish))
    with ProgressLine() as progress:
        pictures = studio.run(plan, frames=frames, on_progress=progress)
    alone = len(pictures) == 1
    if task.sequence:
        destination.save_sequence(pictures, sequence(pictures))
    elif grid:
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


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of "WxH".

    Raises:
        InputError: it is none.
    """
    width, _, height = text.lower().partition("x")
    try:
        return int(width), int(height)
    except ValueError:
        raise InputError(
            f"size {text!r}", expected="width x height in pixels, for instance 64x64", param="size"
        ) from None
