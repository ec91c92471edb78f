"""The graphs compute what diffusers and transformers compute, from the same one copy of the weights."""

import json
import shutil

import numpy as np
import onnx
import pytest
import tiny
import torch
import transformers
from safetensors.torch import load_file, save_file

from pictor.backends.base import PARTS
from pictor.backends.export import export_part
from pictor.backends.graph import check_graph
from pictor.backends.onnx import OnnxModule
from pictor.backends.torch import TorchModule
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError

SHAPES = [(1, 8, 8, 32), (2, 8, 8, 5), (3, 4, 10, 1), (1, 2, 2, 32)]


def graph_path(folder, name):
    return folder / PARTS[name].subfolder / PARTS[name].graph


def difference(folder, name, arrays):
    """Largest difference between both runtimes over all outputs."""
    ours = OnnxModule(graph_path(folder, name)).run(**arrays)
    theirs = TorchModule(folder, name, device="cpu").run(**arrays)
    assert ours.keys() == theirs.keys()
    assert ours.keys() >= set(PARTS[name].outputs)
    for key, array in ours.items():
        assert array.dtype == np.float32
        assert array.shape == theirs[key].shape
    return max(float(np.abs(ours[key] - theirs[key]).max()) for key in ours)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_graphs_compute_what_torch_computes(tiny_folder, inputs, name, shape):
    assert difference(tiny_folder, name, inputs(name, *shape)) < 1e-4


def test_rows_of_a_batch_do_not_meet(tiny_folder, inputs):
    module = OnnxModule(graph_path(tiny_folder, "unet"))
    arrays = inputs("unet", 3)
    together = module.run(**arrays)["out_sample"]
    for row in range(3):
        alone = module.run(**{key: array[row : row + 1] for key, array in arrays.items()})["out_sample"]
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


@pytest.mark.parametrize("name", PARTS)
def test_weights_are_stored_once(tiny_folder, name):
    path = graph_path(tiny_folder, name)
    assert path.stat().st_size < 200_000
    linked = check_graph(path)
    [weights] = find_weights(path.parent)
    entries = read_header(weights)
    assert len({tensor.name for tensor in linked}) == len(linked)
    model = onnx.load(path, load_external_data=False)
    inline = sum(item.ByteSize() for item in model.graph.initializer if not item.external_data)
    assert inline < 10_000
    half = {"encoder": "encoder.", "decoder": "decoder."}.get(name, "")
    assert {tensor.name for tensor in linked} == {key for key in entries if key.startswith(half)}


def test_graphs_carry_nothing_of_the_machine_that_exported_them(tiny_folder):
    for name in PARTS:
        text = graph_path(tiny_folder, name).read_bytes()
        for word in (b"site-packages", b"/home", b".py", b"torch.", str(tiny_folder).encode()):
            assert word not in text, (name, word)


@pytest.mark.parametrize("name", ["decoder", "text_encoder"])
def test_the_same_weights_give_the_same_bytes(tiny_folder, tmp_path, name):
    part = PARTS[name].subfolder
    shutil.copytree(tiny_folder / part, tmp_path / part)
    export_part(tmp_path, name)
    assert graph_path(tmp_path, name).read_bytes() == graph_path(tiny_folder, name).read_bytes()
    assert not list((tmp_path / part).glob(".*"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types_of_weights(tmp_path, inputs, dtype):
    tiny.build(tmp_path, tiny.TinyConfig(dtype=dtype, text_layers=1))
    path = export_part(tmp_path, "text_encoder")
    casts = [node for node in onnx.load(path, load_external_data=False).graph.node if node.op_type == "Cast"]
    linked = check_graph(path)
    assert len(linked) == 20
    assert sum(node.input[0] in {tensor.name for tensor in linked} for node in casts) == (
        0 if dtype == torch.float32 else 20
    )
    assert difference(tmp_path, "text_encoder", inputs("text_encoder")) < 1e-4


@pytest.mark.parametrize("name", ["decoder", "encoder"])
def test_autoencoder_kl(tmp_path, inputs, name):
    tiny.build(tmp_path, tiny.TinyConfig(autoencoder="kl"))
    export_part(tmp_path, name)
    assert difference(tmp_path, name, inputs(name, 1, 4, 6)) < 1e-4


def test_a_parameter_that_the_file_does_not_have_is_an_error(tiny_folder, tmp_path, monkeypatch):
    shutil.copytree(tiny_folder / "vae", tmp_path / "vae")
    from pictor.backends import export

    def altered(folder, name, load=export.load_network):
        network = load(folder, name)
        network.decoder.layers[0].weight += 1
        return network

    monkeypatch.setattr(export, "load_network", altered)
    before = graph_path(tmp_path, "decoder").read_bytes()
    with pytest.raises(ModelError, match=r"does not hold the parameter 'decoder\.layers\.0\.weight'"):
        export_part(tmp_path, "decoder")
    assert graph_path(tmp_path, "decoder").read_bytes() == before


def test_tied_parameters_share_their_bytes(tiny_folder, tmp_path, inputs, monkeypatch):
    from pictor.backends import export

    def tied(folder, name, load=export.load_network):
        network = load(tiny_folder, name)
        network.decoder.layers[5].conv[0].weight = network.decoder.layers[2].conv[0].weight
        return network

    shutil.copytree(tiny_folder / "vae", tmp_path / "vae")
    [weights] = find_weights(tmp_path / "vae")
    tensors = load_file(weights)
    del tensors["decoder.layers.5.conv.0.weight"]  # as safetensors does with the second of two names
    save_file(tensors, weights, metadata={"format": "pt"})
    monkeypatch.setattr(export, "load_network", tied)
    ours = OnnxModule(export_part(tmp_path, "decoder")).run(**inputs("decoder"))["image"]
    with torch.inference_mode():
        latent = torch.from_numpy(inputs("decoder")["latent"])
        theirs = tied(tmp_path, PARTS["decoder"]).decode(latent).sample.numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_an_unaligned_file_is_refused(tmp_path):
    tiny.build(tmp_path)
    [weights] = find_weights(tmp_path / "vae")
    data = weights.read_bytes()
    size = int.from_bytes(data[:8], "little")
    weights.write_bytes((size + 1).to_bytes(8, "little") + data[8 : 8 + size] + b" " + data[8 + size :])
    with pytest.raises(ModelError, match="a multiple of 2"):
        export_part(tmp_path, "decoder")


def test_weights_in_several_files(tmp_path, inputs):
    folder = tiny.build(tmp_path) / "text_encoder"
    network = transformers.CLIPTextModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    network.save_pretrained(folder, max_shard_size="30KB")
    linked = check_graph(export_part(tmp_path, "text_encoder"))
    files = {file.name for file in find_weights(folder)}
    assert {tensor.location for tensor in linked} == files
    assert len(files) > 1
    assert difference(tmp_path, "text_encoder", inputs("text_encoder")) < 1e-4


def test_weights_beyond_two_gigabytes(tmp_path, inputs):
    """The file is sparse: its first tensor is a hole that nothing reads."""
    [weights] = find_weights(tiny.build(tmp_path, tiny.TinyConfig(text_layers=1)) / "text_encoder")
    data, hole = weights.read_bytes(), 2**31 + 64
    size = int.from_bytes(data[:8], "little")
    header = {"hole": {"dtype": "F16", "shape": [hole // 2], "data_offsets": [0, hole]}}
    for key, entry in json.loads(data[8 : 8 + size]).items():
        if key != "__metadata__":
            header[key] = {**entry, "data_offsets": [hole + at for at in entry["data_offsets"]]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with weights.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.seek(hole, 1)
        file.write(data[8 + size :])
    linked = check_graph(export_part(tmp_path, "text_encoder"))
    assert min(tensor.entry.offset for tensor in linked) > 2**31
    assert difference(tmp_path, "text_encoder", inputs("text_encoder")) < 1e-4
