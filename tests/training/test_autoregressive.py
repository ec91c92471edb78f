"""Picture tokens and the model that writes them: the code's arithmetic, a tiny run of both, its pictures."""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pictor.core.errors import Cancelled, InputError, ModelError
from pictor.core.notices import PictorWarning
from pictor.data.picturebook.font import find_font
from pictor.data.picturebook.phrases import phrase_tables

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import tiny

from pictor.backends.picture_tokens import FiniteScalars, PictureTokenizer
from pictor.engine.reproduce import reproduce
from pictor.engine.studio import Studio, load
from pictor.sampling.tokens import chosen
from pictor.training.loop import train
from pictor.training.objectives import autoregressive, build, picture_tokens
from pictor.training.recipe import Recipe, validated

try:
    find_font()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

MIX = {"things": ["apple", "cat", "bread"], "places": ["white", "black", "pink"], "chinese": 0.0}
TOKENS = {"kind": "picture_tokens", "size": 32, "levels": [4, 3, 3], "width": 16, "blocks": [1, 1, 1, 1]}
WRITER = {"kind": "autoregressive", "size": 32, "caption": 12, "width": 32, "layers": 1, "head_width": 16}


def test_tokens_and_digits_are_one_to_one() -> None:
    code = FiniteScalars((3, 4, 2))
    digits = torch.tensor(list(product(range(3), range(4), range(2))))
    tokens = code.joined(digits)
    assert sorted(tokens.tolist()) == list(range(code.tokens)) == list(range(24))
    assert torch.equal(code.parted(tokens), digits)
    numbers = code.numbers(digits)
    assert (numbers.min(), numbers.max()) == (-1, 1)
    assert torch.equal(code.digits(numbers), digits)


def test_rounding_goes_to_the_nearest_level_and_its_gradient_past_it() -> None:
    code = FiniteScalars((5, 4))
    z = (4 * torch.rand(64, 2, dtype=torch.float32) - 2).requires_grad_()
    rounded = code(z)
    for place, levels in enumerate((5, 4)):
        grid = torch.linspace(-1, 1, levels)
        squashed = torch.tanh(z[:, place])
        nearest = grid[(squashed[:, None] - grid).abs().argmin(1)]
        torch.testing.assert_close(rounded[:, place], nearest)
    rounded.sum().backward()
    torch.testing.assert_close(z.grad, 1 - torch.tanh(z.detach()) ** 2)


@pytest.mark.parametrize("factor", [4, 8])
def test_tokens_are_what_the_code_rounds_to(factor: int) -> None:
    torch.manual_seed(0)
    network = PictureTokenizer(levels=[4, 3, 3], factor=factor, width=8, blocks=[1, 1, 1, 1])
    image = torch.rand(2, 3, 16, 32) * 2 - 1
    with torch.no_grad():
        out, code = network(image)
        tokens = network.encode(image)
        assert tokens.shape == (2, 16 // factor, 32 // factor)
        assert len(tokens.unique()) > 2
        torch.testing.assert_close(network.code.numbers(network.code.parted(tokens)), code)
        torch.testing.assert_close(network.decode(tokens), out)


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a writer takes of a model: how it reads, and an untrained CLIP."""
    folder = tmp_path_factory.mktemp("seeing")
    tokenizer = tiny.make_tokenizer()
    tokenizer.save_pretrained(folder / "tokenizer")
    torch.manual_seed(0)
    text = tiny.make_text_encoder(tiny.TinyConfig(), tokenizer)
    text.save_pretrained(folder / "text_encoder")
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision = transformers.CLIPVisionConfig(
        **tower, image_size=32, patch_size=8, projection_dim=text.config.hidden_size
    )
    transformers.CLIPVisionModelWithProjection(vision).save_pretrained(folder / "image_encoder")
    vocabulary = {"scale": 10.0, "offset": -1.0, "languages": phrase_tables(("apple", "cat", "bread"))}
    (folder / "image_encoder" / "vocabulary.json").write_text(json.dumps(vocabulary))
    return folder


@pytest.fixture(scope="module")
def runs(seeing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each of the two objectives, with what it told."""
    root = tmp_path_factory.mktemp("runs")
    tables = {
        "tokens": (TOKENS, 960, 5e-3),
        "writer": (
            WRITER | {"picture_tokens": str(root / "tokens" / "model"), "words": str(seeing)},
            480,
            5e-3,
        ),
    }
    with pytest.MonkeyPatch.context() as patch:
        for module in (picture_tokens, autoregressive):
            patch.setattr(module, "_VALIDATION", 40)
        for name, (table, samples, rate) in tables.items():
            recipe = {"name": name, "samples": samples, "batch_size": 16, "preview_minutes": 0}
            recipe |= {"objective": table | {"mix": MIX}, "optimiser": {"learning_rate": rate}}
            losses: list[float] = []
            outcome = train(
                validated(Recipe, recipe, name),
                root / name,
                on_progress=lambda progress, kept=losses: kept.append(progress.loss),  # type: ignore[misc]
            )
            assert outcome.finished
            told = {"losses": losses, "figures": outcome.figures}
            (root / f"{name}.json").write_text(json.dumps(told))
    return root


@pytest.fixture(scope="module")
def studio(runs: Path) -> Studio:
    return load(runs / "writer")


def told(runs: Path, name: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((runs / f"{name}.json").read_text())
    return record


def pixels(made: list[Any]) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([np.asarray(picture.image) for picture in made])


def test_both_learn_and_figures_mean_what_they_say(runs: Path) -> None:
    losses = told(runs, "writer")["losses"]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(picture_tokens, "_VALIDATION", 40)
        linear = build(TOKENS | {"mix": MIX}, 0).validate()
    coder, writer = told(runs, "tokens")["figures"], told(runs, "writer")["figures"]
    assert coder["tokens"] == 36
    assert 1 < coder["perplexity"] <= coder["tokens_used"] <= 36
    assert coder["held_out_psnr_of_mean_error"] > linear["held_out_psnr_of_mean_error"] + 0.3 > 12
    assert writer["held_out_nats"] < np.log(36)
    assert set(writer) == {"held_out_nats", "held_out_nats_without_words", "held_out_true_over_other"}


def test_samples_are_functions_of_their_numbers(runs: Path, seeing: Path) -> None:
    table = WRITER | {"picture_tokens": str(runs / "tokens" / "model"), "words": str(seeing), "mix": MIX}
    objective: Any = build(table | {"empty_captions": 0.5}, 7)
    whole, part = objective.drawer()(0, 24), pickle.loads(pickle.dumps(objective.drawer()))(13, 5)
    for name, array in part.items():
        np.testing.assert_array_equal(array, whole[name][13:18])
    empty = (whole["ids"] == whole["ids"][:, -1:]).sum(1) == 11
    assert 4 < empty.sum() < 20
    judged = next(objective.source.judged(24))
    assert not ((judged["ids"] == judged["ids"][:, -1:]).sum(1) == 11).any()


def test_a_picture_can_be_made_again_alone_or_beside_others(studio: Studio) -> None:
    together = pixels(studio.generate("a red cat", seed=5, count=4))
    assert together.shape == (4, 32, 32, 3)
    assert len(np.unique(together.reshape(4, -1), axis=0)) == 4
    for row, picture in enumerate(together):
        np.testing.assert_array_equal(pixels(studio.generate("a red cat", seed=5 + row))[0], picture)
    several = pixels(studio.generate(["an apple", "a red cat"], seed=6))
    np.testing.assert_array_equal(several[1], together[1])
    assert not np.array_equal(several[0], together[1])


def test_a_picture_reproduces_from_its_recipe(studio: Studio) -> None:
    wish = {"seed": 9, "guidance_scale": 2.5, "temperature": 0.7, "negative_prompt": "a cat"}
    [made] = studio.generate("an apple", **wish)
    assert made.recipe.parameters == {"temperature": 0.7}
    again = reproduce(made.recipe, studio)
    np.testing.assert_array_equal(np.asarray(again.image), np.asarray(made.image))


def test_every_wish_matters(studio: Studio) -> None:
    def made(prompt: str = "a red cat", **wish: Any) -> np.ndarray:  # type: ignore[type-arg]
        return pixels(studio.generate(prompt, seed=1, count=3, **wish))

    plain = made(guidance_scale=4.0)
    others = [
        made("an apple", guidance_scale=4.0),
        made(guidance_scale=1.0),
        made(guidance_scale=4.0, negative_prompt="an apple"),
        made(guidance_scale=4.0, temperature=2.0),
    ]
    for other in others:
        assert not np.array_equal(plain, other)
    coldest = made(temperature=0)
    np.testing.assert_array_equal(coldest[0], coldest[1])


def test_guidance_of_1_asks_for_the_words_alone(studio: Studio) -> None:
    plain = pixels(studio.generate("a red cat", seed=1, guidance_scale=1.0))
    with pytest.warns(PictorWarning, match="no effect at guidance 1"):
        other = pixels(studio.generate("a red cat", seed=1, guidance_scale=1.0, negative_prompt="an apple"))
    np.testing.assert_array_equal(plain, other)


def test_what_is_remembered_is_what_a_whole_reading_says(studio: Studio) -> None:
    """Tokens drawn through the cache are those of a full forward pass for each place."""
    writer = studio.bundle.draw.__self__  # type: ignore[union-attr]
    words, places = writer.layout.words, writer.layout.side**2
    said = [(writer.ids("a red cat"), writer.ids("")), (writer.ids("an apple"), writer.ids("a cat"))]
    scale = np.array([1.0, 3.0])
    lots = np.random.default_rng(5).uniform(size=(2, places))
    tokens = writer._written(said, scale, lots, 1.0, lambda: None)
    choose = partial(chosen, temperature=1.0, top_k=writer.choosing.top_k, top_p=writer.choosing.top_p)
    network = writer.transformer._network
    for row, (told_ids, untold_ids) in enumerate(said):
        written: list[int] = []
        for place in range(places):
            with torch.no_grad():
                told, untold = (
                    network(input_ids=torch.tensor([[*ids, *written]]), use_cache=False).logits[:1, -1]
                    for ids in (told_ids, untold_ids)
                )
            logits = (untold + scale[row] * (told - untold)).numpy()[:, words:]
            written.append(words + int(choose(logits, lots[row : row + 1, place])[0]))
        assert (tokens[row] + words).tolist() == written
    assert not np.array_equal(tokens[0], tokens[1])


def test_pictures_go_through_tokens_and_back(studio: Studio, runs: Path) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (2, 3, 32, 32)).astype(np.float32)
    coder = PictureTokenizer.from_pretrained(runs / "tokens" / "model").float()
    with torch.no_grad():
        expected = coder(torch.from_numpy(image))[0].numpy()
    autoencoder = studio.bundle.autoencoder
    np.testing.assert_allclose(autoencoder.decode(autoencoder.encode(image)), expected, atol=1e-3)


def test_progress_is_told_by_the_token_and_can_be_ended(studio: Studio) -> None:
    seen: list[tuple[int, int]] = []
    studio.generate(
        "a cat", count=17, on_progress=lambda progress: seen.append((progress.done, progress.total))
    )
    assert seen == [(done, 32) for done in range(1, 33)]
    with pytest.raises(Cancelled):
        studio.generate("a cat", should_stop=lambda: True)


def test_candidates_are_chosen_by_the_picture_encoder(studio: Studio, runs: Path, tmp_path: Path) -> None:
    four = studio.generate("a cat", seed=3, count=4)
    [best] = studio.generate("a cat", seed=3, candidates=4)
    fits = [studio.describer.logits(studio.describer.look(p), ["a cat"])[0] for p in pixels(four)]
    assert best.recipe.seed == 3 + int(np.argmax(fits))
    np.testing.assert_array_equal(np.asarray(best.image), np.asarray(four[int(np.argmax(fits))].image))
    blind = Path(shutil.copytree(runs / "writer" / "model", tmp_path / "blind"))
    shutil.rmtree(blind / "image_encoder")
    with pytest.raises(InputError, match="cannot choose among candidates"):
        load(blind).generate("a cat", candidates=2)


def test_words_that_cannot_be_heeded_are_told(studio: Studio) -> None:
    with pytest.raises(InputError, match="stresses words"):
        studio.generate("a (red:1.5) cat")
    with pytest.raises(InputError, match=r"negative prompt.*stresses words"):
        studio.generate("a cat", negative_prompt="[red]", guidance_scale=2.0)
    with pytest.warns(PictorWarning, match="longer than 12 tokens"):
        studio.generate("a red apple on the left of a green cat on a banana")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        studio.generate(r"a cat \(red\)")
    with pytest.raises(InputError, match="width 64 is not possible"):
        studio.generate("a cat", size=(64, 32))
    with pytest.raises(InputError, match="num_steps"):
        studio.generate("a cat", num_steps=3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"defaults": {"size": [40, 40], "guidance_scale": 1}}, "no room for words"),
        ({"defaults": {"size": [32, 64], "guidance_scale": 1}}, "damaged"),
        ({"choosing": {"top_p": 2}}, "damaged"),
        ({"choosing": {"best": 2}}, "damaged"),
    ],
)
def test_a_damaged_sheet_is_one_error(runs: Path, tmp_path: Path, change: Any, match: str) -> None:
    folder = Path(shutil.copytree(runs / "writer" / "model", tmp_path / "model"))
    sheet = json.loads((folder / "pictor.json").read_text())
    if "size" in str(change):  # of so many places that the transformer has none left
        change["defaults"]["size"] = [side * 4 if side == 40 else side for side in change["defaults"]["size"]]
    (folder / "pictor.json").write_text(json.dumps(sheet | change))
    with pytest.raises(ModelError, match=match):
        load(folder)


def test_recipes_that_cannot_be_are_refused(runs: Path, seeing: Path, tmp_path: Path) -> None:
    tokens = str(runs / "tokens" / "model")
    with pytest.raises(InputError, match="levels need 2"):
        build(TOKENS | {"levels": [4, 1]}, 0)
    with pytest.raises(InputError, match="which this objective does not read"):
        build(TOKENS | {"empty_captions": 0.5}, 0)
    with pytest.raises(InputError, match="holds no picture tokens"):
        build(WRITER | {"picture_tokens": str(seeing)}, 0)
    with pytest.raises(InputError, match="holds no tokenizer"):
        build(WRITER | {"picture_tokens": tokens, "words": str(tmp_path)}, 0)
    with pytest.raises(InputError, match="reads 32 tokens"):
        build(WRITER | {"picture_tokens": tokens, "words": str(seeing), "caption": 40}, 0)
    with pytest.raises(InputError, match="head_width"):
        build(WRITER | {"picture_tokens": tokens, "head_width": 24}, 0)
