"""Control networks and learnt words: what they change, what is told, and what does not fit."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

import tiny_families
from PIL import Image
from safetensors.torch import save_file

import pictor
from pictor import InputError, ModelError
from pictor.engine.reproduce import compare, reproduce

SHAPES = Image.fromarray(np.kron(np.eye(8, dtype=np.uint8) * 255, np.ones((8, 8), np.uint8))).convert("RGB")
WISH = {"num_steps": 3, "size": (64, 64)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    room = tmp_path_factory.mktemp("adapters")
    made = {name: tiny_families.build(name, room / name) for name in ("sd1", "xl", "flux-quick")}
    unet = diffusers.UNet2DConditionModel.from_pretrained(made["sd1"] / "unet")
    torch.manual_seed(4)
    network = diffusers.ControlNetModel.from_unet(unet)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    network.save_pretrained(room / "control")
    return {**made, "control": room / "control"}


def test_a_control_network_follows_its_picture_with_every_task(folders):
    studio = pictor.load(folders["sd1"], controlnet=folders["control"])
    [plain] = studio.generate("a cat", **WISH)
    [steered] = studio.generate("a cat", control=SHAPES, **WISH)
    [briefly] = studio.generate("a cat", control=SHAPES, control_until=0.4, **WISH)
    [never] = studio.generate("a cat", control=SHAPES, control_until=0.0, **WISH)
    assert compare(plain.image, steered.image).maximum > 2
    assert compare(steered.image, briefly.image).maximum > 0
    assert compare(plain.image, never.image).identical
    assert set(steered.recipe.inputs) == {"control"}
    assert list(steered.recipe.adapters) == ["controlnet control"]
    again = reproduce(steered.recipe, studio, inputs={"control": SHAPES})
    assert compare(again.image, steered.image).identical
    [tiled] = studio.generate("a cat", control=SHAPES, tile="xy", **WISH)
    assert compare(tiled.image, steered.image).maximum > 0
    larger = studio.upscale(SHAPES, num_steps=4, control=SHAPES)
    assert larger[0].image.size == (128, 128)


def test_what_has_no_control_network_says_so(folders):
    with pytest.raises(InputError, match="--controlnet"):
        pictor.load(folders["sd1"]).generate("a cat", control=SHAPES)
    with pytest.raises(ModelError, match="numbers"):
        pictor.load(folders["xl"], controlnet=folders["control"])
    with pytest.raises(InputError, match="no control networks"):
        pictor.load(folders["flux-quick"], controlnet=folders["control"])
    with pytest.raises(ModelError, match="ControlNetModel"):
        pictor.load(folders["sd1"], controlnet=folders["sd1"] / "unet")
    with pytest.raises(InputError, match="control_weight"):
        pictor.load(folders["sd1"], controlnet=folders["control"]).generate(
            "a", control=SHAPES, control_weight=-1
        )


def test_learnt_words_are_read_where_they_stand(folders, tmp_path):
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    save_file({"<ink>": vectors}, tmp_path / "first.safetensors")
    save_file({"emb_params": vectors}, tmp_path / "ink-style.safetensors")
    studio = pictor.load(folders["sd1"], embeddings=[tmp_path / "first.safetensors"])
    named = pictor.load(folders["sd1"], embeddings=[tmp_path / "ink-style.safetensors"])
    plain = pictor.load(folders["sd1"])
    [with_word] = studio.generate("a cat <ink>, red", **WISH)
    [by_name] = named.generate("a cat ink-style, red", **WISH)
    assert compare(with_word.image, by_name.image).identical
    assert compare(with_word.image, plain.generate("a cat <ink>, red", **WISH)[0].image).maximum > 0
    [same], [other] = (one.generate("a cat", **WISH) for one in (studio, plain))
    assert compare(same.image, other.image).identical
    assert list(with_word.recipe.adapters) == ["embedding first.safetensors"]
    embeds = studio.bundle.encode_prompt("(<ink>:1.5) cat")["encoder_hidden_states"]
    assert np.isfinite(embeds).all()


def test_learnt_words_equal_those_of_diffusers(folders, tmp_path):
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(2))
    save_file({"<ink>": vectors}, tmp_path / "first.safetensors")
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folders["sd1"])
    pipeline.load_textual_inversion(str(tmp_path), weight_name="first.safetensors")
    theirs, _ = pipeline.encode_prompt("a cat <ink>", "cpu", 1, False)
    studio = pictor.load(folders["sd1"], embeddings=[tmp_path / "first.safetensors"])
    ours = studio.bundle.encode_prompt("a cat <ink>")["encoder_hidden_states"]
    np.testing.assert_allclose(ours, theirs[0].detach().numpy(), atol=1e-4)


def test_words_for_another_family_are_refused(folders, tmp_path):
    file = tmp_path / "wide.safetensors"
    save_file({"<ink>": torch.zeros(1, 48)}, file)
    with pytest.raises(ModelError, match="another kind of model"):
        pictor.load(folders["sd1"], embeddings=[file])
    save_file({"clip_l": torch.zeros(1, 32)}, file)
    with pytest.raises(ModelError, match="text_encoder_2"):
        pictor.load(folders["xl"], embeddings=[file])
    save_file({"clip_l": torch.zeros(1, 32), "clip_g": torch.zeros(2, 32)}, file)
    pictor.load(folders["xl"], embeddings=[file])
    with pytest.raises(InputError, match="learns no words"):
        pictor.load(folders["flux-quick"], embeddings=[file])
    (tmp_path / "old.pt").touch()
    with pytest.raises(ModelError, match="never loaded"):
        pictor.load(folders["sd1"], embeddings=[tmp_path / "old.pt"])
