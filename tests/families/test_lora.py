"""Adapters in every layout change exactly the layers that they name; what fits nothing is said."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import tiny_families
from safetensors.torch import load_file, save_file

import pictor
from pictor import ModelError, PictorWarning
from pictor.engine.reproduce import compare, reproduce
from pictor.families.bundle import Opening
from pictor.families.parts.ldm import original_name, unet_prefixes
from pictor.families.parts.lora import Lora, read_loras
from pictor.families.registry import open_bundle

QUERY = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
OUT = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONV = "up_blocks.0.resnets.0.conv1"
TEXT = "text_model.encoder.layers.0.self_attn.q_proj"
RANK, ALPHA = 2, 1.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_families.build("sd1", tmp_path_factory.mktemp("lora") / "sd1")


@pytest.fixture(scope="module")
def shapes(folder):
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    named = {name: tensor.shape for name, tensor in unet.items()}
    [query] = [
        tensor.shape for name, tensor in text.items() if name.endswith("layers.0.self_attn.q_proj.weight")
    ]
    return {
        QUERY: named[f"{QUERY}.weight"],
        OUT: named[f"{OUT}.weight"],
        CONV: named[f"{CONV}.weight"],
        TEXT: query,
    }


@pytest.fixture(scope="module")
def matrices(shapes):
    generator = torch.Generator().manual_seed(1)
    made = {}
    for name, shape in shapes.items():
        down = torch.randn(RANK, *shape[1:], generator=generator) * 0.3
        up = torch.randn(shape[0], RANK, *(1 for _ in shape[2:]), generator=generator) * 0.3
        made[name] = (down, up)
    return made


def kohya(matrices, folder, original=False):
    prefixes = unet_prefixes(json.loads((folder / "unet" / "config.json").read_text()))
    tensors = {}
    for name, (down, up) in matrices.items():
        if name == TEXT:
            stem = "lora_te_" + name.replace(".", "_")
        else:
            called = original_name(name, prefixes) if original else name
            stem = "lora_unet_" + called.replace(".", "_")
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
        tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return tensors


def peft(matrices, _folder):
    """Without alphas: scaled so that both layouts say the same."""
    tensors = {}
    for name, (down, up) in matrices.items():
        stem = f"text_encoder.{name}" if name == TEXT else f"unet.{name}"
        tensors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up * (ALPHA / RANK)}
    return tensors


def comfy(matrices, folder):
    """The original code's names, with dots."""
    prefixes = unet_prefixes(json.loads((folder / "unet" / "config.json").read_text()))
    tensors = {}
    for name, (down, up) in matrices.items():
        called = (
            f"text_encoder.{name}" if name == TEXT else f"diffusion_model.{original_name(name, prefixes)}"
        )
        tensors |= {f"{called}.lora_A.weight": down, f"{called}.lora_B.weight": up * (ALPHA / RANK)}
    return tensors


def old_diffusers(matrices, _folder):
    tensors = {}
    for name, (down, up) in matrices.items():
        if name == TEXT:
            stem, end = f"text_encoder.{name}", ".lora_linear_layer"
        elif "attn" in name:
            layer = name.removesuffix(".0").rpartition(".")
            stem, end = f"unet.{layer[0]}.processor.{layer[2]}", "_lora"
        else:
            stem, end = f"unet.{name}", ".lora"
        tensors |= {f"{stem}{end}.down.weight": down, f"{stem}{end}.up.weight": up * (ALPHA / RANK)}
    return tensors


LAYOUTS = {
    "kohya": kohya,
    "kohya, original names": lambda m, f: kohya(m, f, original=True),
    "peft": peft,
    "peft, original names": comfy,
    "old diffusers": old_diffusers,
}


def networks(bundle):
    parts = {}
    for name in ("unet", "text_encoder"):
        module = bundle_part(bundle, name)
        module.load()
        parts[name] = module._network
    return parts


def bundle_part(bundle, name):
    """The module of a part, out of the closures that hold it."""
    loads = bundle.prepare._loads
    return next(load.__self__ for load in loads if load.__self__.part.name == name)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_changes_the_same_weights(folder, matrices, tmp_path, layout):
    file = tmp_path / "ink.safetensors"
    save_file({key: value.contiguous() for key, value in LAYOUTS[layout](matrices, folder).items()}, file)
    plain = networks(open_bundle(folder, Opening(backend="torch")))
    changed = networks(open_bundle(folder, Opening(backend="torch", loras=(Lora(path=file, weight=0.5),))))
    for part, network in plain.items():
        before, after = dict(network.named_parameters()), dict(changed[part].named_parameters())
        for name, weight in before.items():
            delta = after[name] - weight
            layer = next((key for key in matrices if f"{key}.weight".endswith(name)), None)
            if layer is None or (layer == TEXT) != (part == "text_encoder"):
                assert not delta.any(), name
                continue
            down, up = matrices[layer]
            expected = 0.5 * (ALPHA / RANK) * (up.flatten(1) @ down.flatten(1)).reshape(weight.shape)
            torch.testing.assert_close(delta, expected, atol=1e-5, rtol=1e-4)
            assert delta.abs().max() > 0.01


def test_adapters_are_added_and_told_in_the_recipe(folder, matrices, tmp_path):
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for file in files:
        save_file(peft(matrices, folder), file)
    wish = {"num_steps": 2, "size": (64, 64)}
    [plain] = pictor.load(folder).generate("a cat", **wish)
    both = pictor.load(folder, loras={files[0]: 0.5, files[1]: 0.5})
    [halves] = both.generate("a cat", **wish)
    [one] = pictor.load(folder, loras={files[0]: 1.0}).generate("a cat", **wish)
    assert compare(plain.image, one.image).maximum > 2
    assert compare(halves.image, one.image).maximum <= 1
    assert set(halves.recipe.adapters) == {"a.safetensors@0.5", "b.safetensors@0.5"}
    assert compare(reproduce(halves.recipe, both).image, halves.image).identical
    with pytest.raises(pictor.InputError, match="made with a"):
        reproduce(halves.recipe, pictor.load(folder))
    [nothing] = pictor.load(folder, loras={files[0]: 0.0}).generate("a cat", **wish)
    assert compare(nothing.image, plain.image).identical


def test_what_fits_nothing_is_said(folder, matrices, tmp_path):
    file = tmp_path / "ink.safetensors"
    other = {f"x{key}" if "attn1" in key else key: value for key, value in peft(matrices, folder).items()}
    save_file(other, file)
    with pytest.warns(PictorWarning, match="1 of 4 layers|2 of 5 layers|left away"):
        pictor.load(folder, loras={file: 1.0})
    save_file({key.replace("unet.", "other."): v[:, :1].contiguous() for key, v in other.items()}, file)
    with pytest.raises(ModelError, match="another kind of model"):
        pictor.load(folder, loras={file: 1.0})
    for wrong in (float("nan"), 1000.0, "much"):
        with pytest.raises(ModelError, match="weight"):
            pictor.load(folder, loras={file: wrong})
    (tmp_path / "ink.ckpt").touch()
    with pytest.raises(ModelError, match="never loaded"):
        pictor.load(folder, loras={tmp_path / "ink.ckpt": 1.0})
    with pytest.raises(ModelError):
        pictor.load(folder, loras={tmp_path / "missing.safetensors": 1.0})


@pytest.mark.parametrize("alpha", [[1.0, 2.0], [], float("nan"), float("inf")])
def test_an_alpha_that_is_no_number_is_named(folder, matrices, tmp_path, alpha):
    file = tmp_path / "ink.safetensors"
    tensors = kohya(matrices, folder)
    name = next(key for key in tensors if key.endswith(".alpha"))
    save_file(tensors | {name: torch.tensor(alpha)}, file)
    with pytest.raises(ModelError, match=r"alpha.*one finite number"):
        open_bundle(folder, Opening(backend="torch", loras=(Lora(path=file),)))


def test_an_alpha_may_have_any_shape(folder, matrices, tmp_path):
    file = tmp_path / "ink.safetensors"
    tensors = kohya(matrices, folder)
    save_file({k: v.reshape(1, 1) if k.endswith(".alpha") else v for k, v in tensors.items()}, file)
    deltas, _ = read_loras(folder, ("unet", "text_encoder"), (Lora(path=file),))
    assert {delta.scale for [delta] in deltas["unet"].values()} == {ALPHA / RANK}


def test_an_adapter_of_no_rank_is_named(folder, matrices, tmp_path):
    file = tmp_path / "ink.safetensors"
    cut = {name: (down[:0], up[:, :0].contiguous()) for name, (down, up) in matrices.items()}
    save_file(kohya(cut, folder), file)
    with pytest.raises(ModelError, match="a rank of 1 or more"):
        open_bundle(folder, Opening(backend="torch", loras=(Lora(path=file),)))


def test_graphs_take_no_adapters(tiny_folder, tmp_path):
    with pytest.raises(pictor.InputError, match="without adapters"):
        pictor.load(tiny_folder, backend="onnx", loras={tmp_path / "a.safetensors": 1.0})


def test_original_names_are_those_of_the_published_model():
    """A few layers whose names are known from Stable Diffusion 1's own checkpoint."""
    config = {
        "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
        "layers_per_block": 2,
    }
    prefixes = unet_prefixes(config)
    known = {
        "conv_in": "input_blocks.0.0",
        "down_blocks.0.resnets.0.conv1": "input_blocks.1.0.in_layers.2",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.3.0.op",
        "down_blocks.1.resnets.0.conv_shortcut": "input_blocks.4.0.skip_connection",
        "down_blocks.2.attentions.1.proj_in": "input_blocks.8.1.proj_in",
        "down_blocks.3.resnets.1.norm2": "input_blocks.11.0.out_layers.0",
        "mid_block.resnets.1.time_emb_proj": "middle_block.2.emb_layers.1",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.2.1.conv",
        "up_blocks.1.upsamplers.0.conv": "output_blocks.5.2.conv",
        "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_k": (
            "output_blocks.11.1.transformer_blocks.0.attn2.to_k"
        ),
        "conv_out": "out.2",
    }
    assert {name: original_name(name, prefixes) for name in known} == known
    assert np.all([original_name(name, prefixes) is None for name in ("nothing", "down_blocks")])
