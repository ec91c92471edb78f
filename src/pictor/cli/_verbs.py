"""Finds the verbs, and runs the one that is called."""

import pkgutil
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, TextIO

import typer
from typer.core import TyperGroup

import pictor
from pictor import cli
from pictor.cli._plain import spare_adapters
from pictor.cli._tasks import app_of
from pictor.cli._terminal import printable
from pictor.core.notices import PictorWarning
from pictor.tasks.registry import all_verbs


class Verbs(TyperGroup):
    """A group whose commands are the modules of this package, imported one by one as they are needed, and the
    verbs of the tasks."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted({*_modules(), *all_verbs()})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in _modules():
            app = import_module(f"{cli.__name__}.{cmd_name.replace('-', '_')}").app
        elif cmd_name in all_verbs():
            app = app_of(all_verbs()[cmd_name])
        else:
            return None
        command = typer.main.get_command(app)
        command.name = cmd_name
        # Every Typer brings these two by default; here they would stand in the help of each verb.
        unwanted = ("install_completion", "show_completion")
        command.params = [option for option in command.params if option.name not in unwanted]
        spare_adapters(command)
        return command


def _modules() -> set[str]:
    names = (module.name for module in pkgutil.iter_modules(cli.__path__))
    return {name.replace("_", "-") for name in names if not name.startswith("_")}


app = typer.Typer(
    cls=Verbs, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, name="pictor"
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"pictor {pictor.__version__}")
        raise typer.Exit


@app.callback()
def pictor_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from. Works with every command.")
    ] = False,
) -> None:
    """Turns words into pictures, with models that their users own."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; errors are left to the caller."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PictorWarning)
        warnings.showwarning = _print_warning
        command = typer.main.get_command(app)
        spare_adapters(command)
        code = command.main(list(arguments), prog_name="pictor", standalone_mode=False)
    sys.stdout.flush()
    return code if isinstance(code, int) else 0


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    kind = "warning" if issubclass(category, PictorWarning) else category.__name__
    print(f"{kind}: {printable(' '.join(str(message).split()))}", file=sys.stderr)
