"""Every error that Pictor raises on purpose: what happened, what was expected, and the remedy."""


class PictorError(Exception):
    """An error that its reader can act on.

    Args:
        what: what is wrong, with the value that was given ("num_steps is 0").
        expected: what would have been right ("an integer from 1 to 1000").
        remedy: what to do next, as a sentence ("Pass --steps 20.").
        param: the name of the parameter at fault, for faces that can point at it.
    """

    exit_code = 1
    """What the command line returns."""

    def __init__(self, what: str, *, expected: str = "", remedy: str = "", param: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.expected = expected
        self.remedy = remedy
        self.param = param

    def __str__(self) -> str:
        """One line: "what; expected X. Remedy"."""
        line = self.what.rstrip(".")
        if self.expected:
            line += f"; expected {self.expected.rstrip('.')}"
        if self.remedy:
            line += f". {self.remedy}"
        return " ".join(line.split())

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions are pickled by their positional arguments alone, which would lose the keyword-only parts
        # between a worker and the process that reports its error.
        return _rebuild, (type(self), self.what, self.expected, self.remedy, self.param)


class InputError(PictorError):
    """The user's input is at fault."""

    exit_code = 2


class PlanError(InputError):
    """The wish cannot be planned: its mathematics, sizes or levels do not fit together."""


class ModelError(InputError):
    """A model folder is missing, damaged or of a kind that is not supported."""


class MissingExtraError(InputError):
    """An optional part of the installation is needed; the remedy names the command that installs it.

    Args:
        what: what cannot be done without it ("training needs torch").
        extra: the extra of this package that brings it.
    """

    def __init__(
        self,
        what: str,
        *,
        expected: str = "",
        remedy: str = "",
        param: str | None = None,
        extra: str = "torch",
    ) -> None:
        remedy = remedy or f'Run: pip install "pictor[{extra}]"'
        super().__init__(what, expected=expected, remedy=remedy, param=param)


class Cancelled(PictorError):  # noqa: N818 - a wish of the user and no failure
    """The work was stopped on request."""

    exit_code = 130

    def __init__(
        self,
        what: str = "cancelled",
        *,
        expected: str = "",
        remedy: str = "",
        param: str | None = None,
    ) -> None:
        super().__init__(what, expected=expected, remedy=remedy, param=param)


def _rebuild(
    kind: type[PictorError], what: str, expected: str, remedy: str, param: str | None
) -> PictorError:
    return kind(what, expected=expected, remedy=remedy, param=param)
