"""Control networks and picture adapters against diffusers' own pipelines, to 1e-3."""

import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from peer import NEGATIVE, PICTURE, PROMPT, SCALE, STEPS, noise_of, ours, request, schedule

import pictor

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*has no effect:pictor.PictorWarning"),
]


CONTROLLED = [
    ("sd1", "StableDiffusionControlNetPipeline", 0.0),
    ("sd1", "StableDiffusionControlNetPipeline", 0.7),
    ("xl", "StableDiffusionXLControlNetPipeline", 1.0),
]


@pytest.mark.parametrize(("name", "kind", "weight"), CONTROLLED)
def test_pictures_that_follow_shapes(folder_of, tmp_path, name, kind, weight):
    folder = folder_of(name)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(4)
        unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
        network = diffusers.ControlNetModel.from_unet(unet, conditioning_channels=3)
        for parameter in network.parameters():  # its last layers begin as zeros
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.05)
        network.save_pretrained(tmp_path / "control")
        theirs = getattr(diffusers, kind).from_pretrained(
            folder, controlnet=network, torch_dtype=torch.float32
        )
    theirs.set_progress_bar_config(disable=True)
    studio = pictor.load(folder, controlnet=tmp_path / "control")
    noise = noise_of(studio)
    levels = schedule(theirs, "ddim")
    made = theirs(
        PROMPT,
        image=PICTURE,
        controlnet_conditioning_scale=weight,
        negative_prompt=NEGATIVE,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        num_images_per_prompt=2,
        latents=torch.from_numpy(noise),
        output_type="pt",
    ).images.numpy()
    wish = request(studio, "generate", control=PICTURE, control_weight=weight)
    mine = ours(studio, wish, levels, "ddim", state=noise)
    np.testing.assert_allclose(mine, made, atol=1e-3)
    plain = ours(studio, request(studio, "generate"), levels, "ddim", state=noise)
    assert (abs(plain - mine).max() > 0.01) == (weight > 0)


def picture_adapter(folder, unet, plus):
    """An adapter's file and image encoder with random weights, as they are published."""
    import transformers

    width, seen = unet.config.cross_attention_dim, 24
    torch.manual_seed(6)
    encoder = transformers.CLIPVisionModelWithProjection(
        transformers.CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            projection_dim=seen,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=28,
            patch_size=14,
        )
    )
    encoder.save_pretrained(folder / "image_encoder")
    if plus:
        projection = diffusers.models.embeddings.IPAdapterPlusImageProjection(
            embed_dims=32, output_dims=width, hidden_dims=64, depth=4, dim_head=64, heads=1, num_queries=4
        ).state_dict()
        parts = {
            "ln0": "0.norm1",
            "ln1": "0.norm2",
            "attn.to_q": "0.to_q",
            "attn.to_out.0": "0.to_out",
            "ff.0": "1.0",
            "ff.1.net.0.proj": "1.1",
            "ff.1.net.2": "1.3",
        }
        names = {name: name for name in ("norm_out", "proj_in", "proj_out", "latents")}
        for layer in range(4):
            names |= {f"layers.{layer}.{ours}": f"layers.{layer}.{theirs}" for ours, theirs in parts.items()}
        tensors = {}
        for ours, theirs in names.items():
            tensors |= {
                f"image_proj.{name.replace(ours, theirs)}": value
                for name, value in projection.items()
                if name.startswith(ours)
            }
        for layer in range(4):
            key, value = (projection[f"layers.{layer}.attn.to_{sign}.weight"] for sign in "kv")
            tensors[f"image_proj.layers.{layer}.0.to_kv.weight"] = torch.cat([key, value])
    else:
        tensors = {
            "image_proj.proj.weight": torch.randn(4 * width, seen) * 0.3,
            "image_proj.proj.bias": torch.zeros(4 * width),
            "image_proj.norm.weight": torch.ones(width),
            "image_proj.norm.bias": torch.zeros(width),
        }
    blocks = {"down": unet.config.block_out_channels, "up": unet.config.block_out_channels[::-1]}
    number = 1
    for name in unet.attn_processors:
        if name.endswith("attn2.processor"):
            way, _, rest = name.partition("_")
            channels = blocks[way][int(rest.split(".")[1])] if way in blocks else blocks["down"][-1]
            for part in ("to_k_ip", "to_v_ip"):
                tensors[f"ip_adapter.{number}.{part}.weight"] = torch.randn(channels, width) * 0.3
            number += 2
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "ip.safetensors")


LIKE = [
    ("sd1", "StableDiffusionPipeline", False),
    ("sd1", "StableDiffusionPipeline", True),
    ("xl", "StableDiffusionXLPipeline", False),
]


@pytest.mark.parametrize(("name", "kind", "plus"), LIKE)
def test_pictures_like_a_picture(opened, folder_of, tmp_path, name, kind, plus):
    import transformers

    theirs, _ = opened(name, kind)
    picture_adapter(tmp_path, theirs.unet, plus)
    size = {"shortest_edge": 28}
    theirs.register_modules(
        image_encoder=transformers.CLIPVisionModelWithProjection.from_pretrained(tmp_path / "image_encoder"),
        feature_extractor=transformers.CLIPImageProcessorPil(
            size=size, crop_size={"height": 28, "width": 28}
        ),
    )
    theirs.load_ip_adapter(
        str(tmp_path), subfolder="", weight_name="ip.safetensors", image_encoder_folder=None
    )
    theirs.set_ip_adapter_scale(0.7)
    studio = pictor.load(folder_of(name), ip_adapter=tmp_path / "ip.safetensors")
    noise = noise_of(studio)
    levels = schedule(theirs, "ddim")
    made = theirs(
        PROMPT,
        ip_adapter_image=PICTURE,
        negative_prompt=NEGATIVE,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        num_images_per_prompt=2,
        latents=torch.from_numpy(noise),
        output_type="pt",
    ).images.numpy()
    wish = request(studio, "generate", like=PICTURE, like_weight=0.7)
    mine = ours(studio, wish, levels, "ddim", state=noise)
    np.testing.assert_allclose(mine, made, atol=1e-3)
    without = ours(studio, request(studio, "generate"), levels, "ddim", state=noise)
    plain = pictor.load(folder_of(name))
    np.testing.assert_allclose(
        without, ours(plain, request(plain, "generate"), levels, "ddim", state=noise), atol=1e-4
    )
    assert abs(without - mine).max() > 0.01
