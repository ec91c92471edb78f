"""The folder that tests stand on is a plain diffusers folder."""

import warnings

import numpy as np
import torch
from tokenizers import Tokenizer


def test_it_opens_as_a_plain_pipeline(tiny_folder):
    from diffusers import StableDiffusionPipeline

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the pipeline's own, on NumPy 2
        pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, dtype=torch.float32)
        pipeline.set_progress_bar_config(disable=True)
        (picture,) = pipeline(
            "a red cat",
            num_inference_steps=2,
            guidance_scale=3.0,
            height=64,
            width=64,
            generator=torch.Generator().manual_seed(0),
        ).images
    assert picture.size == (64, 64)
    assert np.ptp(np.asarray(picture)) > 0
    assert type(pipeline.vae).__name__ == "AutoencoderTiny"


def test_its_tokenizer_opens_without_transformers(tiny_folder):
    tokenizer = Tokenizer.from_file(str(tiny_folder / "tokenizer" / "tokenizer.json"))
    tokens = tokenizer.encode("a red cat, 猫").tokens
    assert tokens[:4] == ["<|startoftext|>", "a</w>", "red</w>", "cat</w>"]
    assert tokens[-1] == "<|endoftext|>"
    assert "<|endoftext|>" not in tokens[:-1]  # every byte has a token of its own
