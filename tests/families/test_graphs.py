"""ONNX graphs of Stable Diffusion 1, 2 and XL: the pictures are torch's to 1e-3, and need no torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxscript")
pytest.importorskip("diffusers")

from kept_graphs import exporter
from peer import NEGATIVE, PICTURE, PROMPT, SIDE
from staged import decoded, stage_latents

import pictor
from pictor.backends import export
from pictor.cli import main
from pictor.families.registry import graphed_parts
from pictor.tasks.registry import all_verbs

MASK = np.zeros((SIDE, SIDE), np.uint8)
MASK[16:48, 8:40] = 255
WISHES = {
    "generate": {},
    "transform": {"image": PICTURE, "strength": 0.5},
    "inpaint": {"image": PICTURE, "mask": MASK},
}
CASES = [
    *((name, verb) for name in ("sd1", "sd2", "xl") for verb in WISHES),
    ("sd1-inpaint", "inpaint"),
    ("xl-inpaint", "inpaint"),
    ("xl-refiner", "transform"),
]


@pytest.fixture(scope="module")
def graphed(folder_of, tmp_path_factory, pytestconfig):
    """Tiny checkpoints with graphs, by name."""
    export_part = exporter(pytestconfig)
    made = {}

    def folder(name):
        if name not in made:
            made[name] = Path(shutil.copytree(folder_of(name), tmp_path_factory.mktemp("graphs") / name))
            for part in graphed_parts(made[name]):
                export_part(made[name], part)
        return made[name]

    return folder


def painted(studio, verb):
    """Pictures in [0, 1], not rounded to bytes."""
    wish = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "size": (SIDE, SIDE), "num_steps": 4, "count": 2}
    plan = studio.plan(all_verbs()[verb].request(**wish, **WISHES[verb], guidance_scale=3.0))
    [stage] = plan.stages
    return decoded(studio.bundle, stage_latents(studio.bundle, stage, plan.seeds))


@pytest.mark.parametrize(("name", "verb"), CASES)
def test_graphs_paint_what_torch_paints(graphed, name, verb):
    ours, theirs = (pictor.load(graphed(name), backend=backend) for backend in ("auto", "torch"))
    assert (ours.bundle.backend, theirs.bundle.backend) == ("onnx", "torch")
    pictures = painted(ours, verb)
    assert pictures.std() > 0.02
    np.testing.assert_allclose(pictures, painted(theirs, verb), atol=1e-3)


def test_xl_runs_without_torch(graphed):
    code = f"""
import sys
for name in ("torch", "diffusers", "transformers", "onnx", "onnxscript"):
    sys.modules[name] = None
import pictor
[picture] = pictor.load({str(graphed("xl"))!r}).generate("a red apple", num_steps=2, size=(96, 64))
print(picture.image.size, picture.recipe.backend)
"""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.strip() == "(96, 64) onnx", done.stderr


def test_the_command_writes_the_graphs_of_a_familys_parts(folder_of, tmp_path, monkeypatch, capsys):
    written = []
    monkeypatch.setattr(export, "export_folder", lambda folder, parts: written.extend(parts) or [folder])
    for name, count in {"sd1": 4, "xl": 5, "xl-refiner": 4}.items():
        written.clear()
        assert main(["models", "export", str(folder_of(name))]) == 0
        assert len(written) == count
    assert main(["models", "export", str(folder_of("flux"))]) == 2
    assert "family flux, which has no graphs" in capsys.readouterr().err
    with pytest.raises(pictor.InputError, match="no ONNX graphs"):
        pictor.load(folder_of("sd3"), backend="onnx")
