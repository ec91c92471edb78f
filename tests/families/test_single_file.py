"""One file of the original layout: diffusers reads ours as we do, and the pictures are the folder's."""

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import json

import tiny_families
from safetensors.torch import load_file, save_file

import pictor
from pictor import InputError, ModelError
from pictor.engine.reproduce import compare
from pictor.families.parts.ldm import original_name, unet_prefixes
from pictor.families.parts.ldm_rest import clip_name, open_clip_name, vae_name
from pictor.families.parts.single_file import open_single_file

VAE_NAMES = {
    "conv_norm_out": "norm_out",
    "conv_shortcut": "nin_shortcut",
    "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_q": "mid.attn_1.q",
    "mid_block.attentions.0.to_k": "mid.attn_1.k",
    "mid_block.attentions.0.to_v": "mid.attn_1.v",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out",
    "mid_block.resnets.0": "mid.block_1",
    "mid_block.resnets.1": "mid.block_2",
    "downsamplers.0": "downsample",
    "upsamplers.0": "upsample",
}


def original_vae(name, levels):
    """diffusers' name of an autoencoder's tensor in the original layout."""
    for ours, theirs in VAE_NAMES.items():
        name = name.replace(ours, theirs)
    for level in range(levels):
        name = name.replace(f"down_blocks.{level}.", f"down.{level}.")
        name = name.replace(f"up_blocks.{level}.", f"up.{levels - 1 - level}.")
    return name.replace(".resnets.", ".block.")


def original_text(tensors, xl):
    """A text encoder as OpenCLIP has it (xl), else as it is."""
    if not xl:
        return {f"text_model.{name.removeprefix('text_model.')}": t for name, t in tensors.items()}
    single = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight",
        "final_layer_norm.bias": "ln_final.bias",
        "text_projection.weight": "text_projection",
    }
    parts = {
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    made, attention = {}, {}
    for full, tensor in tensors.items():
        name = full.removeprefix("text_model.")
        if name in single:
            made[single[name]] = tensor.T.contiguous() if name == "text_projection.weight" else tensor
            continue
        _, _, layer, rest = name.split(".", 3)
        part, kind = rest.rsplit(".", 1)
        if part in parts:
            made[f"transformer.resblocks.{layer}.{parts[part]}.{kind}"] = tensor
        else:
            attention.setdefault((layer, kind), {})[part[-6]] = tensor
    for (layer, kind), found in attention.items():
        joined = torch.cat([found[sign] for sign in "qkv"])
        made[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = joined
    return made


def one_file(folder, path, xl=False):
    """The folder's tensors in the original layout, in one file."""
    config = json.loads((folder / "unet" / "config.json").read_text())
    prefixes = unet_prefixes(config)
    tensors = {
        f"model.diffusion_model.{original_name(name, prefixes)}": tensor
        for name, tensor in load_file(folder / "unet" / "diffusion_pytorch_model.safetensors").items()
    }
    levels = 4
    for name, tensor in load_file(folder / "vae" / "diffusion_pytorch_model.safetensors").items():
        called = original_vae(name, levels)
        pixel = ".attn_1." in called and ".norm." not in called and called.endswith("weight")
        tensors[f"first_stage_model.{called}"] = tensor[..., None, None] if pixel else tensor
    text = load_file(folder / "text_encoder" / "model.safetensors")
    begin = "conditioner.embedders.0.transformer." if xl else "cond_stage_model.transformer."
    tensors |= {begin + name: tensor for name, tensor in original_text(text, False).items()}
    if xl:
        second = load_file(folder / "text_encoder_2" / "model.safetensors")
        begin = "conditioner.embedders.1.model."
        tensors |= {begin + name: tensor for name, tensor in original_text(second, True).items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return path


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    room = tmp_path_factory.mktemp("single")
    made = {}
    for name in ("sd1", "sd1-inpaint", "xl"):
        made[name] = tiny_families.build(name, room / name)
        # As the published ones: 8 heads at first, later heads of 64 channels.
        file = made[name] / "unet" / "config.json"
        config = json.loads(file.read_text())
        config["attention_head_dim"] = 8
        file.write_text(json.dumps(config))
        one_file(made[name], room / f"{name}.safetensors", xl=name == "xl")
    return made


def path_of(folders, name):
    return folders[name].with_suffix(".safetensors")


@pytest.mark.parametrize("name", ["sd1", "sd1-inpaint", "xl"])
def test_every_tensor_arrives_under_its_name(folders, name):
    folder = open_single_file(path_of(folders, name), tokenizer=folders[name] / "tokenizer")
    for part in ("unet", "vae", "text_encoder", *(["text_encoder_2"] if name == "xl" else [])):
        file = "model.safetensors" if part.startswith("text") else "diffusion_pytorch_model.safetensors"
        ours, theirs = load_file(folder / part / file), load_file(folders[name] / part / file)
        theirs = {key if part in ("unet", "vae") else _prefixed(key): value for key, value in theirs.items()}
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def _prefixed(name):
    plain = name.removeprefix("text_model.")
    return plain if plain.startswith("text_projection") else f"text_model.{plain}"


def test_diffusers_reads_the_file_that_these_tests_make(folders):
    """So that the layout is the published one, and not a guess of ours."""
    theirs = diffusers.StableDiffusionPipeline.from_single_file(
        str(path_of(folders, "sd1")), config=str(folders["sd1"]), local_files_only=True
    )
    for part in ("unet", "vae"):
        expected = load_file(folders["sd1"] / part / "diffusion_pytorch_model.safetensors")
        found = getattr(theirs, part).state_dict()
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_the_pictures_are_those_of_the_folder(folders):
    wish = {"num_steps": 2, "size": (64, 64), "seed": 3}
    one = pictor.load(path_of(folders, "sd1"), tokenizer=folders["sd1"] / "tokenizer")
    [ours] = one.generate("a red cat", **wish)
    whole = pictor.load(folders["sd1"])
    assert one.traits.prediction == whole.traits.prediction == "eps"
    defaults = {"solver": one.traits.defaults.solver, "spacing": one.traits.defaults.spacing}
    [theirs] = whole.generate("a red cat", guidance_scale=7.5, **defaults, **wish)
    assert compare(ours.image, theirs.image).maximum <= 1
    again = pictor.load(path_of(folders, "sd1"), tokenizer=folders["sd1"] / "tokenizer")
    assert again.bundle.model_hash == one.bundle.model_hash
    v = pictor.load(path_of(folders, "sd1"), tokenizer=folders["sd1"] / "tokenizer", prediction="v")
    assert v.traits.prediction == "v"
    inpaints = pictor.load(path_of(folders, "sd1-inpaint"), tokenizer=folders["sd1"] / "tokenizer")
    assert inpaints.traits.sees_mask


def test_what_is_no_checkpoint_is_said(folders, tmp_path, monkeypatch):
    file = tmp_path / "lora.safetensors"
    save_file({"lora_unet_x.lora_down.weight": torch.zeros(1, 1)}, file)
    with pytest.raises(ModelError, match="adapter is given with --lora"):
        pictor.load(file)
    tensors = load_file(path_of(folders, "sd1"))
    for prefix, words in (("first_stage_model.encoder", "autoencoder"), ("cond_stage_model", "text encoder")):
        save_file({name: t for name, t in tensors.items() if not name.startswith(prefix)}, file)
        with pytest.raises(ModelError, match=words):
            pictor.load(file, tokenizer=folders["sd1"] / "tokenizer")
    with pytest.raises(ModelError, match="no tokenizer"):
        pictor.load(path_of(folders, "sd1"), tokenizer=tmp_path)
    with pytest.raises(InputError, match="eps or v"):
        pictor.load(path_of(folders, "sd1"), prediction="x0")
    with pytest.raises(InputError, match="no single file"):
        pictor.load(folders["sd1"], prediction="v")
    shutil.copyfile(path_of(folders, "sd1"), file)
    with file.open("r+b") as stream:
        stream.truncate(5000)
    with pytest.raises(ModelError, match="damaged"):
        pictor.load(file)


def test_known_names():
    assert vae_name("decoder.up.3.block.0.conv1.weight", 4) == (
        "decoder.up_blocks.0.resnets.0.conv1.weight",
        "same",
    )
    assert vae_name("encoder.mid.attn_1.q.weight", 4) == (
        "encoder.mid_block.attentions.0.to_q.weight",
        "squeeze",
    )
    assert vae_name("loss.logvar", 4) is None
    assert clip_name("text_model.embeddings.position_ids") is None
    assert open_clip_name("transformer.resblocks.3.attn.in_proj_bias") == (
        "text_model.encoder.layers.3.self_attn.{}.bias",
        "split",
    )
    assert open_clip_name("logit_scale") is None
    assert np.all([open_clip_name("transformer.resblocks.0.unknown.weight") is None])
