"""Weights leave the mapped file that they were read from."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file

from pictor.backends.resident import leave_files

MAPS = Path("/proc/self/maps")
pytestmark = pytest.mark.skipif(not MAPS.exists(), reason="the system does not tell what is mapped")


def network(file):
    """Three layers whose weights are the file's own memory; two of them share one."""
    layers = torch.nn.ModuleList(
        [torch.nn.Conv2d(8, 16, 3), torch.nn.Linear(300, 400), torch.nn.Linear(300, 400)]
    )
    if not file.exists():
        save_file({f"{i}.{n}": p.detach() for i in (0, 1) for n, p in layers[i].named_parameters()}, file)
    for name, tensor in load_file(file).items():
        layer, kind = name.split(".")
        getattr(layers[int(layer)], kind).data = tensor
    layers[2].weight = layers[1].weight
    return layers


def mapped(file):
    return str(file) in MAPS.read_text()


def test_weights_are_the_same_and_the_file_is_not_mapped(tmp_path):
    file = tmp_path / "model.safetensors"
    network(file)
    layers = network(file)
    assert mapped(file)
    wanted = [tensor.clone() for tensor in layers.parameters()]
    leave_files(layers, torch.channels_last)
    assert not mapped(file)
    for tensor, before in zip(layers.parameters(), wanted, strict=True):
        assert torch.equal(tensor, before)
    assert layers[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert layers[1].weight.data_ptr() == layers[2].weight.data_ptr()


def test_changes_that_were_made_in_place_are_kept(tmp_path):
    layers = network(tmp_path / "model.safetensors")
    with torch.no_grad():
        layers[1].weight += 1
    changed = layers[1].weight.clone()
    leave_files(layers, torch.channels_last)
    assert torch.equal(layers[1].weight, changed)
    assert torch.equal(layers[2].weight, changed)


def test_weights_of_no_file_stay_where_they_are():
    layer = torch.nn.Linear(300, 400)
    place = layer.weight.data_ptr()
    leave_files(layer, torch.channels_last)
    assert layer.weight.data_ptr() == place
