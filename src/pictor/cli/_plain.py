"""Reads plain numbers and texts without pydantic.

Recent versions of typer build a pydantic adapter for every option, which costs `pictor generate` a
quarter of its start. Numbers and texts need none: Python's own types read them. Where typer has no such
adapters, nothing changes.
"""

from typing import Any

import typer

_KINDS = {str: "text", int: "integer", float: "number", bool: "flag"}


def spare_adapters(command: Any) -> None:
    """Give the plain options of a command, --help among them, a reader that stands in for typer's adapter."""
    all_params = command.get_params

    def get_params(ctx: Any) -> list[Any]:
        params: list[Any] = all_params(ctx)
        for option in params:
            kind: Any = getattr(getattr(option, "type_descriptor", None), "annotation", None)
            several = option.multiple and kind == list[str]
            plain = kind in _KINDS and option.nargs == 1 and not option.multiple
            if (plain or several) and getattr(option, "_runtime_param", ...) is None:
                option._runtime_param = _Texts() if several else _Plain(kind)
        return params

    command.get_params = get_params


class _Texts:
    """Of an option that may be given several times."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        return None if value is None else [str(one) for one in value]


class _Plain:
    def __init__(self, kind: type) -> None:
        self._kind = kind

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return None
        try:
            return self._kind(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is no {_KINDS[self._kind]}.", ctx=ctx, param=param) from None
