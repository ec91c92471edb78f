"""Words for a picture: by a model's own encoders, and by a captioner of transformers."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import pictor
from pictor.cli import main
from pictor.core.errors import InputError, ModelError

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

THINGS = ("apple", "cat", "bread")


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)


def test_both_backends_agree(seeing, picture):
    texts = ["a red apple", "猫", "a cat on grass"]
    found = []
    for backend in ("onnx", "torch"):
        describer = pictor.load(seeing, backend=backend).bundle.describer
        found.append(describer.logits(describer.look(picture), texts))
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)
    assert np.ptp(found[0]) > 0


def test_given_texts_are_ranked(seeing, picture):
    studio = pictor.load(seeing)
    texts = ["a dog", "two cats", "a blue house at night"]
    found = studio.describe(picture, among=texts)
    assert {one.text for one in found} == set(texts)
    likely = [one.probability for one in found]
    assert likely == sorted(likely, reverse=True)
    describer = studio.bundle.describer
    logit = describer.logits(describer.look(picture), [found[0].text])[0]
    assert likely[0] == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-4)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_captions_say_what_their_attributes_are(seeing, picture, language):
    studio = pictor.load(seeing)
    found = studio.describe(picture, language=language, top=6)
    assert len(found) == len({one.text for one in found}) == 6
    words = studio.bundle.describer.languages[language]
    for one in found:
        assert one.thing in THINGS
        assert one.text == words.caption(one.thing, one.count, one.colour, one.place or "", one.style or "")
    likely = [one.probability for one in found]
    assert likely == sorted(likely, reverse=True)
    assert studio.describe(picture, language=language, top=1) == found[:1]


def test_the_words_of_both_languages(seeing):
    languages = pictor.load(seeing).bundle.describer.languages
    english, chinese = languages["en"], languages["zh"]
    assert english.caption("apple") == "an apple"
    assert english.caption("apple", 1, "red", "grass", "pixel art") == "a red apple on grass, pixel art"
    assert english.caption("cat", 3, "orange") == "three orange cats"
    assert english.caption("cat", 1, "orange") == "an orange cat"
    assert english.caption("bread", 1, "brown", "sky at night") == "brown bread in the night sky"
    assert (
        chinese.caption("cat", 2, "blue", "grass at night", "pixel art") == "夜晚草地上的两只蓝色的猫,像素画"
    )


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"language": "fr"}, "language is 'fr'; expected en or zh"),
        ({"top": 0}, "top"),
        ({"top": 7}, "top"),
        ({"among": "a cat"}, "among"),
        ({"among": ["a cat", " "]}, "among"),
    ],
)
def test_bad_wishes(seeing, picture, wish, words):
    with pytest.raises(InputError, match=words):
        pictor.load(seeing).describe(picture, **wish)


def test_a_model_without_a_picture_encoder_says_so(tiny_folder, picture):
    with pytest.raises(InputError, match="does not tell how well words fit a picture"):
        pictor.load(tiny_folder).describe(picture)


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.clear(),
        lambda record: record.update(languages={"en": {}}),
        lambda record: record.update(languages={}),
        lambda record: record.update(scale=float("nan")),
        lambda record: record.update(scale=10**400),
        lambda record: record["languages"]["en"].update(pattern="{what}"),
        lambda record: record["languages"]["en"]["things"]["cat"].update(plain="a cat", coloured="a cat"),
        lambda record: record["languages"]["en"]["places"].update(grass=3),
    ],
)
def test_a_damaged_vocabulary(seeing, tmp_path, damage):
    folder = tmp_path / "model"
    shutil.copytree(seeing, folder)
    file = folder / "image_encoder" / "vocabulary.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    damage(record)
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ModelError, match="vocabulary"):
        pictor.load(folder)


def test_the_command(seeing, picture, tmp_path, capsys):
    file = tmp_path / "picture.png"
    Image.fromarray(picture).save(file)
    assert main(["describe", str(file), "--model", str(seeing), "--json", "--top", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["text"] for one in found] == [
        one.text for one in pictor.load(seeing).describe(picture, top=2)
    ]
    wish = ["--among", "a cat", "--among", "a dog"]
    assert main(["describe", str(file), "--model", str(seeing), *wish]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all("%  a " in line for line in lines)
    assert main(["describe", str(tmp_path / "none.png"), "--model", str(seeing)]) == 2


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        (["--captioner", "x", "--model", "y"], "model"),
        (["--captioner", "x", "--language", "en"], "language"),
        (["--captioner", "x", "--top", "3"], "top"),
        (["--captioner", "x", "--among", "a cat"], "among"),
        (["--among", "a cat", "--language", "en"], "language"),
    ],
)
def test_what_would_be_ignored_is_refused(wish, name, capsys):
    assert main(["describe", "a.png", *wish]) == 2
    assert f"--{name} is given beside" in capsys.readouterr().err


def test_ranked_texts_are_as_many_as_asked_for_and_each_read_whole(seeing, picture):
    from pictor.engine.describe import ranked

    describer = pictor.load(seeing).bundle.describer
    texts = ["a dog", "two cats", "a blue house at night"]
    every = ranked(describer, picture, texts)
    assert len(every) == 3
    assert ranked(describer, picture, texts, 2) == every[:2]
    with pytest.raises(InputError, match="at once") as caught:
        ranked(describer, picture, ["a dog", "a cat " * 100])
    assert caught.value.param == "among"


@pytest.fixture(scope="module")
def captioner(tmp_path_factory):
    """A tiny untrained BLIP with its processor."""
    folder = tmp_path_factory.mktemp("captioner") / "blip"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *(f"word{n}" for n in range(26))]
    vocabulary = tmp_path_factory.mktemp("words") / "vocab.txt"
    vocabulary.write_text("\n".join(words))
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = tower | {"vocab_size": len(words), "encoder_hidden_size": 16, "max_position_embeddings": 64}
    config = transformers.BlipConfig(
        text_config=text | {"bos_token_id": 5, "sep_token_id": 3, "pad_token_id": 0, "eos_token_id": 3},
        vision_config=tower | {"image_size": 32, "patch_size": 8},
    )
    torch.manual_seed(0)
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    processor = transformers.BlipProcessor(
        transformers.BlipImageProcessorPil(size={"height": 32, "width": 32}),
        transformers.BertTokenizer(str(vocabulary)),
    )
    processor.save_pretrained(folder)
    return folder


def test_a_captioner_of_transformers(captioner, picture, tmp_path, capsys):
    file = tmp_path / "picture.png"
    Image.fromarray(picture).save(file)
    assert main(["describe", str(file), "--captioner", str(captioner), "--device", "cpu"]) == 0
    said = capsys.readouterr().out.split()
    assert said
    assert all(word.startswith("word") or word == "[DEC]" for word in said)


def test_no_captioner_there(picture, tmp_path):
    from pictor.engine.describe import captioned

    with pytest.raises(ModelError, match="no captioner"):
        captioned(tmp_path, picture)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="cannot load the captioner"):
        captioned(tmp_path, picture)


def test_a_model_that_loads_and_cannot_caption_is_found_out_at_once(captioner, tmp_path):
    from pictor.backends.captioner import Captioner

    folder = tmp_path / "blip"
    shutil.copytree(captioner, folder)
    processor = transformers.BlipProcessor.from_pretrained(folder)
    processor.image_processor.size = {"height": 4, "width": 4}  # less than a patch of its network
    processor.save_pretrained(folder)
    with pytest.raises(ModelError, match="cannot load the captioner"):
        Captioner(folder, device="cpu")


def test_a_captioner_brings_no_code_of_its_own(captioner, monkeypatch):
    from pictor.backends.captioner import Captioner

    given = []
    for kind in (transformers.AutoProcessor, transformers.AutoModelForImageTextToText):
        real = kind.from_pretrained
        monkeypatch.setattr(
            kind, "from_pretrained", lambda *a, real=real, **words: given.append(words) or real(*a, **words)
        )
    Captioner(captioner, device="cpu")
    assert [words["trust_remote_code"] for words in given] == [False, False]


def test_patterns_of_a_vocabulary_mean_nothing_but_their_slots(seeing, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(seeing, folder)
    file = folder / "image_encoder" / "vocabulary.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["languages"]["en"]["pattern"] = "{thing:>4000000000}{thing.__class__}{thing}"
    file.write_text(json.dumps(record), encoding="utf-8")
    words = pictor.load(folder).bundle.describer.languages["en"]
    assert words.caption("cat") == "{thing:>4000000000}{thing.__class__}a cat"


@pytest.mark.parametrize("side", [None, "abc", 0, 10**9, True])
def test_a_picture_encoder_of_a_strange_size(seeing, tmp_path, side):
    folder = tmp_path / "model"
    shutil.copytree(seeing, folder)
    file = folder / "image_encoder" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_size": side}))
    with pytest.raises(ModelError, match="takes pictures of"):
        pictor.load(folder)


def test_without_its_graph_the_model_opens_and_does_not_describe(seeing, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(seeing, folder)
    (folder / "image_encoder" / "model.onnx").unlink()
    with pytest.warns(pictor.PictorWarning, match="models export"):
        studio = pictor.load(folder)
    assert "describe" not in studio.traits.abilities
    with pytest.raises(ModelError, match=r"model\.onnx"):
        pictor.load(folder, backend="onnx")
