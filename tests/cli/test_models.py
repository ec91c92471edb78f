"""`pictor models`, on the tiny model, and pickles that are programs."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from pictor.cli import main


def told(capsys):
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_info(tiny_folder, capsys):
    assert main(["models", "info", str(tiny_folder)]) == 0
    out, _ = told(capsys)
    assert "family: stable_diffusion (StableDiffusionPipeline)" in out
    assert "prediction: flow on a FlowPath" in out
    assert main(["models", "info", str(tiny_folder), "--json"]) == 0
    facts = json.loads(told(capsys)[0])
    assert {part["name"] for part in facts["parts"]} == {"unet", "vae", "text_encoder"}
    assert facts["parameters"] == sum(part["parameters"] for part in facts["parts"]) > 1000
    import pictor

    assert facts["digest"] == pictor.load(tiny_folder).bundle.model_hash
    assert main(["models", "info"]) == 0
    assert "picturebook" in told(capsys)[0]


def test_list_has_the_embedded_model(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["models", "list"]) == 0
    assert told(capsys)[0].startswith("embedded\t")


def test_export_makes_graphs_that_run(tiny_copy, capsys):
    for graph in tiny_copy.rglob("*.onnx"):
        graph.unlink()
    assert main(["models", "export", str(tiny_copy)]) == 0
    out, _ = told(capsys)
    assert len(out.splitlines()) == 4
    assert all(Path(line).is_file() for line in out.splitlines())


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_a_checkpoint_of_tensors_is_converted(torch, tmp_path, capsys):
    from safetensors.torch import load_file

    weights = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}
    torch.save({"state_dict": weights, "step": 3}, tmp_path / "old.ckpt")
    assert (
        main(["models", "convert", str(tmp_path / "old.ckpt"), "--out", str(tmp_path / "a.safetensors")]) == 0
    )
    assert "2 tensors" in told(capsys)[0]
    loaded = load_file(tmp_path / "a.safetensors")
    assert set(loaded) == set(weights)
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    assert (
        main(["models", "convert", str(tmp_path / "old.ckpt"), "--out", str(tmp_path / "a.safetensors")]) == 2
    )


class Program:
    """What a hostile checkpoint holds."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_program_in_a_checkpoint_does_not_run(torch, tmp_path, capsys):
    mark = tmp_path / "it-ran"
    (tmp_path / "evil.bin").write_bytes(pickle.dumps({"state_dict": Program(mark)}))
    torch.save({"state_dict": Program(mark)}, tmp_path / "evil.ckpt")
    for name in ("evil.bin", "evil.ckpt"):
        out = tmp_path / "out.safetensors"
        assert main(["models", "convert", str(tmp_path / name), "--out", str(out)]) == 2
        assert "cannot be read safely" in told(capsys)[1]
        assert not mark.exists()
        assert not out.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["evil.bin", "evil.ckpt"]


@pytest.mark.parametrize("name", ["a.safetensors", "missing.ckpt"])
def test_what_cannot_be_converted_is_said(torch, tmp_path, capsys, name):
    if name == "a.safetensors":
        shutil.copy(__file__, tmp_path / name)
    assert main(["models", "convert", str(tmp_path / name), "--out", str(tmp_path / "b.safetensors")]) == 2
    assert told(capsys)[1].count("\n") == 1
