"""Tiny checkpoints of every family, with fixed random weights, as diffusers' own pipelines save them."""

import warnings
from pathlib import Path

import diffusers
import tiny
import torch
import transformers

LATENT_CHANNELS = 4
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;'\"-\n!?()"


def build(name: str, folder: Path) -> Path:
    """Write the checkpoint of this name (a key of MAKERS)."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        pipeline = MAKERS[name]()
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                _liven(part)
        pipeline.save_pretrained(folder, safe_serialization=True)
    return folder


def _liven(network: torch.nn.Module) -> None:
    """Random networks answer nearly zero, where no difference would show."""
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and any(part in name for part in ("conv_out", "proj_out", "decoder.conv_out")):
            torch.nn.init.normal_(parameter, std=0.06)


def unet(in_channels=LATENT_CHANNELS, **more):
    options = {
        "sample_size": 8,
        "in_channels": in_channels,
        "out_channels": LATENT_CHANNELS,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": (2, 4),
        "norm_num_groups": 32,
    }
    return diffusers.UNet2DConditionModel(**{**options, **more})


def autoencoder(channels=LATENT_CHANNELS, **more):
    return diffusers.AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=channels,
        norm_num_groups=32,
        sample_size=64,
        **more,
    )


def clip(projected=False, width=32):
    tokenizer = tiny.make_tokenizer()
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=64,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=1,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return kind(config).eval()


def clip_tokenizer():
    tokenizer = tiny.make_tokenizer()
    tokenizer.model_max_length = 77
    return tokenizer


def t5():
    config = transformers.T5Config(
        vocab_size=100, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu"
    )
    return transformers.T5EncoderModel(config).eval()


def t5_tokenizer():
    words = [(f"▁{word}", -2.0) for word in tiny.WORDS]
    pieces = [(letter, -6.0) for letter in LETTERS]
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0)]
    return transformers.T5Tokenizer(vocab=[*special, *words, *pieces][:100], extra_ids=0)


def gemma():
    config = transformers.Gemma2Config(
        vocab_size=100,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
    )
    return transformers.Gemma2Model(config).eval()


def gemma_tokenizer():
    names = ["<pad>", "<eos>", "<bos>", "<unk>", "▁", *LETTERS]
    return transformers.GemmaTokenizer(vocab={name: at for at, name in enumerate(names)}, merges=[])


def vp_scheduler(**more):
    return diffusers.DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **more,
    )


def _stable_diffusion(kind=diffusers.StableDiffusionPipeline, channels=LATENT_CHANNELS, **scheduler):
    return kind(
        vae=autoencoder(),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=unet(channels),
        scheduler=vp_scheduler(**scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def _xl(kind=diffusers.StableDiffusionXLPipeline, channels=LATENT_CHANNELS, refiner=False, **more):
    told = 5 if refiner else 6
    network = unet(
        channels,
        cross_attention_dim=32 if refiner else 64,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=32 + 8 * told,
    )
    return kind(
        vae=autoencoder(scaling_factor=0.13025),
        text_encoder=None if refiner else clip(),
        tokenizer=None if refiner else clip_tokenizer(),
        text_encoder_2=clip(projected=True),
        tokenizer_2=clip_tokenizer(),
        unet=network,
        scheduler=vp_scheduler(),
        add_watermarker=False,
        **more,
    )


def _sd3(t5_too=True):
    return diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            out_channels=16,
            pos_embed_max_size=16,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(16, scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=clip(projected=True, width=16),
        tokenizer=clip_tokenizer(),
        text_encoder_2=clip(projected=True, width=16),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5() if t5_too else None,
        tokenizer_3=t5_tokenizer() if t5_too else None,
    )


def _flux(guided=True):
    return diffusers.FluxPipeline(
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=guided,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift=3.0),
        vae=autoencoder(
            scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False, use_post_quant_conv=False
        ),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
    )


def _sana():
    return diffusers.SanaPipeline(
        tokenizer=gemma_tokenizer(),
        text_encoder=gemma(),
        vae=diffusers.AutoencoderDC(
            latent_channels=LATENT_CHANNELS,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.41407,
        ),
        transformer=diffusers.SanaTransformer2DModel(
            patch_size=1,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=32,
            sample_size=32,
        ),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


MAKERS = {
    "sd1": _stable_diffusion,
    "sd2": lambda: _stable_diffusion(prediction_type="v_prediction"),
    "sd1-inpaint": lambda: _stable_diffusion(diffusers.StableDiffusionInpaintPipeline, 9),
    "xl": _xl,
    "xl-refiner": lambda: _xl(
        diffusers.StableDiffusionXLImg2ImgPipeline,
        refiner=True,
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
    ),
    "xl-inpaint": lambda: _xl(diffusers.StableDiffusionXLInpaintPipeline, 9),
    "sd3": _sd3,
    "sd3-without-t5": lambda: _sd3(t5_too=False),
    "flux": _flux,
    "flux-quick": lambda: _flux(guided=False),
    "sana": _sana,
}
