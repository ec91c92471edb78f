"""Folders of Stable Diffusion's shape open, and damage is one error that names the file."""

import json

import numpy as np
import pytest

from pictor import ModelError, PictorWarning
from pictor.core.errors import InputError
from pictor.core.levels import FlowPath
from pictor.families.parts.hashes import hash_weights
from pictor.families.registry import open_bundle


def edit(file, **changes):
    config = json.loads(file.read_text())
    file.write_text(
        json.dumps({key: value for key, value in {**config, **changes}.items() if value is not ...})
    )


def test_traits(tiny_folder):
    bundle = open_bundle(tiny_folder)
    traits = bundle.traits
    assert (bundle.backend, bundle.dtype) == ("onnx", "float32")
    assert (bundle.path, bundle.prediction) == (FlowPath(), "flow")
    assert (traits.latent_channels, traits.latent_stride, traits.stride) == (16, 8, 16)
    assert (traits.min_side, traits.max_side, traits.max_tokens) == (16, 256, 32)
    assert traits.abilities == {"text", "whole", "encode"}
    defaults = traits.defaults
    assert (defaults.size, defaults.solver, defaults.spacing) == ((64, 64), "euler", "uniform")


def test_own_defaults(tiny_copy):
    own = {
        "name": "first light",
        "defaults": {"num_steps": 9, "guidance_scale": 2, "size": [32, 64], "solver": "heun"},
        "sizes": {"min": 32, "max": 96},
        "provenance": {"corpus": "picturebook"},
    }
    (tiny_copy / "pictor.json").write_text(json.dumps(own))
    traits = open_bundle(tiny_copy).traits
    assert (traits.name, traits.min_side, traits.max_side) == ("first light", 32, 96)
    assert (traits.defaults.num_steps, traits.defaults.size) == (9, (32, 64))
    assert (traits.defaults.solver, traits.defaults.spacing) == ("heun", "uniform")


@pytest.mark.parametrize(
    "own",
    [
        [],
        {"defaults": {"steps": 3}},
        {"defaults": {"solver": "magic"}},
        {"defaults": {"size": 64}},
        {"defaults": []},
        {"sizes": {"max": "big"}},
        {"sizes": 3},
        {"sizes": {"min": 0}},
        {"sizes": {"min": 64, "max": 32}},
        {"sizes": {"max": float("inf")}},
        {"defaults": {"num_steps": float("inf")}},
        {"defaults": {"guidance_scale": 10**400}},
    ],
)
def test_damaged_own_defaults(tiny_copy, own):
    (tiny_copy / "pictor.json").write_text(json.dumps(own))
    with pytest.raises(ModelError, match=r"pictor\.json"):
        open_bundle(tiny_copy)


@pytest.mark.parametrize(
    "name",
    [
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
        "tokenizer/tokenizer.json",
    ],
)
@pytest.mark.parametrize("damage", [None, b"", b"{", b"[]", b"\xff\xfe"])
def test_damaged_texts_are_named(tiny_copy, name, damage):
    if damage is None:
        (tiny_copy / name).unlink()
    else:
        (tiny_copy / name).write_bytes(damage)
    with pytest.raises(ModelError, match=name.split("/")[-1]):
        open_bundle(tiny_copy)


@pytest.mark.parametrize(
    "name",
    [
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "cut", "garbage"])
def test_damaged_weights_are_named(tiny_copy, name, damage):
    file = tiny_copy / name
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"\xff" * 100)
    with pytest.raises(ModelError, match=str(file.parent)):
        open_bundle(tiny_copy)


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("model_index.json", {"_class_name": "KandinskyPipeline"}, "KandinskyPipeline"),
        ("model_index.json", {"_class_name": None}, "model_index"),
        ("model_index.json", {"unet": ["diffusers", "FluxTransformer2DModel"]}, "FluxTransformer2DModel"),
        ("model_index.json", {"vae": ...}, "vae"),
        ("unet/config.json", {"in_channels": 34}, "34 channels"),
        ("unet/config.json", {"block_out_channels": ...}, "config.json"),
        ("vae/config.json", {"latent_channels": "many"}, "config.json"),
    ],
)
def test_what_this_family_does_not_do_is_refused(tiny_copy, name, changes, says):
    edit(tiny_copy / name, **changes)
    with pytest.raises(ModelError, match=says):
        open_bundle(tiny_copy)


def test_a_missing_folder(tmp_path):
    with pytest.raises(ModelError, match="nowhere"):
        open_bundle(tmp_path / "nowhere")


def test_an_unknown_backend(tiny_folder):
    with pytest.raises(InputError, match="onnx"):
        open_bundle(tiny_folder, "quantum")


def test_missing_graphs(tiny_copy):
    (tiny_copy / "unet" / "model.onnx").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx"):
        open_bundle(tiny_copy, "onnx")
    assert open_bundle(tiny_copy, "auto").backend == "torch"


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_damaged_graph_is_one_error_when_it_is_run(tiny_copy, part):
    (tiny_copy / part / "model.onnx").write_bytes(b"no graph")
    bundle = open_bundle(tiny_copy)
    bundle.prepare()
    with pytest.raises(ModelError, match=r"model\.onnx"):
        run_once(bundle)


def run_once(bundle):
    x = np.zeros((1, 16, 8, 8), np.float32)
    embeds = {key: value[None] for key, value in bundle.encode_prompt("a").items()}
    return bundle.network(x, np.array([500.0]), embeds)


def test_the_hash_follows_the_weights(tiny_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("PICTOR_HOME", str(tmp_path / "home"))
    first = open_bundle(tiny_copy).model_hash
    assert len(first) == 64
    assert open_bundle(tiny_copy).model_hash == first
    edit(tiny_copy / "unet" / "config.json", note="no weights")
    assert open_bundle(tiny_copy).model_hash == first
    file = tiny_copy / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert open_bundle(tiny_copy).model_hash != first


def test_the_hash_needs_no_cache(tmp_path, monkeypatch):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"abc")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder is wanted")
    monkeypatch.setenv("PICTOR_HOME", str(blocked))
    first = hash_weights(tmp_path, [weights])
    home = tmp_path / "home"
    monkeypatch.setenv("PICTOR_HOME", str(home))
    assert hash_weights(tmp_path, [weights]) == first
    (home / "cache" / "weights.json").write_text('["damaged"]')
    assert hash_weights(tmp_path, [weights]) == first


def test_prompts_are_encoded_once(tiny_folder):
    bundle = open_bundle(tiny_folder)
    first = bundle.encode_prompt("a cat")["encoder_hidden_states"]
    assert bundle.encode_prompt("A  cat")["encoder_hidden_states"] is first


def test_long_prompts_are_read_in_chunks(tiny_folder):
    bundle = open_bundle(tiny_folder)
    long = "a red cat " * 30
    count = bundle.count_chunks(long)
    assert count > 1
    alone = bundle.encode_prompt("a cat")["encoder_hidden_states"]
    filled = bundle.encode_prompt("a cat", chunks=count)["encoder_hidden_states"]
    assert bundle.encode_prompt(long)["encoder_hidden_states"].shape == filled.shape
    np.testing.assert_array_equal(filled[: len(alone)], alone)


def test_what_no_chunk_can_hold_is_said_each_time(tiny_folder):
    bundle = open_bundle(tiny_folder)
    long = "a red cat " * 200
    for _ in range(2):
        with pytest.warns(PictorWarning, match="this was cut: '.*cat a red cat"):
            bundle.encode_prompt(long)


def test_stress_moves_words_away_from_the_empty_prompt(tiny_folder):
    encode = open_bundle(tiny_folder).encode_prompt
    empty, plain, twice, none = (
        encode(text)["encoder_hidden_states"]
        for text in ("", "a red apple", "(a red apple:2)", "(a red apple:0)")
    )
    changed = abs(twice - plain).max(1) > 1e-3
    assert 0 < changed.sum() < len(plain)
    np.testing.assert_allclose(twice[changed], (2 * plain - empty)[changed], atol=1e-5)
    np.testing.assert_allclose(none[changed], empty[changed], atol=1e-5)
    np.testing.assert_array_equal(encode("(a red apple:1)")["encoder_hidden_states"], plain)


def test_embeddings_are_those_of_transformers(tiny_folder):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(tiny_folder / "tokenizer")
    encoder = transformers.CLIPTextModel.from_pretrained(tiny_folder / "text_encoder", dtype=torch.float32)
    ids = tokenizer("a red apple", padding="max_length", return_tensors="pt").input_ids
    theirs = encoder(ids).last_hidden_state.detach().numpy()[0]
    ours = open_bundle(tiny_folder).encode_prompt("a red apple")["encoder_hidden_states"]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_encoding_and_decoding_scale_latents(tiny_folder):
    bundle = open_bundle(tiny_folder)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    latents = bundle.autoencoder.encode(image)
    assert latents.shape == (1, 16, 8, 8)
    raw = bundle.autoencoder._encoder.run(image=image)["latent"]
    np.testing.assert_allclose(latents, raw * 0.8, rtol=1e-6)
    decoded = bundle.autoencoder.decode(latents)
    np.testing.assert_allclose(decoded, bundle.autoencoder._decoder.run(latent=raw)["image"], atol=1e-4)


@pytest.mark.parametrize("factor", ["big", [], float("nan"), 0, 10**400])
def test_damaged_factors_of_the_latents_are_named(tiny_copy, factor):
    edit(tiny_copy / "vae" / "config.json", scaling_factor=factor)
    with pytest.raises(ModelError, match=r"vae/config\.json"):
        open_bundle(tiny_copy)


@pytest.mark.parametrize(
    ("large", "gpu", "backend"), [(True, True, "torch"), (True, False, "onnx"), (False, True, "onnx")]
)
def test_large_models_go_to_a_gpu_by_themselves(tiny_folder, monkeypatch, large, gpu, backend):
    """Graphs run on the CPU; where they are there, a small model takes them without asking for a GPU."""
    import torch

    import pictor
    from pictor.families.parts import opening

    monkeypatch.setattr(opening, "_LARGE", 0 if large else 1e15)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(opening, "_GPU_SIGNS", ["/"] if gpu else [])
    assert pictor.load(tiny_folder).bundle.backend == backend
