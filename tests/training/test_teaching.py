"""Adapters, learnt words and DreamBooth: what learns, what stays, and files that diffusers opens alike."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
pytest.importorskip("pyarrow")

from peer import NEGATIVE, PROMPT, SCALE, STEPS, noise_of, ours, request, schedule
from safetensors import safe_open
from safetensors.torch import load_file

import pictor
from pictor.cli import main
from pictor.core.errors import InputError, ModelError
from pictor.core.predictions import Mixture, x0_weights
from pictor.engine.reproduce import compare, reproduce
from pictor.training import teaching
from pictor.training.base_model import snr_weight
from pictor.training.loop import train
from pictor.training.objectives import build
from pictor.training.recipe import Recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PIPELINES = {
    "sd1": "StableDiffusionPipeline",
    "sd2": "StableDiffusionPipeline",
    "xl": "StableDiffusionXLPipeline",
    "embedded": "StableDiffusionPipeline",
}
WISH = {"num_steps": 2, "size": (64, 64), "seed": 3}
LORA = {"kind": "lora", "rank": 3, "alpha": 1.5, "text_rate": 0.5}
ALL = {"targets": ["attention", "feed-forward", "convolutions"]}
WORD = {"kind": "textual_inversion", "token": "<cup>", "initial": "apple", "instance": "a red <cup>"}


@pytest.fixture(scope="module")
def data(taught_pictures) -> Path:
    return taught_pictures


def trained(run: Path, base: Path, data: Path | None, steps: int = 2, rate: float = 0.05, **table) -> Path:
    objective = {"base": str(base), "size": 64, "data": str(data), **table}
    recipe = Recipe(
        name="taught",
        samples=4 * steps,
        batch_size=4,
        ema_widths=(0.1,),
        preview_minutes=0,
        optimiser={"learning_rate": rate, "warm_up": 0.0},
        objective=objective,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries' remarks on tiny configurations
        outcome = train(recipe, run, device="cpu")
    assert outcome.model is not None
    return outcome.model


def digest(folder: Path) -> str:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def theirs_of(name: str, base: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = getattr(diffusers, PIPELINES[name]).from_pretrained(base, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def same_pictures(theirs, studio, prompt: str) -> np.ndarray:
    """The pictures of both, which are alike to 1e-3."""
    solver = "flow" if theirs.scheduler.config.get("use_flow_sigmas") else "ddim"
    noise, levels = noise_of(studio), schedule(theirs, solver)
    made = theirs(
        prompt,
        negative_prompt=NEGATIVE,
        guidance_scale=SCALE,
        num_inference_steps=STEPS,
        num_images_per_prompt=2,
        latents=torch.from_numpy(noise),
        output_type="pt",
    ).images.numpy()
    mine = ours(studio, request(studio, "generate", prompt=prompt), levels, solver, state=noise)
    np.testing.assert_allclose(mine, made, atol=1e-3)
    return mine


@pytest.mark.parametrize("name", PIPELINES)
def test_an_adapter_is_what_diffusers_loads(name, base_of, data, tmp_path):
    pytest.importorskip("peft")
    base = base_of(name)
    before = digest(base)
    rate = 0.002 if name == "embedded" else 0.05
    model = trained(tmp_path / "run", base, data, rate=rate, **LORA, **ALL)
    assert digest(base) == before
    file = model / "pytorch_lora_weights.safetensors"
    with safe_open(file, "pt") as opened:
        told = json.loads(opened.metadata()["lora_adapter_metadata"])
    assert (told["unet.r"], told["unet.lora_alpha"], told["text_encoder.lora_alpha"]) == (3, 1.5, 1.5)
    assert any(".conv1." in key for key in load_file(file))
    assert ("text_encoder_2.r" in told) == (name == "xl")
    theirs, plain = theirs_of(name, base), pictor.load(base)
    untaught = same_pictures(theirs, plain, PROMPT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.load_lora_weights(model)
    taught = same_pictures(theirs, pictor.load(base, loras={file: 1.0}), PROMPT)
    assert abs(taught - untaught).max() > 0.02
    [of_run] = pictor.load(tmp_path / "run").generate(PROMPT, **WISH)
    [with_file] = pictor.load(base, loras={file: 1.0}).generate(PROMPT, **WISH)
    assert compare(of_run.image, with_file.image).identical
    assert compare(reproduce(of_run.recipe, pictor.load(model)).image, of_run.image).identical
    [nothing] = pictor.load(base, loras={file: 0.0}).generate(PROMPT, **WISH)
    [without] = plain.generate(PROMPT, **WISH)
    assert compare(nothing.image, without.image).identical


@pytest.mark.parametrize(("name", "vectors"), [("sd1", 1), ("xl", 3), ("embedded", 2)])
def test_a_learnt_word_is_what_diffusers_loads(name, vectors, base_of, data, tmp_path):
    base = base_of(name)
    before = digest(base)
    rate = 0.02 if name == "embedded" else 0.5
    model = trained(tmp_path / "run", base, data, rate=rate, **WORD, vectors=vectors)
    assert digest(base) == before
    file = model / "learned_embeds.safetensors"
    theirs, prompt = theirs_of(name, base), "a blue <cup> on the grass"
    tensors = load_file(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "xl":
            for key, end in (("clip_l", ""), ("clip_g", "_2")):
                parts = {part: getattr(theirs, f"{part}{end}") for part in ("text_encoder", "tokenizer")}
                theirs.load_textual_inversion(tensors[key], token="<cup>", **parts)
        else:
            theirs.load_textual_inversion(model)
    assert all(len(rows) == vectors for rows in tensors.values())
    taught = same_pictures(theirs, pictor.load(base, embeddings=[file]), prompt)
    plain = pictor.load(base)
    untaught = same_pictures(theirs, plain, prompt.replace("<cup>", "apple"))
    assert abs(taught - untaught).max() > 0.02
    [of_run] = pictor.load(tmp_path / "run").generate(prompt, **WISH)
    [with_file] = pictor.load(base, embeddings=[file]).generate(prompt, **WISH)
    assert compare(of_run.image, with_file.image).identical


@pytest.mark.parametrize("name", ["sd1", "xl"])
def test_all_of_a_model_learns(name, base_of, data, tmp_path):
    base = base_of(name)
    before = digest(base)
    wish = {"kind": "fine_tuning", "text_rate": 0.1, "num_steps": 7}
    model = trained(tmp_path / "run", base, data, rate=1e-3, **wish)
    assert digest(base) == before
    taught = same_pictures(theirs_of(name, model), pictor.load(model), PROMPT)
    plain = pictor.load(base)
    levels = schedule(theirs_of(name, base), "ddim")
    untaught = ours(plain, request(plain, "generate"), levels, "ddim", state=noise_of(plain))
    assert abs(taught - untaught).max() > 0.02
    assert pictor.load(model).traits.defaults.num_steps == 7
    kinds = {file.suffix for file in model.rglob("*") if file.is_file()}
    assert kinds <= {".json", ".safetensors", ".txt"}


def test_a_base_of_few_steps_is_guided_unless_it_is_trusted(base_of, data, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(base_of("sd1"), base)
    few = {"num_steps": 4, "guidance_scale": 1.0, "solver": "euler", "spacing": "uniform", "size": [64, 64]}
    (base / "pictor.json").write_text(json.dumps({"name": "few", "defaults": few}))

    def saved(run, base, **wish):
        defaults = pictor.load(
            trained(tmp_path / run, base, data, kind="fine_tuning", **wish)
        ).traits.defaults
        return defaults.num_steps, defaults.guidance_scale, defaults.solver

    assert saved("guided", base) == (20, 3.0, "dpmpp_2m")
    assert saved("trusted", base, keeps_few_steps=True) == (4, 1.0, "euler")
    assert saved("told", base, num_steps=6, guidance_scale=2.0) == (6, 2.0, "dpmpp_2m")
    plain = pictor.load(base_of("sd1")).traits.defaults
    assert saved("plain", base_of("sd1")) == (plain.num_steps, plain.guidance_scale, plain.solver)


@pytest.mark.parametrize(
    "table",
    [LORA | {"targets": ["convolutions"]}, WORD | {"vectors": 2}, {"kind": "fine_tuning"}],
    ids=lambda table: table["kind"],
)
@pytest.mark.parametrize("name", ["sd2", "xl"])
def test_losses_fall_and_only_what_is_meant_learns(table, name, base_of, data, monkeypatch):
    monkeypatch.setattr(teaching, "_JUDGED", 8)
    torch.manual_seed(0)
    objective = build({"base": str(base_of(name)), "size": 64, "data": str(data), **table}, 0)
    batch = objective.batch(0, 4)
    frozen = {key: weight.clone() for key, weight in objective.base.named_parameters()}
    learns = {id(weight) for weight in objective.module.parameters()}
    with torch.no_grad():
        before = objective.loss(batch)[0]
    # What is said moves a network of random weights little.
    rate, least = (0.1, 1.0) if table["kind"] == "textual_inversion" else (0.01, 0.97)
    optimiser = torch.optim.Adam(objective.module.parameters(), lr=rate)
    for _ in range(12):
        optimiser.zero_grad()
        objective.loss(batch)[0].backward()
        optimiser.step()
    with torch.no_grad():
        after = objective.loss(batch)[0]
        judged = objective.validate()
    assert after < least * before
    assert judged.keys() == {f"seen_mse_t{time}" for time in (0.1, 0.3, 0.5, 0.7, 0.9)}
    for key, weight in objective.base.named_parameters():
        assert id(weight) in learns or torch.equal(weight, frozen[key]), key


def test_an_untrained_adapter_changes_nothing(base_of, data):
    table = {"base": str(base_of("sd1")), "size": 64, "data": str(data)}
    torch.manual_seed(0)
    plain, adapted = build(table | {"kind": "fine_tuning"}, 0), build(table | LORA | ALL, 0)
    batch = plain.batch(0, 4)
    with torch.no_grad():
        assert torch.equal(plain.loss(batch)[0], adapted.loss(batch)[0])


def test_a_batch_of_prior_preservation_holds_both(base_of, data, monkeypatch):
    from pictor.training import prior_pictures

    base = base_of("sd1")
    prior = {"prior": ["a blue dog", "a green star"], "prior_count": 3, "prior_weight": 0.25}
    table = {"base": str(base), "size": 64, "data": str(data), "kind": "fine_tuning", **prior}
    objective = build(table, 5)
    objective.batches_of(4)
    batch = objective.batch(4, 4)
    assert batch["weight"].tolist() == [1, 0.25, 1, 0.25]
    drawn = pictor.load(base).generate(["a blue dog", "a green star", "a blue dog"], seed=5, size=(64, 64))
    told = objective.base.tokenizers["text_encoder"].batch_decode(batch["ids"], skip_special_tokens=True)
    for row, number in ((1, 2), (3, 0)):  # samples 5 and 7, the third and the fourth of the prior
        np.testing.assert_array_equal(batch["image"][row], np.asarray(drawn[number].image))
        assert told[row] in ("a blue dog", "")
    assert all(text in ("a red cat", "") for text in (told[0], told[2]))
    again = pickle.loads(pickle.dumps(objective.drawer()))(4, 4)
    for key, value in batch.items():
        np.testing.assert_array_equal(again[key], value.numpy())
    loss, _ = objective.loss(batch)
    error = objective.base.squared_error(batch)
    torch.testing.assert_close(loss, (error * batch["weight"]).mean())

    class Studio:
        bundle = pictor.load(base).bundle

        def generate(self, *args, **wish):
            raise AssertionError("they are drawn again")

    monkeypatch.setattr(prior_pictures, "load", lambda folder: Studio())
    build(table, 5)  # the pictures are kept
    with pytest.raises(AssertionError, match="drawn again"):
        build(table, 6)


def test_weights_of_min_snr():
    """One number at every level: min(SNR, gamma) times the error of x0, whatever is predicted."""
    gamma, f = 5.0, torch.tensor(0.3)
    for share in (0.02, 0.3, 0.9, 0.999):
        for kind, alpha, sigma in (
            ("eps", (1 - share) ** 0.5, share**0.5),
            ("v", (1 - share) ** 0.5, share**0.5),
            ("x0", (1 - share) ** 0.5, share**0.5),
            ("flow", 1 - share, share),
        ):
            level = Mixture(torch.tensor(alpha), torch.tensor(sigma))
            _, moved = x0_weights(kind, Mixture(alpha, sigma))
            wanted = min((alpha / sigma) ** 2, gamma) * (moved * f) ** 2
            torch.testing.assert_close(snr_weight(kind, level, gamma) * f**2, wanted, rtol=1e-4, atol=1e-6)


def test_a_weighed_loss_is_another(base_of, data):
    table = {"base": str(base_of("sd1")), "size": 64, "data": str(data), "kind": "fine_tuning"}
    plain, weighed = build(table, 0), build(table | {"min_snr_gamma": 1.0}, 0)
    batch = plain.batch(0, 4)
    with torch.no_grad():
        assert weighed.loss(batch)[0] < plain.loss(batch)[0]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (LORA | {"targets": ["attention", "noses"]}, "targets"),
        (LORA | {"targets": []}, "targets"),
        (WORD | {"token": "cup"}, "token"),
        (WORD | {"instance": "a cup"}, "a caption is 'a cup'; expected captions with the word <cup>"),
        (WORD | {"instance": None}, "a caption is ''|a caption is 'a red cat'"),
        (WORD | {"token": "<|startoftext|>"}, "a caption is"),
        (
            WORD | {"token": "<|endoftext|>", "instance": "a <|endoftext|>"},
            r"knows the token <\|endoftext\|> already",
        ),
        ({"kind": "fine_tuning", "prior": ["a dog", " "]}, "a prompt of prior is empty"),
        ({"kind": "fine_tuning", "prior_weight": 2.0}, "none is given"),
        ({"kind": "fine_tuning", "size": 128}, "about 128x128"),
    ],
)
def test_bad_recipes_are_one_error(table, words, base_of, data):
    with pytest.raises(InputError, match=words):
        build({"base": str(base_of("sd1")), "size": 64, "data": str(data), **table}, 0)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flux", "is a FluxPipeline, which cannot be taught this way"),
        ("xl-refiner", "is a StableDiffusionXLImg2ImgPipeline"),
        ("sd1-inpaint", "is a StableDiffusionInpaintPipeline"),
    ],
)
def test_what_is_not_of_the_shape_of_stable_diffusion(name, words, base_of, data):
    with pytest.raises(InputError, match=words):
        build({"base": str(base_of(name)), "size": 64, "data": str(data), **LORA}, 0)
    with pytest.raises(ModelError, match=r"model_index\.json"):
        build({"base": str(data), "size": 64, "data": str(data), **LORA}, 0)


def test_pictures_without_captions_need_one(base_of, tmp_path):
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    Image.new("RGB", (64, 64), "red").save(pictures / "one.png")
    assert main(["data", "prepare", str(pictures), "--out", str(out), "--size", "64", "--val", "0"]) == 0
    table = {"base": str(base_of("sd1")), "size": 64, "data": str(out), **LORA}
    with pytest.raises(InputError, match=r"none of the pictures of .* has a caption"):
        build(table, 0)
    objective = build(table | {"instance": "a red dog", "empty_captions": 0.0}, 0)
    [told] = objective.base.tokenizers["text_encoder"].batch_decode(
        objective.batch(0, 1)["ids"], skip_special_tokens=True
    )
    assert told == "a red dog"
