"""Adapters with the names of Flux's original code: the change of its fused layers, in those of diffusers."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

import tiny_families
from safetensors.torch import save_file

import pictor
from pictor import ModelError, PictorWarning
from pictor.families.bundle import Opening
from pictor.families.parts.lora import Lora
from pictor.families.registry import open_bundle

RANK, ALPHA, WEIGHT = 4, 2.0, 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_families.build("flux", tmp_path_factory.mktemp("lora") / "flux")


def weights(folder, part="transformer", *loras):
    """The matrices of a part, with adapters."""
    loads = open_bundle(folder, Opening(backend="torch", loras=loras)).prepare._loads
    module = next(load.__self__ for load in loads if load.__self__.part.subfolder == part)
    module.load()
    named = module._network.named_parameters()
    return {name.removesuffix(".weight"): weight for name, weight in named if weight.ndim > 1}


def fused(ours):
    """The original code's matrices, put together of those of diffusers."""

    def joined(prefix, *layers):
        return torch.cat([ours[f"{prefix}.{layer}"] for layer in layers])

    double, single, told = "transformer_blocks.0", "single_transformer_blocks.0", "time_text_embed"
    scale, shift = ours["norm_out.linear"].chunk(2)
    theirs = {
        "img_in": ours["x_embedder"],
        "txt_in": ours["context_embedder"],
        "double_blocks.0.img_mod.lin": joined(double, "norm1.linear"),
        "double_blocks.0.img_attn.qkv": joined(double, "attn.to_q", "attn.to_k", "attn.to_v"),
        "double_blocks.0.img_attn.proj": joined(double, "attn.to_out.0"),
        "double_blocks.0.img_mlp.0": joined(double, "ff.net.0.proj"),
        "double_blocks.0.img_mlp.2": joined(double, "ff.net.2"),
        "double_blocks.0.txt_mod.lin": joined(double, "norm1_context.linear"),
        "double_blocks.0.txt_attn.qkv": joined(
            double, "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"
        ),
        "double_blocks.0.txt_attn.proj": joined(double, "attn.to_add_out"),
        "double_blocks.0.txt_mlp.0": joined(double, "ff_context.net.0.proj"),
        "double_blocks.0.txt_mlp.2": joined(double, "ff_context.net.2"),
        "single_blocks.0.modulation.lin": joined(single, "norm.linear"),
        "single_blocks.0.linear1": joined(single, "attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
        "single_blocks.0.linear2": joined(single, "proj_out"),
        "final_layer.adaLN_modulation.1": torch.cat([shift, scale]),
        "final_layer.linear": ours["proj_out"],
    }
    for name, layer in (("time", "timestep"), ("vector", "text"), ("guidance", "guidance")):
        for at, place in enumerate(("in", "out"), 1):
            theirs[f"{name}_in.{place}_layer"] = ours[f"{told}.{layer}_embedder.linear_{at}"]
    assert sum(weight.numel() for weight in theirs.values()) == sum(w.numel() for w in ours.values())
    return theirs


@pytest.fixture(scope="module")
def matrices(folder):
    generator = torch.Generator().manual_seed(1)
    return {
        name: (
            torch.randn(RANK, weight.shape[1], generator=generator) * 0.3,
            torch.randn(weight.shape[0], RANK, generator=generator) * 0.3,
        )
        for name, weight in fused(weights(folder)).items()
    }


def kohya(matrices, begin="lora_unet"):
    tensors = {}
    for name, (down, up) in matrices.items():
        stem = f"{begin}_{name.replace('.', '_')}"
        tensors |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up}
        tensors[f"{stem}.alpha"] = torch.tensor(ALPHA)
    return tensors


def dotted(matrices):
    """Without alphas: scaled so that both layouts say the same."""
    tensors = {}
    for name, (down, up) in matrices.items():
        stem = f"diffusion_model.{name}"
        tensors |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up * (ALPHA / RANK)}
    return tensors


@pytest.mark.parametrize("layout", [kohya, dotted])
def test_fused_layers_change_as_in_the_original_code(folder, matrices, tmp_path, layout):
    file = tmp_path / "ink.safetensors"
    save_file(layout(matrices), file)
    before = fused(weights(folder))
    after = fused(weights(folder, "transformer", Lora(path=file, weight=WEIGHT)))
    for name, (down, up) in matrices.items():
        expected = before[name] + WEIGHT * (ALPHA / RANK) * (up @ down)
        torch.testing.assert_close(after[name], expected, atol=1e-5, rtol=1e-4)
        assert (after[name] - before[name]).abs().max() > 0.01


def test_diffusers_own_converter_says_the_same(folder, matrices, tmp_path):
    """Of all layers but one, whose sizes it takes to be the published model's."""
    from diffusers.loaders.lora_conversion_utils import _convert_kohya_flux_lora_to_diffusers

    known = {name: pair for name, pair in matrices.items() if name != "single_blocks.0.linear1"}
    tensors = kohya(known)
    for name in [name for name in tensors if "final_layer" in name and name.endswith("alpha")]:
        tensors[name] = torch.tensor(float(RANK))  # it leaves other alphas of these away
    file = tmp_path / "ink.safetensors"
    save_file(tensors, file)
    before, after = weights(folder), weights(folder, "transformer", Lora(path=file))
    theirs = _convert_kohya_flux_lora_to_diffusers(dict(tensors))
    downs = [name for name in theirs if name.endswith(".lora_A.weight")]
    assert len(downs) == sum(bool((after[name] - before[name]).any()) for name in before)
    for name in downs:
        layer = name.removeprefix("transformer.").removesuffix(".lora_A.weight")
        change = theirs[name.replace("lora_A", "lora_B")] @ theirs[name]
        torch.testing.assert_close(after[layer] - before[layer], change, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("begin", "part", "layer"),
    [
        ("lora_te1", "text_encoder", "text_model.encoder.layers.0.self_attn.q_proj"),
        ("lora_te3", "text_encoder_2", "encoder.block.0.layer.0.SelfAttention.q"),
    ],
)
def test_text_encoders_as_kohya_numbers_them(folder, tmp_path, begin, part, layer):
    generator = torch.Generator().manual_seed(2)
    down, up = torch.randn(RANK, 32, generator=generator), torch.randn(32, RANK, generator=generator)
    file = tmp_path / "ink.safetensors"
    save_file(kohya({layer: (down, up)}, begin), file)
    before, after = weights(folder, part), weights(folder, part, Lora(path=file))
    [changed] = [name for name in before if (after[name] - before[name]).any()]
    assert layer.endswith(changed)
    torch.testing.assert_close(after[changed] - before[changed], ALPHA / RANK * (up @ down))


def test_fused_layers_of_another_size_are_left_away(folder, matrices, tmp_path):
    down, up = matrices["double_blocks.0.img_attn.qkv"]
    file = tmp_path / "ink.safetensors"
    wrong = {"double_blocks.0.img_attn.qkv": (down, up[:-1].contiguous())}
    save_file(kohya(wrong), file)
    with pytest.raises(ModelError, match="fits no layer"):
        pictor.load(folder, loras={file: 1.0})
    save_file(kohya({**wrong, "img_in": matrices["img_in"]}), file)
    with pytest.warns(PictorWarning, match="1 of 2 layers"):
        pictor.load(folder, loras={file: 1.0})
