"""Training on a prepared folder of one's own pictures."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

import pictor
from pictor.cli import main
from pictor.core.errors import InputError, PictorError
from pictor.training.loop import train
from pictor.training.objectives import build
from pictor.training.recipe import Recipe

SIZES = ((64, 64), (100, 60), (60, 100))
COLOURS = ("red", "green", "blue")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty plain pictures of three shapes; a colour has a shape."""
    pictures, out = tmp_path_factory.mktemp("pictures"), tmp_path_factory.mktemp("prepared") / "out"
    for number in range(30):
        kind = number % 3
        pixels = np.full((SIZES[kind][1], SIZES[kind][0], 3), 30, np.uint8)
        pixels[..., kind] = 200 - number
        Image.fromarray(pixels).save(pictures / f"{number:02d}.png")
        (pictures / f"{number:02d}.txt").write_text(f"a {COLOURS[kind]} field", encoding="utf-8")
    options = ["--size", "64", "--buckets", "--step", "16", "--val", "0.3", "--json"]
    assert main(["data", "prepare", str(pictures), "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An untrained autoencoder and text encoder."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    from pictor.training.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        latent_channels=4,
    ).save_pretrained(folder / "vae")
    tokenizer = train_tokenizer((f"a {colour} field" for colour in COLOURS), length=16)
    tokenizer.save_pretrained(folder / "tokenizer")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=16,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    ).save_pretrained(folder / "text_encoder")
    return {"autoencoder": str(folder / "vae"), "text_encoder": str(folder)}


def table(parts: dict[str, str], prepared: Path, **more: object) -> dict[str, object]:
    return {
        "kind": "rectified_flow",
        "data": str(prepared),
        "size": 64,
        "channels": [32, 32],
        **parts,
        **more,
    }


def test_batches_are_of_one_size_and_functions_of_their_numbers(parts, prepared):
    objective = build(table(parts, prepared, variation={"flip": 0.5}), 0)
    objective.batches_of(4)
    shapes = set()
    for first in range(0, 40, 4):
        batch = objective.batch(first, 4)
        shapes.add(tuple(batch["image"].shape[1:3]))
        rows, columns = (side // 8 for side in batch["image"].shape[1:3])
        assert tuple(batch["eps"].shape) == (4, 4, rows, columns)
        # Captions belong to their pictures: the brightest channel is the colour that is told.
        told = objective.source.tokenizer.batch_decode(batch["ids"], skip_special_tokens=True)
        for text, pixels in zip(told, batch["image"], strict=True):
            if text:
                assert COLOURS[int(pixels.float().mean((0, 1)).argmax())] in text
    assert shapes == {(64, 64), (48, 80), (80, 48)}
    drawer = pickle.loads(pickle.dumps(objective.drawer()))
    for key, array in drawer(8, 4).items():
        np.testing.assert_array_equal(array, objective.batch(8, 4)[key].numpy())


def test_a_model_of_ones_own_pictures(parts, prepared, tmp_path):
    recipe = Recipe(name="own", samples=16, batch_size=4, objective=table(parts, prepared))
    outcome = train(recipe, tmp_path / "run")
    assert set(outcome.figures) == {f"held_out_mse_t{time}" for time in (0.1, 0.3, 0.5, 0.7, 0.9)}
    assert all(np.isfinite(value) for value in outcome.figures.values())
    sheet = json.loads((outcome.model / "pictor.json").read_text())
    assert (
        sheet["data"]["pictures"] + json.loads((prepared / "prepared.json").read_text()).get("val", 0) <= 30
    )
    assert "picturebook" not in sheet
    [picture] = pictor.load(outcome.model).generate("a red field", num_steps=2)
    assert picture.image.size == (64, 64)


def test_without_held_out_pictures_those_of_training_judge(parts, prepared, tmp_path):
    out = tmp_path / "all"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (64, 64), "red").save(pictures / "one.png")
    (pictures / "one.txt").write_text("a red field")
    assert main(["data", "prepare", str(pictures), "--out", str(out), "--size", "64", "--val", "0"]) == 0
    objective = build(table(parts, out), 0)
    with torch.no_grad():
        figures = objective.validate()
    assert {name.partition("_mse")[0] for name in figures} == {"seen"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"size": 128}, "has pictures of .*; expected sides that are multiples of 16, about 128x128"),
        ({"channels": [32, 32, 32]}, "multiples of 32"),
        ({"mix": {"counted": 0.5}}, "mix and font are the picturebook's"),
        ({"variation": {"flip": 2}}, "flip is 2"),
        ({"variation": {"flap": 0.5}}, "no option is called flap"),
        ({"data": None, "variation": {"flip": 0.5}}, "variation is of the pictures of data"),
        ({"data": "nowhere"}, "nowhere is no folder of prepared pictures"),
    ],
)
def test_what_does_not_fit(parts, prepared, more, words):
    with pytest.raises(InputError, match=words):
        build(table(parts, prepared) | more, 0)


@pytest.fixture(scope="module")
def base(parts, prepared, tmp_path_factory) -> Path:
    """A model trained for a moment."""
    recipe = Recipe(name="own", samples=8, batch_size=4, objective=table(parts, prepared))
    outcome = train(recipe, tmp_path_factory.mktemp("base") / "run")
    assert outcome.model is not None
    return outcome.model


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Four pictures with captions."""
    folder = tmp_path / "few"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (90, 70), (10, 60 * number, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a blue field, number {number}", encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["finetune", "text-to-image"])
def test_one_command_from_a_folder_to_a_model(base, few, kind, tmp_path, capsys):
    run = tmp_path / "run"
    command = ["train", "--data", str(few), "--base", str(base), "--kind", kind, "--run", str(run)]
    assert main([*command, "--device", "cpu", "--minutes", "0.02"]) == 0
    told = capsys.readouterr()
    model = Path(told.out.strip().splitlines()[-1])
    assert "million parameters learn" in told.err
    assert "GFLOP" in told.err
    recipe = json.loads((run / "recipe.json").read_text())
    assert recipe["objective"]["size"] == 64
    assert recipe["preview_prompts"] == [f"a blue field, number {number}" for number in range(4)]
    [picture] = pictor.load(model).generate("a blue field", num_steps=2)
    assert picture.image.size == (64, 64)
    # The same command goes on where it stopped, without preparing anew.
    seen = json.loads((run / "data" / "prepared.json").read_text())
    assert seen["prepared"] == 4
    stamp = (run / "data" / "prepared.json").stat().st_mtime_ns
    assert main([*command, "--device", "cpu", "--minutes", "0.02", "--resume"]) == 0
    assert (run / "data" / "manifest.parquet").exists()
    assert stamp == (run / "data" / "prepared.json").stat().st_mtime_ns
    # Another run does not take its folder, and other pictures not its place.
    assert main([*command, "--device", "cpu"]) == 2
    assert "is a run already" in capsys.readouterr().err
    assert stamp == (run / "data" / "prepared.json").stat().st_mtime_ns
    (few / "0.txt").write_text("another caption")
    options = ["--size", "64", "--margin", "4", "--val", "0"]
    assert main(["data", "prepare", str(few), "--out", str(run / "data"), *options]) == 0
    assert main([*command, "--device", "cpu", "--minutes", "0.02", "--resume"]) == 2
    assert "have changed since the run began" in capsys.readouterr().err


def test_pictures_without_words_are_refused(base, few, tmp_path, capsys):
    for file in few.glob("*.txt"):
        file.unlink()
    assert main(["train", "--data", str(few), "--base", str(base), "--run", str(tmp_path / "run")]) == 2
    assert "none of 4 pictures has a caption" in capsys.readouterr().err


def test_what_reads_no_words_needs_none(few, tmp_path, capsys):
    """And one is told of pictures that are enlarged, and of a run that only begins."""
    for number in range(4):
        (few / f"{number}.txt").unlink()
        Image.new("RGB", (40, 40), (10, 60 * number, 200)).save(few / f"{number}.png")
    run = tmp_path / "run"
    command = ["train", "--kind", "vae", "--data", str(few), "--run", str(run)]
    assert main([*command, "--resume", "--minutes", "0.01"]) == 0
    err = capsys.readouterr().err
    assert f"{run} has nothing to go on from" in err
    assert "enlarged to 64 pixels: 4 of 4" in err


def test_pictures_that_are_none_are_told_at_once(tmp_path, capsys):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    (folder / "0.txt").write_text("a red apple")
    assert main(["data", "prepare", str(folder), "--out", str(tmp_path / "out"), "--size", "64"]) == 2
    assert "none of 1 pictures can be used" in capsys.readouterr().err
    assert "0.png" in (tmp_path / "out" / "left-out.jsonl").read_text()


def test_finetuning_begins_with_the_base(base, prepared):
    from safetensors.torch import load_file

    from pictor.training.kinds import recipe_of_kind

    recipe = recipe_of_kind("finetune", data=prepared, base=base)
    objective = build(recipe.objective, 0)
    saved = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    for name, parameter in objective.module["unet"].named_parameters():
        torch.testing.assert_close(parameter.detach(), saved[name].float())
    fresh = recipe_of_kind("text-to-image", data=prepared, base=base)
    assert fresh.objective["channels"] == [64, 128, 192]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "neither a recipe nor pictures nor a kind"),
        (["--kind", "dream"], "kind is 'dream'"),
        (["recipe.toml", "--data", "pictures"], "a recipe and pictures"),
        (["recipe.toml", "--kind", "text-to-image"], "--kind and --base without a recipe"),
        (["--data", "nowhere"], "nowhere"),
        (["--data", "{few}", "--kind", "dream"], "kind is 'dream'"),
    ],
)
def test_wrong_wishes_are_told_before_work(few, tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *(option.replace("{few}", str(few)) for option in options)]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_counting_a_samples_work_changes_nothing(parts, prepared, tmp_path):
    recipe = Recipe(name="own", samples=8, batch_size=4, objective=table(parts, prepared))
    told = []
    models = [
        train(recipe, tmp_path / "silent").model,
        train(recipe, tmp_path / "told", on_outlook=told.append).model,
    ]
    weights = [(model / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() for model in models]
    assert weights[0] == weights[1]
    [told] = told
    assert told.samples == 8
    assert 0 < told.learning <= told.parameters
    # Forward and backward are about three times forward, and more than two operations a weight.
    assert told.flops > 6 * told.learning


def test_a_loss_that_is_no_number_names_its_pictures(prepared, tmp_path, monkeypatch):
    from line_fit import LineFit

    from pictor.data.prepared import Prepared
    from pictor.training import loop

    class Batched(LineFit):
        def batches_of(self, size: int) -> None:
            self.size = size

    monkeypatch.setattr(loop, "build", lambda table, seed: Batched(seed, table["poison"]))
    recipe = Recipe(
        name="own", seed=5, samples=64, batch_size=4, objective={"data": str(prepared), "poison": 13}
    )
    with pytest.raises(PictorError, match=r"at step 4 \(samples 12 to 15, of the pictures ") as found:
        train(recipe, tmp_path / "run")
    seen = Prepared(prepared, seed=5, batch_size=4)
    captions = [seen.sample(number).caption for number in range(12, 16)]
    named = str(found.value).partition("of the pictures ")[2].partition(")")[0].split(", ")
    # A picture's number tells its colour.
    assert {f"a {COLOURS[int(Path(name).stem) % 3]} field" for name in named} == set(captions)
    assert 1 <= len(named) <= 4
