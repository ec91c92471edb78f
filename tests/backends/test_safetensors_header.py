import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pictor.backends.weights import Entry, find_weights, read_header
from pictor.core.errors import ModelError


def write(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(*, dtype: str = "F32", shape: object = (2,), span: object = (0, 8)) -> dict[str, object]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": span}}


def test_the_bytes_at_an_entry_are_the_tensor(tmp_path):
    path = tmp_path / "model.safetensors"
    rng = np.random.default_rng(0)
    arrays = {
        "half": rng.standard_normal((3, 5)).astype(np.float16),
        "odd": np.arange(3, dtype=np.uint8),
        "scalar": np.array(4.5, np.float32),
        "none": np.zeros((0, 4), np.float32),
    }
    save_file(arrays, path, metadata={"format": "np"})
    data = path.read_bytes()
    entries = read_header(path)
    assert entries.keys() == arrays.keys()
    for name, array in load_file(path).items():
        found = entries[name]
        assert found.shape == array.shape
        assert data[found.offset : found.offset + found.length] == array.tobytes()


def test_a_link_is_followed(tmp_path):
    write(tmp_path / "blob", entry(), bytes(8))
    (tmp_path / "model.safetensors").symlink_to("blob")
    assert read_header(tmp_path / "model.safetensors")["a"] == Entry(
        "F32", (2,), 8 + len(json.dumps(entry())), 8
    )


@pytest.mark.parametrize(
    ("header", "data"),
    [
        (entry(), bytes(7)),
        (entry(), bytes(9)),
        (entry(shape=(3,)), bytes(8)),
        (entry(shape=(-2,), span=(0, -8)), b""),
        (entry(span=(-8, 0)), b""),
        (entry(dtype="F12"), bytes(8)),
        (entry(span=(0,)), bytes(8)),
        (entry(shape="ab"), bytes(8)),
        ({"a": 3}, b""),
        ([1], b""),
        (b"{", b""),
        (b"[" * 200_000, b""),
        (entry(shape=(2.0,)), bytes(8)),
        (b"\xff\xfe", b""),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, header, data):
    path = write(tmp_path / "model.safetensors", header, data)
    with pytest.raises(ModelError, match="damaged") as caught:
        read_header(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"1234567", struct.pack("<Q", 2**63), struct.pack("<Q", 9) + b"{}"])
def test_a_short_file_is_refused(tmp_path, data):
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelError, match="fewer than its header claims"):
        read_header(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ModelError, match="No such file"):
        read_header(tmp_path / "model.safetensors")


def test_only_safetensors_are_weights(tmp_path):
    (tmp_path / "diffusion_pytorch_model.bin").touch()
    with pytest.raises(ModelError, match="never loaded"):
        find_weights(tmp_path)
    half = tmp_path / "diffusion_pytorch_model.fp16.safetensors"
    half.touch()
    assert find_weights(tmp_path) == [half]
    full = tmp_path / "diffusion_pytorch_model.safetensors"
    full.touch()
    assert find_weights(tmp_path) == [full]


def index_of(folder, names):
    record = {"weight_map": {str(at): name for at, name in enumerate(names)}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(record))


def test_weights_in_several_files_are_all_found(tmp_path):
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in names:
        (tmp_path / name).touch()
    index_of(tmp_path, [names[1], names[0], names[1]])
    assert find_weights(tmp_path) == [tmp_path / name for name in names]
    (tmp_path / names[1]).unlink()
    with pytest.raises(ModelError, match="lacks 1 of 2 files of weights, model-00002"):
        find_weights(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": 3}}']
)
def test_damaged_indexes_are_named(tmp_path, text):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ModelError, match=r"index\.json is damaged"):
        find_weights(tmp_path)


def test_indexes_name_no_files_elsewhere(tmp_path):
    index_of(tmp_path, ["../model.safetensors"])
    with pytest.raises(ModelError, match="damaged"):
        find_weights(tmp_path)
