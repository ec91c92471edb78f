"""Errors say what, expected and remedy in one line, and survive a process boundary."""

import pickle

import pytest

from pictor.core import errors


def test_the_message_is_one_line_of_what_expected_and_remedy():
    error = errors.InputError("num_steps is 0.", expected="at least 1", remedy="Pass --steps 20.\nOr more.")
    assert str(error) == "num_steps is 0; expected at least 1. Pass --steps 20. Or more."
    assert str(errors.PictorError("broken")) == "broken"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.PictorError, 1),
        (errors.InputError, 2),
        (errors.PlanError, 2),
        (errors.ModelError, 2),
        (errors.MissingExtraError, 2),
        (errors.Cancelled, 130),
    ],
)
def test_exit_codes_and_pickling(kind, code):
    error = kind("what", expected="this", remedy="Do that.", param="seed")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert kind.exit_code == again.exit_code == code
    assert (str(again), again.param) == (str(error), "seed")


def test_a_missing_extra_names_the_command_that_installs_it():
    assert 'pip install "pictor[torch]"' in str(errors.MissingExtraError("training needs torch"))
    assert 'pip install "pictor[ray]"' in str(errors.MissingExtraError("clusters", extra="ray"))
