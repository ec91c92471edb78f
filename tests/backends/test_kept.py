"""Small records in the cache folder: whatever lies there, and whatever fails, work goes on."""

import os
from pathlib import Path

import pytest

from pictor.backends.kept import cache_folder, keep, read_kept


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path))


def test_what_is_kept_is_read():
    keep("a.json", {"b": 1})
    keep("a.json", {"b": 2})
    assert read_kept("a.json") == {"b": 2}
    assert os.listdir(cache_folder()) == ["a.json"]


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, b"\xff"])
def test_what_cannot_be_read_is_as_if_not_there(text):
    cache_folder().mkdir()
    (cache_folder() / "a.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert read_kept("a.json") == {}


@pytest.mark.parametrize("failing", ["write_text", "replace"])
def test_what_cannot_be_written_leaves_nothing_behind(monkeypatch, failing):
    keep("a.json", {"b": 1})
    drafts = []

    def full(self, *_):
        self.touch()
        drafts.append(self)
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Path, failing, full)
        keep("a.json", {"b": 2})
        keep("a.json", {"b": 3})
    assert len(set(drafts)) == 2
    assert os.listdir(cache_folder()) == ["a.json"]
    assert read_kept("a.json") == {"b": 1}
