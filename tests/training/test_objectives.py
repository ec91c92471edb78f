"""Every objective for real, at a tiny scale: the chain that trains the embedded model, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from pictor.training.loop import train
from pictor.training.objectives import build
from pictor.training.recipe import Recipe
from pictor.training.similarity import ssim
from pictor.training.tokenizer import train_tokenizer

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a few steps each: autoencoder, text encoder, denoiser."""
    root = tmp_path_factory.mktemp("chain")
    short = {"samples": 24, "batch_size": 8}
    tables = {
        "autoencoder": {"kind": "autoencoder", "size": 32, "channels": 8, "width": 8, "blocks": [1, 1, 1, 1]},
        "text": {
            "kind": "contrastive",
            "size": 32,
            "width": 32,
            "layers": 1,
            "vision_layers": 1,
            "length": 24,
        },
        "attributes": {"kind": "caption_attributes", "text_encoder": str(root / "text" / "model")},
        "denoiser": {
            "kind": "rectified_flow",
            "autoencoder": str(root / "autoencoder" / "model"),
            "text_encoder": str(root / "attributes" / "model"),
            "size": 32,
            "channels": [32, 64],
        },
    }
    for name, table in tables.items():
        outcome = train(Recipe(name=name, objective=table, **short), root / name)  # type: ignore[arg-type]
        assert outcome.finished
        assert all(np.isfinite(value) for value in outcome.figures.values())
    return root


def test_batches_are_functions_of_their_numbers(chain: Path) -> None:
    for name in ("autoencoder", "text", "attributes", "denoiser"):
        table = json.loads((chain / name / "recipe.json").read_text())["objective"]
        objective = build(table, 0)
        whole, part = objective.batch(0, 6), objective.batch(4, 2)
        for key, tensor in part.items():
            expected = whole[key][4:6, 4:6] if key == "labels" else whole[key][4:6]
            if name == "text":  # captions and labels of a batch stand true first, then false
                if key == "image":
                    torch.testing.assert_close(tensor, expected)
                continue
            torch.testing.assert_close(tensor, expected)


def test_the_denoiser_run_is_a_pipeline_that_diffusers_opens(chain: Path) -> None:
    from diffusers import StableDiffusionPipeline

    folder = chain / "denoiser" / "model"
    for graph in ("unet/model.onnx", "vae/decoder.onnx", "vae/encoder.onnx", "text_encoder/model.onnx"):
        assert (folder / graph).is_file(), graph
    pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a red apple", num_inference_steps=2, height=32, width=32).images[0]
    assert image.size == (32, 32)


def test_the_denoiser_run_generates_without_torch_code(chain: Path) -> None:
    import pictor

    picture = pictor.load(chain / "denoiser" / "model", backend="onnx").generate("一只蓝色的猫", num_steps=2)[
        0
    ]
    assert picture.image.size == (32, 32)


def test_a_run_can_go_on_from_an_earlier_model(chain: Path) -> None:
    table = json.loads((chain / "denoiser" / "recipe.json").read_text())["objective"]
    folder = chain / "denoiser" / "model"
    onwards = build(table | {"start": str(folder)}, 0)
    saved = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    for name, parameter in onwards.module.unet.named_parameters():
        torch.testing.assert_close(parameter.detach(), saved[name].float())
    with pytest.raises(InputError, match="other channels or layers"):
        build(table | {"start": str(folder), "channels": [32, 32]}, 0)


def test_the_text_encoder_learns_with_the_denoiser_at_its_own_rate(chain: Path) -> None:
    table = json.loads((chain / "denoiser" / "recipe.json").read_text())["objective"]
    objective = build(table, 0)
    assert objective.rate("text_encoder.final_layer_norm.weight") == 0.3
    assert objective.rate("unet.conv_in.weight") == 1.0
    frozen = build(table | {"text_rate": 0.0}, 0)
    text = [p for name, p in frozen.module.named_parameters() if name.startswith("text_encoder.")]
    assert text
    assert not any(p.requires_grad for p in text)


def test_the_contrastive_loss_counts_every_true_pair(chain: Path) -> None:
    table = json.loads((chain / "text" / "recipe.json").read_text())["objective"]
    objective = build(table, 0)
    batch = objective.batch(0, 64)
    labels = batch["labels"]
    assert labels.shape == (64, 128)
    assert bool(labels.diagonal().all())
    assert float(labels[:, 64:].diagonal().float().mean()) < 0.2
    assert int(labels[:, :64].sum()) >= 64
    loss, figures = objective.loss(batch)
    assert torch.isfinite(loss)
    assert 0 <= figures["retrieval"] <= 1


def test_attributes_are_learnt_and_unsaid_ones_too(chain: Path) -> None:
    """A few dozen steps suffice for colours, and the labels come from what each caption says."""
    torch.manual_seed(0)
    objective = build({"kind": "caption_attributes", "text_encoder": str(chain / "text" / "model")}, 0)
    batch = objective.batch(0, 256)
    assert 0 in batch["colour"]
    assert 0 in batch["place"]
    groups = [{"params": [p], "lr": 3e-3 * objective.rate(n)} for n, p in objective.module.named_parameters()]
    optimiser = torch.optim.AdamW(groups)
    losses = []
    for _ in range(40):
        loss, _ = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1
    noise = torch.randn(x.shape, generator=generator)
    assert float(ssim(x, x)) == pytest.approx(1.0)
    assert float(ssim(x, x + 0.5 * noise)) < float(ssim(x, x + 0.1 * noise)) < 1


def test_a_han_character_is_one_token_wherever_it_stands() -> None:
    tokenizer = train_tokenizer(["一只蓝色的猫", "a blue cat on grass", "a blue dog"], length=24)
    for words in ("猫", "蓝猫", "猫蓝", "蓝色的猫只一"):
        ids = tokenizer(words).input_ids
        assert len(ids) == len(words) + 2
    assert tokenizer("a blue cat").input_ids == tokenizer("A  Blue Cat").input_ids
    unknown = tokenizer("龙").input_ids
    assert len(unknown) == 3 + 2
    plain, padded = tokenizer("a cat").input_ids, tokenizer("a cat", padding="max_length").input_ids
    assert len(padded) == 24
    assert padded == plain + [tokenizer.eos_token_id] * (24 - len(plain))


def test_a_missing_part_says_what_to_train_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Train the autoencoder first"):
        build({"kind": "rectified_flow", "autoencoder": str(tmp_path), "text_encoder": str(tmp_path)}, 0)


def test_pictures_learn_to_meet_a_given_text_encoder(chain: Path) -> None:
    """The text encoder stays as it is, and what it pools is the common space."""
    torch.manual_seed(0)
    given = chain / "attributes" / "model"
    objective = build(
        {
            "kind": "contrastive",
            "text_encoder": str(given),
            "size": 32,
            "width": 32,
            "vision_layers": 1,
            "loss": "softmax",
            "phrases": 0,
        },
        0,
    )
    batch = objective.batch(0, 48)
    trained = [p for p in objective.module.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=3e-3)
    losses = []
    for _ in range(30):
        loss, _ = objective.loss(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    network = objective.module.text_encoder
    for name, tensor in load_file(given / "text_encoder" / "model.safetensors").items():
        torch.testing.assert_close(network.state_dict()[name.removeprefix("text_model.")], tensor)
    pooled = network(input_ids=batch["ids"]).pooler_output
    torch.testing.assert_close(
        objective.module.read(batch["ids"]), torch.nn.functional.normalize(pooled, dim=-1)
    )


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_contrastive_losses_by_hand(loss: str) -> None:
    from pictor.training.objectives.contrastive import _sigmoid, _softmax

    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 5, generator=generator)
    labels = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [1, 0, 1, 0, 0]], dtype=torch.bool)
    if loss == "sigmoid":
        pairs = [
            -np.log(1 / (1 + np.exp(-(1 if labels[i, j] else -1) * float(logits[i, j]))))
            for i in range(3)
            for j in range(5)
        ]
        expected, made = sum(pairs) / 3, float(_sigmoid(logits, labels))
    else:
        numbers = np.exp(logits.numpy().astype(np.float64))
        rows = [
            np.mean([-np.log(numbers[i, j] / numbers[i].sum()) for j in range(5) if labels[i, j]])
            for i in range(3)
        ]
        columns = [
            np.mean([-np.log(numbers[i, j] / numbers[:, j].sum()) for i in range(3) if labels[i, j]])
            for j in range(4)  # the last caption is true of no picture
        ]
        expected, made = (np.mean(rows) + np.mean(columns)) / 2, float(_softmax(logits, labels))
    assert made == pytest.approx(expected, rel=1e-5)
