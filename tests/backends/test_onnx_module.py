"""Opening and running graphs, and every way in which a model folder can be wrong."""

import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest

from pictor.backends import onnx as backend
from pictor.backends.graph import check_graph
from pictor.backends.onnx import OnnxModule, default_threads
from pictor.core.errors import ModelError, PictorError


def load_error(folder):
    """The one line that opening a text encoder's folder ends with."""
    with pytest.raises(ModelError) as caught:
        OnnxModule(folder / "model.onnx").load()
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(path, change):
    """Change a graph; `change` takes its protocol buffer."""
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())


def external(model, index=0):
    """The external data of a weight, as a dictionary of its entries."""
    tensor = [item for item in model.graph.initializer if item.external_data][index]
    return {pair.key: pair for pair in tensor.external_data}


def test_nothing_is_read_before_it_is_needed(tmp_path):
    OnnxModule(tmp_path / "absent.onnx")


def test_missing_weights(text_encoder):
    (text_encoder / "model.safetensors").unlink()
    assert "model.safetensors: No such file" in load_error(text_encoder)


def test_missing_graph(text_encoder):
    (text_encoder / "model.onnx").unlink()
    assert "cannot read the graph" in load_error(text_encoder)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.999])
def test_a_graph_cut_short(text_encoder, keep):
    path = text_encoder / "model.onnx"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert "model.onnx is damaged" in load_error(text_encoder)


def test_a_graph_that_is_something_else(text_encoder):
    (text_encoder / "model.onnx").write_bytes(b"<!DOCTYPE html><html></html>")
    assert "model.onnx is damaged" in load_error(text_encoder)


def test_random_damage_to_a_graph_is_an_error_or_harmless(text_encoder):
    path = text_encoder / "model.onnx"
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(data), 60):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            check_graph(path)
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most damage lies in a node, and is the runtime's to find


def test_weights_cut_short(text_encoder):
    path = text_encoder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-2])
    assert "model.safetensors is damaged" in load_error(text_encoder)


def test_a_damaged_header(text_encoder):
    path = text_encoder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[8] = ord("x")
    path.write_bytes(data)
    assert "its header is not JSON" in load_error(text_encoder)


def test_weights_of_another_model(tiny_folder, text_encoder):
    shutil.copy(
        tiny_folder / "unet" / "diffusion_pytorch_model.safetensors", text_encoder / "model.safetensors"
    )
    assert "does not fit model.safetensors" in load_error(text_encoder)


@pytest.mark.parametrize(
    "location", ["../text_encoder/model.safetensors", "/etc/passwd", "a/b", "", ".", "..", "a\\b"]
)
def test_a_graph_that_reads_elsewhere(text_encoder, location):
    edit(text_encoder / "model.onnx", lambda model: setattr(external(model)["location"], "value", location))
    assert "expected a file in the same folder" in load_error(text_encoder)


def test_a_graph_that_reads_its_own_header(text_encoder):
    edit(text_encoder / "model.onnx", lambda model: setattr(external(model)["offset"], "value", "0"))
    assert "does not fit model.safetensors" in load_error(text_encoder)


def test_a_constant_that_reads_elsewhere(text_encoder):
    def hide(model):
        node = model.graph.node.add(op_type="Constant", output=["secret"])
        attribute = node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
        attribute.t.data_type = onnx.TensorProto.UINT8
        attribute.t.dims.append(4)
        attribute.t.data_location = onnx.TensorProto.EXTERNAL
        attribute.t.external_data.add(key="location", value="../secret")

    edit(text_encoder / "model.onnx", hide)
    assert "outside its list of weights" in load_error(text_encoder)


def test_weights_that_link_out_of_the_folder_are_refused(text_encoder, tmp_path):
    weights = text_encoder / "model.safetensors"
    weights.rename(tmp_path / "elsewhere.safetensors")
    weights.symlink_to(tmp_path / "elsewhere.safetensors")
    assert "ONNX Runtime cannot open" in load_error(text_encoder)


def test_a_hub_cache_opens(text_encoder, tmp_path, inputs):
    """There, every file is a link into a folder of blobs beside the snapshots."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main" / "text_encoder"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in text_encoder.iterdir():
        path.rename(blobs / f"hash-of-{path.name}")
        (snapshot / path.name).symlink_to(f"../../../blobs/hash-of-{path.name}")
    assert OnnxModule(snapshot / "model.onnx").run(**inputs("text_encoder"))["last_hidden_state"].shape == (
        2,
        32,
        32,
    )


def test_an_operation_that_the_runtime_does_not_know(text_encoder):
    edit(text_encoder / "model.onnx", lambda model: setattr(model.graph.node[-1], "op_type", "Abracadabra"))
    assert "ONNX Runtime cannot open" in load_error(text_encoder)


def test_wrong_inputs_are_named(tiny_folder, inputs, capfd):
    module = OnnxModule(tiny_folder / "unet" / "model.onnx")
    arrays = inputs("unet")
    with pytest.raises(PictorError, match="expected sample, timestep, encoder_hidden_states"):
        module.run(sample=arrays["sample"])
    with pytest.raises(PictorError, match=r"cannot run with sample \[2, 16, 7, 7\]"):
        module.run(**arrays | {"sample": arrays["sample"][:, :, :7, :7]})
    assert capfd.readouterr().err == ""


def test_numbers_of_other_types_are_taken(tiny_folder, inputs):
    module = OnnxModule(tiny_folder / "unet" / "model.onnx")
    arrays = inputs("unet")
    wide = {key: array.astype(np.float64) for key, array in arrays.items()}
    np.testing.assert_array_equal(module.run(**wide)["out_sample"], module.run(**arrays)["out_sample"])


def test_one_module_serves_several_threads(tiny_folder, inputs):
    module = OnnxModule(tiny_folder / "text_encoder" / "model.onnx")
    arrays, outputs = inputs("text_encoder"), []
    workers = [
        threading.Thread(target=lambda: outputs.append(module.run(**arrays)["last_hidden_state"]))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(outputs) == 4
    for output in outputs[1:]:
        np.testing.assert_array_equal(output, outputs[0])


def test_threads_follow_the_processors_of_the_process(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 9}, raising=False)
    assert default_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert default_threads() == 2
    monkeypatch.setenv(
        "OMP_NUM_THREADS", "4,3,2"
    )  # OpenMP's form for nested loops, of which there are none here
    assert default_threads() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    assert default_threads() == (os.cpu_count() or 1)


def test_a_graph_runs_where_torch_and_onnx_are_not_installed(tiny_folder):
    program = f"""
import sys
for name in ("torch", "diffusers", "transformers", "onnx", "onnxscript"):
    sys.modules[name] = None
import numpy as np
from pathlib import Path
from pictor.backends.onnx import OnnxModule
assert "onnxruntime" not in sys.modules
module = OnnxModule(Path({str(tiny_folder)!r}) / "vae" / "decoder.onnx")
print(module.run(latent=np.zeros((1, 16, 2, 2)))["image"].shape)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 3, 16, 16)\n"
    assert done.stderr == ""


def test_idle_threads_wait_passively():
    """Spinning threads cost several times the speed beside a busy neighbour."""
    assert OnnxModule(backend.Path("model.onnx")).spinning is False
