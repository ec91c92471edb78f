"""Prompts become the same ids as in transformers, and what is cut is said exactly."""

import json

import pytest

from pictor import ModelError
from pictor.families.parts.tokens import PromptTokenizer

PROMPTS = [
    "a red apple",
    "A RED   Apple, on the table!",
    "红苹果 and a cat",
    "it's 3 o'clock <|endoftext|> émigré ﬁne 🙂",
    "",
    "a red cat left of the blue star " * 9,
]


@pytest.fixture(scope="module")
def theirs(tiny_folder):
    transformers = pytest.importorskip("transformers")
    return transformers.CLIPTokenizer.from_pretrained(tiny_folder / "tokenizer")


@pytest.fixture
def old_style(tiny_copy):
    """The folder as Stable Diffusion 1.5 has it: no tokenizer.json."""
    folder = tiny_copy / "tokenizer"
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "tokenizer.json").unlink()
    return folder


@pytest.mark.parametrize("prompt", PROMPTS)
def test_ids_are_those_of_transformers(tiny_folder, theirs, prompt):
    ours = PromptTokenizer(tiny_folder / "tokenizer", 77)
    expected = theirs(prompt, padding="max_length", truncation=True, max_length=theirs.model_max_length)
    [*_, last] = chunks = ours([(prompt, 1.0)])
    if len(chunks) == 1:
        assert last.ids == expected["input_ids"]
    assert last.weights == [1.0] * len(last.ids)
    assert ours.max_length == theirs.model_max_length


@pytest.mark.parametrize("prompt", PROMPTS)
def test_folders_without_tokenizer_json(old_style, theirs, prompt):
    expected = theirs(prompt, padding="max_length", truncation=True, max_length=theirs.model_max_length)
    assert PromptTokenizer(old_style, 77)([(prompt, 1.0)])[0].ids[:60] == expected["input_ids"][:60]


def test_long_prompts_come_in_chunks_that_end_between_words(tiny_folder, theirs):
    tokenizer = PromptTokenizer(tiny_folder / "tokenizer", 8)
    text = "a red apple on the Blue Star, left of a dog"
    chunks = tokenizer([(text, 1.0)])
    assert len(chunks) > 1
    assert all(len(chunk.ids) == 8 for chunk in chunks)
    plain = theirs(text, add_special_tokens=False)["input_ids"]
    special = {chunks[0].ids[0], chunks[0].ids[-1]}
    assert [number for chunk in chunks for number in chunk.ids if number not in special] == plain
    for chunk in chunks:
        words = tokenizer.text([chunk]).split()
        assert set(words) <= {"a", "red", "apple", "on", "the", "blue", "star", ",", "left", "of", "dog"}


def test_weights_follow_their_words(tiny_folder):
    tokenizer = PromptTokenizer(tiny_folder / "tokenizer", 32)
    [chunk] = tokenizer([("a ", 1.0), ("red", 1.5), (" apple", 1.0)])
    [red] = tokenizer([("red", 1.0)])
    length = next(at for at, number in enumerate(red.ids) if number == red.ids[-1]) - 1
    start = chunk.weights.index(1.5)
    assert chunk.weights[start : start + length] == [1.5] * length
    assert sum(weight != 1.0 for weight in chunk.weights) == length


def test_another_pad_token(tiny_copy):
    folder = tiny_copy / "tokenizer"
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["pad_token"] = {"content": "!"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert PromptTokenizer(folder, 77)([("a", 1.0)])[0].ids[-1] == tokenizer["model"]["vocab"]["!"]


@pytest.mark.parametrize(("own", "length"), [(float("inf"), 77), (float("nan"), 77), (10**400, 77), (9, 9)])
def test_the_shorter_length_counts(tiny_copy, own, length):
    file = tiny_copy / "tokenizer" / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_max_length": own}))
    assert PromptTokenizer(tiny_copy / "tokenizer", 77).max_length == length
    with pytest.raises(ModelError, match="tokens"):
        PromptTokenizer(tiny_copy / "tokenizer", -1)


@pytest.mark.parametrize("damage", ["", "{}", '{"version": "1.0"}'])
def test_damage_names_the_file(tiny_copy, damage):
    (tiny_copy / "tokenizer" / "tokenizer.json").write_text(damage)
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        PromptTokenizer(tiny_copy / "tokenizer", 77)


def test_a_missing_file_is_named(tiny_copy):
    (tiny_copy / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        PromptTokenizer(tiny_copy / "tokenizer", 77)


def test_missing_merges_are_named(old_style):
    (old_style / "merges.txt").unlink()
    with pytest.raises(ModelError, match=r"merges\.txt"):
        PromptTokenizer(old_style, 77)


def test_a_missing_special_token_is_named(tiny_copy):
    file = tiny_copy / "tokenizer" / "tokenizer_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "bos_token": "<begin>"}))
    with pytest.raises(ModelError, match="<begin>"):
        PromptTokenizer(tiny_copy / "tokenizer", 77)
