"""Folders that hold what another model learnt, and alphas in a file's metadata."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file

import pictor
from pictor import ModelError
from pictor.engine.reproduce import compare
from pictor.families.parts.lora import METADATA, Lora, read_loras

LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
FILE = "pytorch_lora_weights.safetensors"
WISH = {"num_steps": 2, "size": (64, 64)}


def write(file: Path, told: object = None) -> Path:
    torch.manual_seed(1)
    tensors = {
        f"unet.{LAYER}.lora_A.weight": torch.randn(4, 64),
        f"unet.{LAYER}.lora_B.weight": torch.randn(64, 4),
    }
    save_file(tensors, file, metadata=None if told is None else {METADATA: told})
    return file


@pytest.fixture
def folder(folder_of, tmp_path) -> Path:
    made = tmp_path / "run" / "model"
    made.mkdir(parents=True)
    write(made / FILE)
    index = {"_class_name": "PictorAdapter", "base": str(folder_of("sd1"))}
    (made / "model_index.json").write_text(json.dumps(index | {"loras": {FILE: 0.5}, "embeddings": []}))
    (made / "pictor.json").write_text(json.dumps({"name": "mine", "defaults": {"num_steps": 3}}))
    return made


def test_a_run_opens_as_its_base_with_what_it_learnt(folder, folder_of):
    base = folder_of("sd1")
    studio = pictor.load(folder.parent)
    assert (studio.traits.name, studio.traits.defaults.num_steps) == ("mine", 3)
    assert studio.traits.defaults.guidance_scale == pictor.load(base).traits.defaults.guidance_scale
    [picture] = studio.generate("a cat", **WISH)
    assert list(picture.recipe.adapters) == [f"{FILE}@0.5"]
    [same] = pictor.load(base, loras={folder / FILE: 0.5}).generate("a cat", **WISH)
    assert compare(picture.image, same.image).identical
    further = write(folder.parent / "more.safetensors")
    [both] = pictor.load(folder, loras={further: 0.5}).generate("a cat", **WISH)
    [whole] = pictor.load(base, loras={folder / FILE: 1.0}).generate("a cat", **WISH)
    assert compare(both.image, whole.image).maximum <= 1
    assert compare(both.image, picture.image).maximum > 1


def test_a_base_may_be_the_embedded_model(folder):
    index = json.loads((folder / "model_index.json").read_text())
    empty = {"base": "embedded", "loras": {}}
    (folder / "model_index.json").write_text(json.dumps(index | empty))
    assert pictor.load(folder).bundle.model_hash == pictor.load().bundle.model_hash


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base": "gone"}, "changes the model gone, which is not there"),
        ({"base": None}, "changes the model None, which is not there"),
        ({"loras": {"../x.safetensors": 1.0}}, r"damaged.*\.\./x"),
        ({"loras": {FILE: "much"}}, "damaged"),
        ({"loras": [FILE]}, "damaged"),
        ({"embeddings": ["none.safetensors"]}, "has no .*none.safetensors"),
    ],
)
def test_damaged_folders_are_named(folder, change, words):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | change))
    with pytest.raises(ModelError, match=words):
        pictor.load(folder)


def test_a_base_is_no_adapter_and_defaults_are_known(folder, tmp_path):
    index = json.loads((folder / "model_index.json").read_text())
    second = Path(shutil.copytree(folder, tmp_path / "second"))
    (second / "model_index.json").write_text(json.dumps(index | {"base": str(folder)}))
    with pytest.raises(ModelError, match="an adapter itself"):
        pictor.load(second)
    (folder / "pictor.json").write_text('{"defaults": {"noses": 3}}')
    with pytest.raises(ModelError, match=r"pictor.json is damaged"):
        pictor.load(folder)


@pytest.mark.parametrize(
    ("told", "scale"),
    [
        ({}, 1.0),
        ({"unet.lora_alpha": 2.0}, 0.5),
        ({"text_encoder.lora_alpha": 2.0}, 1.0),
        ({"unet.lora_alpha": 2.0, "unet.use_rslora": True}, 2 / math.sqrt(4)),
        ({"unet.lora_alpha": 2.0, "unet.alpha_pattern": {"attn1.to_q": 8}}, 2.0),
        ({"unet.lora_alpha": 2.0, "unet.alpha_pattern": {"1.to_q": 8, "to_k": 8}}, 0.5),
    ],
)
def test_alpha_may_stand_in_the_metadata(told, scale, folder_of, tmp_path):
    file = write(tmp_path / "a.safetensors", json.dumps(told))
    deltas, _ = read_loras(folder_of("sd1"), ("unet",), (Lora(path=file, weight=0.5),))
    [[delta]] = deltas["unet"].values()
    assert delta.scale == pytest.approx(0.5 * scale)


@pytest.mark.parametrize(
    "told",
    ["{", "[1]", '{"unet.lora_alpha": "much"}', '{"unet.lora_alpha": NaN}', '{"unet.alpha_pattern": 3}'],
)
def test_damaged_metadata_are_named(told, folder_of, tmp_path):
    file = write(tmp_path / "a.safetensors", told)
    with pytest.raises(ModelError, match=r"metadata of .* damaged"):
        read_loras(folder_of("sd1"), ("unet",), (Lora(path=file),))
