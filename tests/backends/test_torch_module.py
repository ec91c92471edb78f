import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pictor.backends.onnx import OnnxModule
from pictor.backends.torch import TorchModule, find_device
from pictor.core.errors import InputError, ModelError, PictorError


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_stay_near(tiny_folder, inputs, dtype):
    arrays = inputs("unet", 2, 4, 4, 8)
    near = TorchModule(tiny_folder, "unet", device="cpu", dtype=dtype).run(**arrays)["out_sample"]
    exact = OnnxModule(tiny_folder / "unet" / "model.onnx").run(**arrays)["out_sample"]
    assert near.dtype == np.float32
    assert 0 < np.abs(near - exact).max() < (0.01 if dtype == "float16" else 0.08)


def test_times_are_not_rounded_to_half_precision(tiny_folder, inputs):
    arrays = inputs("unet", 1, 4, 4, 8)
    module = TorchModule(tiny_folder, "unet", device="cpu", dtype="bfloat16")
    seen = []
    module.load()
    module._network.time_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    module.run(**arrays | {"timestep": np.array([745.3])})
    assert seen[0].dtype == torch.float32
    assert seen[0].item() == np.float32(745.3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tiny_folder, inputs):
    arrays = inputs("unet")
    module = TorchModule(tiny_folder, "unet")
    near = module.run(**arrays)["out_sample"]
    assert module._network.dtype == torch.float16
    exact = OnnxModule(tiny_folder / "unet" / "model.onnx").run(**arrays)["out_sample"]
    assert 0 < np.abs(near - exact).max() < 0.01


def test_wrong_inputs_are_named(tiny_folder, inputs):
    module = TorchModule(tiny_folder, "decoder", device="cpu")
    with pytest.raises(PictorError, match="expected latent"):
        module.run(image=np.zeros((1, 3, 8, 8)))
    with pytest.raises(PictorError, match=r"cannot run with latent \[1, 3, 8, 8\]"):
        module.run(latent=np.zeros((1, 3, 8, 8)))


def test_wrong_wishes(tmp_path):
    with pytest.raises(InputError, match="unknown dtype 'int8'"):
        TorchModule(tmp_path, "unet", dtype="int8")
    for device in ("abacus", "cuda:99", "meta:x"):
        with pytest.raises(InputError, match="cannot be used"):
            find_device(device)


@pytest.fixture
def part(tiny_folder, tmp_path):
    """A copy of the autoencoder, to be damaged; loading it returns the error."""
    shutil.copytree(tiny_folder / "vae", tmp_path / "vae")

    def load():
        with pytest.raises(ModelError) as caught:
            TorchModule(tmp_path, "decoder", device="cpu").load()
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return tmp_path / "vae", load


def test_weights_cut_short(part):
    folder, load = part
    path = folder / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:-2])
    assert "damaged" in load()


def test_tensors_that_are_missing_are_not_made_up(part):
    folder, load = part
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["decoder.layers.0.bias"]
    save_file(tensors, path, metadata={"format": "pt"})
    assert "lacks 1 tensors, 'decoder.layers.0.bias'" in load()


def test_tensors_of_another_shape(part):
    folder, load = part
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"latent_channels": 8}))
    assert "cannot load" in load()


def test_an_unknown_class(part):
    folder, load = part
    (folder / "config.json").write_text('{"_class_name": "os.system"}')
    assert "expected AutoencoderTiny or AutoencoderKL" in load()


def test_a_damaged_configuration(part):
    folder, load = part
    (folder / "config.json").write_text("[]")
    assert "config.json is damaged" in load()
    (folder / "config.json").unlink()
    assert "cannot read" in load()


def test_pickles_are_refused(part):
    folder, load = part
    (folder / "diffusion_pytorch_model.safetensors").rename(folder / "diffusion_pytorch_model.bin")
    assert "never loaded" in load()


def test_a_half_precision_twin_is_found(tiny_folder, tmp_path):
    shutil.copytree(tiny_folder / "vae", tmp_path / "vae")
    plain = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    plain.rename(plain.with_name("diffusion_pytorch_model.fp16.safetensors"))
    TorchModule(tmp_path, "decoder", device="cpu").load()


def test_loading_is_silent(tiny_folder, capfd):
    for name in ("text_encoder", "decoder"):
        TorchModule(tiny_folder, name, device="cpu").load()
    out, err = capfd.readouterr()
    assert out + err == ""


@pytest.mark.parametrize("missing", ["torch", "diffusers", "transformers"])
def test_without_the_extra(missing):
    program = f"""
import sys
sys.modules[{missing!r}] = None
from pathlib import Path
from pictor.backends import export, torch
from pictor.core.errors import MissingExtraError
for action in (torch.TorchModule(Path(), "unet").load, lambda: export.export_folder(Path())):
    try:
        action()
    except MissingExtraError as error:
        print(error)
"""
    if missing != "torch":  # the real one takes seconds to import, and is not what is asked here
        program = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')" + program
    if missing == "transformers":
        program = "import sys, types; sys.modules['diffusers'] = types.ModuleType('diffusers')\n" + program
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert all('pip install "pictor[torch]"' in line for line in lines)
