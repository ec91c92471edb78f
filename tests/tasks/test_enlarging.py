"""Pictures enlarged by a network beside the model: on both runtimes, in pieces, and made again."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import pictor
from pictor import Cancelled, InputError, ModelError
from pictor.backends.base import ENLARGER
from pictor.engine.reproduce import compare, reproduce
from pictor.families.parts import enlarging
from pictor.tasks.registry import all_tasks

SIZE = (44, 30)


@pytest.fixture(scope="module")
def able_folder(vivid_folder, tmp_path_factory):
    """The tiny model with an enlarger of random weights, whose work shows."""
    torch = pytest.importorskip("torch")
    from pictor.backends.enlarger import EnlargerNetwork
    from pictor.backends.export import export_part

    folder = shutil.copytree(vivid_folder, tmp_path_factory.mktemp("able") / "able")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = EnlargerNetwork(channels=8, blocks=2)
        torch.nn.init.normal_(network.tail.weight, std=0.1)
    network.half().save_pretrained(folder / ENLARGER.subfolder)
    export_part(folder, ENLARGER)
    return folder


@pytest.fixture(scope="module")
def studio(able_folder):
    return pictor.load(able_folder, backend="onnx")


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8)).resize(SIZE, Image.Resampling.BICUBIC)


def test_the_network_doubles_once_or_twice_and_needs_no_torch(studio, image, monkeypatch):
    for name in ("torch", "diffusers", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    [two] = studio.upscale(image)
    [four] = studio.upscale(image, scale=4)
    assert two.image.size == (88, 60)
    assert compare(four.image, studio.upscale(two.image)[0].image).identical
    plain = image.resize(two.image.size, Image.Resampling.BILINEAR)
    assert 2 < compare(two.image, plain).mean < 60
    recipe = two.recipe
    assert (recipe.task, recipe.num_steps, recipe.width, recipe.height) == ("upscale", 0, 88, 60)
    assert "Sampler" not in recipe.to_parameters()
    assert compare(two.image, studio.upscale(image, method="network", size=(88, 60))[0].image).identical


def test_both_runtimes_agree(studio, able_folder, image):
    [one], [other] = studio.upscale(image), pictor.load(able_folder, backend="torch").upscale(image)
    assert other.recipe.backend == "torch"
    assert compare(one.image, other.image).maximum <= 1


@pytest.mark.parametrize("scale", [2, 4])
def test_pieces_are_as_the_whole(studio, image, monkeypatch, scale):
    [whole] = studio.upscale(image, scale=scale)
    monkeypatch.setattr(enlarging, "PIECE", 16)
    seen = []
    [pieces] = studio.upscale(image, scale=scale, on_progress=seen.append)
    assert compare(whole.image, pieces.image).identical
    total = {2: 3 * 2, 4: 3 * 2 + 6 * 4}[scale]
    assert [(progress.done, progress.total) for progress in seen] == [
        (done, total) for done in range(1, total + 1)
    ]


def test_pieces_that_saw_less_would_show(studio, image, monkeypatch):
    [whole] = studio.upscale(image)
    monkeypatch.setattr(enlarging, "PIECE", 16)
    monkeypatch.setattr(studio.bundle.enlarge, "_reach", 0)
    assert compare(whole.image, studio.upscale(image)[0].image).maximum > 1


@pytest.mark.parametrize("allowed", [0, 2])
def test_cancelling_ends_between_pieces(studio, image, monkeypatch, allowed):
    monkeypatch.setattr(enlarging, "PIECE", 16)
    seen = []
    with pytest.raises(Cancelled):
        studio.upscale(image, on_progress=seen.append, should_stop=lambda: len(seen) >= allowed)
    assert len(seen) == allowed


def test_it_can_be_made_again_and_by_no_other_network(studio, able_folder, vivid_folder, image, tmp_path):
    [made] = studio.upscale(image, scale=4)
    recipe = pictor.Recipe.from_json(made.recipe.to_json())
    assert compare(made.image, reproduce(recipe, studio, inputs={"image": image}).image).identical
    with pytest.raises(InputError, match="not the one"):
        reproduce(recipe, studio, inputs={"image": image.transpose(Image.Transpose.ROTATE_180)})
    with pytest.raises(ModelError, match="without a network"):
        reproduce(recipe, pictor.load(vivid_folder, backend="onnx"), inputs={"image": image})
    folder = shutil.copytree(able_folder, tmp_path / "other")
    weights = folder / "enlarger" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-2] + b"\0\0")
    with pytest.raises(ModelError, match="was made by"):
        reproduce(recipe, pictor.load(folder, backend="onnx"), inputs={"image": image})
    # Painted pictures are the model's own, whatever enlarger lies beside it.
    [painted] = studio.generate("a cat", num_steps=1)
    again = reproduce(painted.recipe, pictor.load(folder, backend="onnx"))
    assert compare(painted.image, again.image).identical


def test_words_and_other_wishes_of_painting_are_for_diffusion(studio, vivid_folder, image):
    plain = pictor.load(vivid_folder, backend="onnx")
    wish = {"prompt": "a cat", "num_steps": 4}
    [made], [without] = studio.upscale(image, **wish), plain.upscale(image, **wish)
    assert made.recipe.num_steps == 4
    assert compare(made.image, without.image).identical
    assert compare(made.image, reproduce(made.recipe, studio, inputs={"image": image}).image).identical
    [bare], [named] = plain.upscale(image), studio.upscale(image, method="diffusion")
    assert bare.recipe.num_steps == studio.traits.defaults.num_steps
    assert compare(bare.image, named.image).identical
    assert compare(named.image, reproduce(named.recipe, studio, inputs={"image": image}).image).identical


GIVEN = {
    "prompt": "a cat",
    "strength": 0.3,
    "negative_prompt": "red",
    "seed": 1,
    "count": 2,
    "num_steps": 4,
    "guidance_scale": 1.0,
    "guidance_from": 0.0,
    "guidance_until": 1.0,
    "guidance_rescale": 0.5,
    "solver": "euler",
    "spacing": "uniform",
    "tile": "x",
    "control": np.zeros((8, 8, 3), np.uint8),
    "control_weight": 0.5,
    "control_until": 0.5,
    "like": np.zeros((8, 8, 3), np.uint8),
    "like_weight": 0.1,
    "latents": np.zeros((16, 8, 8), np.float32),
}


def test_every_wish_of_painting_is_tried_here():
    fields = set(all_tasks()["upscale"].request.__dataclass_fields__)
    assert fields - {"image", "scale", "method", "size"} == set(GIVEN)


@pytest.mark.parametrize("name", GIVEN)
def test_what_the_network_would_ignore_is_refused_by_name(studio, image, name):
    with pytest.raises(InputError, match=name) as caught:
        studio.upscale(image, method="network", **{name: GIVEN[name]})
    assert caught.value.param == name


def test_what_cannot_be_is_refused_before_work(studio, vivid_folder, image):
    for wish, param in (
        ({"method": "magic"}, "method"),
        ({"scale": 3}, "scale"),
        ({"scale": True}, "scale"),
        ({"scale": 2.0}, "scale"),
        ({"size": SIZE}, "size"),
        ({"frames": True}, "frames"),
    ):
        with pytest.raises(InputError) as caught:
            studio.upscale(image, **wish)
        assert caught.value.param == param
    with pytest.raises(InputError, match="million"):
        studio.upscale(Image.new("RGB", (5000, 1000)), scale=4)
    with pytest.raises(InputError, match="does not enlarge pictures by a network"):
        pictor.load(vivid_folder, backend="onnx").upscale(image, method="network")


def test_a_damaged_enlarger_is_named(able_folder, tmp_path):
    folder = shutil.copytree(able_folder, tmp_path / "damaged")
    place = folder / "enlarger"
    (place / "model.onnx").rename(place / "kept.onnx")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        pictor.load(folder, backend="onnx")
    with pytest.warns(pictor.PictorWarning, match="pictor models export") as caught:
        without = pictor.load(folder)
    assert len(caught) == 1
    assert (without.bundle.backend, "enlarge" in without.traits.abilities) == ("onnx", False)
    (place / "kept.onnx").rename(place / "model.onnx")
    weights = place / "diffusion_pytorch_model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(ModelError, match="damaged"):
        pictor.load(folder, backend="onnx")
    weights.write_bytes(whole)
    name = "EnlargerNetwork"
    for wrong in (
        {"_class_name": "Other", "blocks": 2},
        {"_class_name": name},
        *({"_class_name": name, "blocks": blocks} for blocks in (True, -1, 65, 2.0)),
    ):
        (place / "config.json").write_text(json.dumps(wrong))
        with pytest.raises(ModelError, match="no enlarger"):
            pictor.load(folder, backend="onnx")


@pytest.mark.parametrize("shape", [(3, 60, 88), (1, 3, 30, 44), (1, 1, 60, 88), (1, 3, 90, 132)])
def test_a_network_that_does_not_double_is_named(image, shape):
    class Other:
        def run(self, image):
            return {"large": np.zeros(shape, np.float32)}

    with pytest.raises(pictor.PictorError, match="the enlarging network made"):
        enlarging.Enlarger(Other(), 6, str)(np.asarray(image), 2)


def test_the_graphs_of_what_lies_beside_a_model_are_exported(able_folder, tmp_path):
    from pictor.families.registry import graphed_parts

    folder = shutil.copytree(able_folder, tmp_path / "beside")
    names = ["unet", "decoder", "encoder", "text_encoder", "enlarger"]
    (folder / "image_encoder").mkdir()
    (folder / "image_encoder" / "config.json").write_text("{}")  # a picture adapter's
    assert [part.name for part in graphed_parts(folder)] == names
    (folder / "image_encoder" / "vocabulary.json").write_text("{}")
    assert [part.name for part in graphed_parts(folder)] == [*names, "image_encoder"]


def test_on_the_command_line(able_folder, image, tmp_path, capsys):
    from pictor.cli import main

    file, out = str(tmp_path / "small.png"), str(tmp_path / "large.png")
    image.save(file)
    model = ["--model", str(able_folder)]
    assert main(["upscale", file, "--scale", "4", "--method", "network", "--out", out, *model]) == 0
    with Image.open(out) as large:
        assert large.size == (176, 120)
    assert main(["reproduce", out, "--input", f"image={file}", *model]) == 0
    assert main(["upscale", file, "--method", "network", "--strength", "0.5", *model]) == 2
    assert "strength is given" in capsys.readouterr().err
