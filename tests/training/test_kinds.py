"""Kinds of model: recipes that fill themselves in, on the picturebook or on pictures of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

from pictor.cli import main
from pictor.core.errors import InputError
from pictor.engine import studio
from pictor.training import kinds
from pictor.training.kinds import kind_names, recipe_of_kind
from pictor.training.objectives import objective_names

TINY = """
name = "tiny"
samples = 8
batch_size = 4
precision = "fp32"
[objective]
kind = "autoencoder"
size = 32
channels = 8
width = 8
blocks = [0, 0, 0, 0]
mix = { natural = 1.0 }
"""


@pytest.mark.parametrize("kind", kind_names())
def test_every_kind_has_a_recipe_for_the_picturebook(kind, monkeypatch):
    text = (Path(kinds.__file__).parent / f"{kind}.toml").read_text("utf-8")
    if "{base}" not in text:  # then no model is looked at
        monkeypatch.delattr(studio, "load")
    recipe = recipe_of_kind(kind, precision="bf16")
    assert recipe.objective["kind"] in objective_names()
    assert recipe.objective["size"] > 0
    assert "data" not in recipe.objective
    assert "{base}" not in recipe.model_dump_json()
    named = 'precision = "' in text.partition("[")[0]
    assert named or recipe.precision == "bf16"


def test_the_size_of_pictures_is_the_recipes_else_the_models():
    assert recipe_of_kind("finetune").objective["size"] == min(studio.load().traits.defaults.size)


@pytest.fixture
def tiny(tmp_path, monkeypatch) -> str:
    """A kind that learns from the picturebook and begins with nothing."""
    (tmp_path / "tiny.toml").write_text(TINY)
    monkeypatch.setattr(kinds, "_HERE", tmp_path)
    monkeypatch.chdir(tmp_path)
    return "tiny"


def test_a_kind_is_trained_on_the_picturebook(tiny, monkeypatch, capsys):
    monkeypatch.setattr("pictor.training.objectives.autoencoder._FITTED", 64)
    monkeypatch.setattr("pictor.training.objectives.autoencoder._VALIDATION", 8)
    Path(f"{tiny}.toml").write_text(TINY.replace("width", "breadth"))
    assert main(["train", "--kind", tiny, "--device", "cpu"]) == 2
    assert "breadth" in capsys.readouterr().err
    Path(f"{tiny}.toml").write_text(TINY)  # mended, the same command works
    assert main(["train", "--kind", tiny, "--device", "cpu", "--minutes", "0.001"]) == 0
    assert capsys.readouterr().out == "runs/tiny/model\n"
    stored = json.loads(Path("runs/tiny/recipe.json").read_text())
    assert stored["objective"]["mix"] == {"natural": 1.0}
    assert stored["precision"] == "fp32"
    assert main(["train", "--kind", tiny, "--device", "cpu"]) == 2
    assert "is a run already" in capsys.readouterr().err
    assert main(["train", "--kind", tiny, "--device", "cpu", "--resume"]) == 0


def test_what_a_kind_does_not_take_is_refused(tiny, tmp_path):
    with pytest.raises(InputError, match="tiny begins with no model"):
        recipe_of_kind(tiny, base=tmp_path)
    with pytest.raises(InputError, match="tiny learns from the picturebook alone"):
        recipe_of_kind(tiny, data=tmp_path)
    with pytest.raises(InputError, match="kind is 'dream'; expected one of tiny"):
        recipe_of_kind("dream")


def test_what_is_of_the_other_pictures_is_left_out(tiny, tmp_path):
    table = 'name = "both"\nsamples = 1\n[objective]\nkind = "distillation"\nsize = 64\n'
    (tmp_path / "both.toml").write_text(table + "mix = { natural = 1.0 }\nvariation = { flip = 0.5 }\n")
    assert set(recipe_of_kind("both").objective) == {"kind", "size", "mix"}
    assert set(recipe_of_kind("both", data=tmp_path).objective) == {"kind", "size", "variation", "data"}
