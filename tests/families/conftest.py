"""What the comparisons with diffusers share."""

import warnings

import pytest


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Tiny checkpoints by name, each built once."""
    tiny_families = pytest.importorskip("tiny_families")
    made = {}

    def folder(name):
        if name not in made:
            made[name] = tiny_families.build(name, tmp_path_factory.mktemp("families") / name)
        return made[name]

    return folder


@pytest.fixture
def opened(folder_of, monkeypatch):
    """Their pipeline of a class, and our studio, on the same folder."""
    import diffusers
    import torch
    from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

    import pictor

    # Their encoders draw from a distribution, ours take its mode.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())

    def both(name, kind):
        folder = folder_of(name)
        absent = {"text_encoder_3": None, "tokenizer_3": None} if name == "sd3-without-t5" else {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = getattr(diffusers, kind).from_pretrained(folder, torch_dtype=torch.float32, **absent)
        theirs.set_progress_bar_config(disable=True)
        return theirs, pictor.load(folder)

    return both
