"""The command line: one file per verb here, found by its name and imported when it is called.

A verb's file holds a `typer.Typer` called `app`. With one command in it the file is the verb itself
(`show.py` is `pictor show`); with several, or a callback, it is a noun with verbs under it (`models.py` with
`info` and `list` is `pictor models info`). Files whose names begin with `_` are no verbs. The verbs of tasks
(`pictor generate`) have no files: `_tasks.py` makes them of the tasks' requests. Since `pictor --help`
imports every verb for its line of help, these files import what is heavy inside of their functions. Nothing
else has to be edited to add one.

Results go to stdout, progress and warnings to stderr. Exit codes: 0 done; 1 a check said no, or a defect of
Pictor; 2 bad input; 130 interrupted.
"""

import sys
from collections.abc import Sequence

from pictor.cli._terminal import forgive_encoding, printable

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. No error leaves it as a traceback, unless --debug is given.

    Args:
        argv: the arguments; None for the process's own.
    """
    debug, arguments = _take_debug(sys.argv[1:] if argv is None else list(argv))
    try:
        from pictor.cli._verbs import run

        forgive_encoding()
        code = run(arguments or ["--help"])
        if code == INTERRUPTED:  # typer takes KeyboardInterrupt to itself
            print("interrupted", file=sys.stderr)
        return code
    except KeyboardInterrupt:
        _explain(debug)
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; point stdout elsewhere, since Python flushes it once more at exit.
        sys.stdout = None
        return 1
    except Exception as error:
        _explain(debug)
        line, code = _verdict(error)
        print(f"error: {printable(line)}", file=sys.stderr)
        return code


def _take_debug(arguments: list[str]) -> tuple[bool, list[str]]:
    """--debug may stand anywhere before `--`, with every verb."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return len(options) < end, options + arguments[end:]


def _explain(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()


def _verdict(error: Exception) -> tuple[str, int]:
    """One line, and the exit code."""
    from pictor.core.errors import PictorError

    if isinstance(error, PictorError):
        return str(error), error.exit_code
    explain = getattr(error, "format_message", None)  # how all of typer's usage errors tell their message
    if explain is not None:
        return " ".join(explain().split()), 2
    if isinstance(error, OSError):  # a full disk behind stdout, a network drive that went away
        return str(error), 1
    return f"{type(error).__name__}: {' '.join(str(error).split())} (a defect; --debug shows where)", 1
