"""Warnings that Pictor gives: the work goes on, but something of the wish has no effect."""


class PictorWarning(UserWarning):
    """A part of the user's input was cut or has no effect; the message says which."""
