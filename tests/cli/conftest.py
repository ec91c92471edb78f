"""What tests of the command line share."""

import pytest

from pictor.cli import main


@pytest.fixture
def room(tmp_path, monkeypatch):
    """An empty folder to work in."""
    place = tmp_path / "room"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def run(capsys, vivid_folder):
    """Run a command on the tiny model: (exit code, stdout, stderr)."""

    def call(*arguments, model=vivid_folder):
        extra = ["--model", str(model)] if model and arguments[0] in ("generate", "reproduce") else []
        code = main([str(argument) for argument in arguments] + extra)
        out, err = capsys.readouterr()
        return code, out, err

    return call
