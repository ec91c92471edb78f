"""Distillation: what is learnt, against closed forms; then the objective itself, at a tiny scale."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from pictor.core.errors import InputError
from pictor.data.picturebook import Picturebook
from pictor.data.picturebook.font import find_font

torch = pytest.importorskip("torch")

import tiny

from pictor.training import pipeline_folder
from pictor.training.captioned_latents import CorpusKeys, PictureEncoder, downsampling
from pictor.training.linear_code import fit_linear_code, install_linear_code
from pictor.training.loop import train
from pictor.training.objectives import distillation
from pictor.training.objectives.distillation import (
    Config,
    DistillationObjective,
    Teacher,
    build,
    mean_velocity,
)
from pictor.training.parts import encode, open_unet
from pictor.training.recipe import Recipe, validated

try:
    find_font()
    no_font = False
except InputError:
    no_font = True
needs_font = pytest.mark.skipif(no_font, reason="no emoji font to draw the corpus from")

SIZE = 32


class WordNet(torch.nn.Module):
    """A denoiser that can be worked out by hand: x + t/1000 times the mean of the words."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, x: torch.Tensor, time: torch.Tensor, words: torch.Tensor) -> object:
        self.rows += len(x)
        shift = (time / 1000 * words.mean((1, 2)))[:, None, None, None]
        return type("Out", (), {"sample": x + shift})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model at 32 pixels, with a default guidance of 2."""
    folder = tiny.build(tmp_path_factory.mktemp("teacher") / "model", tiny.TinyConfig(latent_size=4))
    sheet = {"defaults": {"guidance_scale": 2.0, "size": [SIZE, SIZE]}}
    (folder / "pictor.json").write_text(json.dumps(sheet))
    return folder


def objective(teacher: Path, **options: object) -> DistillationObjective:
    torch.manual_seed(0)
    return build({"teacher": str(teacher), **options}, 0)


@torch.no_grad()
def first_loss(one: DistillationObjective) -> float:
    return float(one.loss(one.batch(0, 8))[0])


@pytest.mark.parametrize(
    ("solver", "substeps", "factor"),
    [
        ("euler", 1, lambda h: 1 - 3 * h),
        ("euler", 2, lambda h: (1 - 1.5 * h) ** 2),
        ("heun", 1, lambda h: 1 - 3 * h + 4.5 * h**2),
        ("heun", 2, lambda h: (1 - 1.5 * h + 1.125 * h**2) ** 2),
    ],
)
def test_the_mean_velocity_lands_where_the_small_steps_do(solver: str, substeps: int, factor: object) -> None:
    """dx/dt = 3 x: every solver's x_s is a known multiple of x_t."""
    x = torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([1.0, 0.75, 0.7, 0.5], dtype=torch.float64)
    s = torch.tensor([0.75, 0.5, 0.1, 0.25], dtype=torch.float64)
    times: list[torch.Tensor] = []

    def velocity(x: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        times.append(now)
        return 3 * x

    v = mean_velocity(velocity, x, t, s, substeps, solver)  # type: ignore[arg-type]
    h = (t - s)[:, None, None, None]
    torch.testing.assert_close(x - h * v, factor(h) * x)  # type: ignore[operator]
    assert torch.equal(times[0], t)
    if substeps == 2:
        torch.testing.assert_close(times[len(times) // 2], (t + s) / 2)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_more_sub_steps_close_in_on_the_flow(solver: str, order: int) -> None:
    x, t, s = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.tensor([1.0]), torch.tensor([0.5])
    exact = (1 - np.exp(-1.0)) / 0.5
    errors = [
        abs(float(mean_velocity(lambda x, _: 2 * x, x, t, s, steps, solver)) - exact)  # type: ignore[arg-type]
        for steps in (16, 32)
    ]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.1)


def test_no_network_is_asked_at_time_zero() -> None:
    """Heun's last sub-step is Euler's, as in sampling; the other row goes on with its second slope."""
    x, t, s = torch.ones(2, 1, 1, 1), torch.tensor([0.5, 1.0]), torch.tensor([0.0, 0.5])

    def velocity(x: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        return torch.where((now > 0)[:, None, None, None], x, torch.nan)

    v = mean_velocity(velocity, x, t, s, 1, "heun")[:, 0, 0, 0]
    torch.testing.assert_close(v, torch.tensor([1.0, 0.75]))


def test_the_teacher_is_guided_where_it_should_be() -> None:
    """Rows: below the interval, on its low end, on its high end, inside with an empty caption."""
    net = WordNet()
    words = torch.stack([torch.full((3, 4), value) for value in (1.0, 2.0, 3.0, 0.5)])
    empty = torch.full((1, 3, 4), 0.5)
    x, t = torch.zeros(4, 2, 2, 2), torch.tensor([0.1, 0.2, 0.8, 0.5])
    captioned = torch.tensor([True, True, True, False])
    out = Teacher(net, 4.0, low=0.2, high=0.8).velocity(words, empty, captioned)(x, t)
    expected = torch.tensor([0.1 * 1.0, 0.2 * 2.0, 0.8 * (0.5 + 4 * (3.0 - 0.5)), 0.5 * 0.5])
    torch.testing.assert_close(out, expected[:, None, None, None].expand_as(x))
    assert net.rows == 8
    Teacher(net, 1.0).velocity(words, empty, captioned)(x, t)
    assert net.rows == 12


@needs_font
def test_a_student_that_is_its_teacher_has_nothing_to_learn(teacher: Path) -> None:
    same = objective(teacher, guidance=1.0, student_steps=4, teacher_steps=4)
    assert first_loss(same) < 1e-10
    guided = objective(teacher, guidance=2.0, student_steps=4, teacher_steps=4)
    assert first_loss(guided) > 1e-6
    halving = objective(teacher, guidance=1.0, student_steps=4, teacher_steps=8)
    assert first_loss(halving) > 1e-8


@needs_font
def test_the_target_is_the_guided_velocity(teacher: Path) -> None:
    """By two separate passes of the network; the scale is the teacher's own default."""
    one = objective(teacher, student_steps=4, teacher_steps=4, empty_captions=0.3)
    batch = one.batch(0, 12)
    with torch.no_grad():
        x, words, target = one.lesson(batch)
        empty = one.text_encoder(input_ids=one.empty_1T).last_hidden_state.expand_as(words)
        conditional, other = (one.module.unet(x, 1000 * batch["t"], w).sample for w in (words, empty))
    torch.testing.assert_close(target, other + 2.0 * (conditional - other), atol=1e-5, rtol=1e-4)
    t = batch["t"][:, None, None, None]
    image = batch["image"].permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(x, (1 - t) * encode(one.encoder.autoencoder, image) + t * batch["eps"])
    unsaid = (batch["ids"] == one.empty_1T).all(1)
    assert 0 < int(unsaid.sum()) < 12
    torch.testing.assert_close(target[unsaid], other[unsaid], atol=1e-5, rtol=1e-4)


@needs_font
def test_the_students_own_states_are_on_its_path(teacher: Path) -> None:
    one = objective(teacher, student_steps=4, own_share=1.0)
    batch = one.batch(0, 8)
    batch["t"] = torch.tensor([1.0, 0.75, 0.5, 0.25] * 2)
    with torch.no_grad():
        x, words, _ = one.lesson(batch)
        path = [batch["eps"]]
        for number in range(3):
            now = torch.full((8,), 1000 * (1 - number / 4))
            path.append(path[-1] - one.module.unet(path[-1], now, words).sample / 4)
    for row in range(8):
        torch.testing.assert_close(x[row], path[row % 4][row], atol=1e-5, rtol=1e-4)


@needs_font
def test_the_students_own_steps_leave_its_gradients_whole(teacher: Path) -> None:
    one = objective(teacher, own_share=1.0)
    batch = one.batch(0, 4)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = one.loss(batch)
    loss.backward()
    assert all(p.grad is not None for name, p in one.module.named_parameters())
    assert all(p.grad is None for p in one.teacher.unet.parameters())
    assert all(p.grad is None for p in one.text_encoder.parameters())


@needs_font
def test_samples_are_functions_of_their_numbers(teacher: Path) -> None:
    one = objective(teacher, student_steps=3, teacher_steps=6)
    whole, part = one.batch(0, 24), one.batch(20, 4)
    for name, tensor in part.items():
        torch.testing.assert_close(tensor, whole[name][20:])
    assert {round(float(t) * 3) for t in whole["t"]} == {1, 2, 3}
    assert 0.2 < float(whole["lot"].mean()) < 0.8
    elsewhere = pickle.loads(pickle.dumps(one.drawer()))(20, 4)
    assert all(np.array_equal(elsewhere[name], tensor) for name, tensor in part.items())
    anywhere = objective(teacher, times="any").batch(0, 24)["t"]
    assert len(set(anywhere.tolist())) == 24
    assert bool(((anywhere > 0) & (anywhere <= 1)).all())


@needs_font
def test_a_trained_student_is_nearer_and_opens_as_a_model(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pictor

    monkeypatch.setattr(distillation, "_VALIDATION", 32)
    # A fresh book takes its time over the first picture of each thing; here any picture will do.
    monkeypatch.setattr(
        Picturebook, "draw", lambda book, scene, index: np.full((SIZE, SIZE, 3), index % 256, "u1")
    )
    # Graphs are tested with the denoiser, and take longer to write than all the rest.
    monkeypatch.setattr(pipeline_folder, "export_folder", lambda folder: [])
    table = {"kind": "distillation", "teacher": str(teacher), "guidance": 10.0, "student_steps": 4}
    recipe = Recipe(
        name="student",
        samples=480,
        batch_size=16,
        optimiser={"learning_rate": 2e-3, "weight_decay": 0.0},  # type: ignore[arg-type]
        ema_widths=(0.05,),
        objective=table,
    )
    before = objective(teacher, guidance=10.0).validate()
    outcome = train(recipe, tmp_path / "run")
    assert outcome.figures["held_out_mse"] < 0.7 * before["held_out_mse"]
    assert outcome.figures["path_mse"] < 0.7 * before["path_mse"]
    strayed = outcome.figures["teacher_path_mse_in_few_steps"]
    assert strayed == pytest.approx(before["teacher_path_mse_in_few_steps"])
    studio = pictor.load(outcome.model, backend="torch")
    defaults = studio.traits.defaults
    assert (defaults.num_steps, defaults.guidance_scale, defaults.solver) == (4, 1.0, "euler")
    picture = studio.generate("a red apple", seed=1)[0]
    assert picture.image.size == (SIZE, SIZE)
    assert picture.recipe.num_steps == 4
    again = objective(outcome.model)  # a student that teaches is not guided a second time
    assert again.teacher.scale == 1.0
    on = objective(teacher, guidance=10.0, student=str(outcome.model))  # and one that learns on has learnt
    assert on.validate()["path_mse"] == pytest.approx(outcome.figures["path_mse"], rel=0.02)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student_steps": 4, "teacher_steps": 6}, "teacher_steps: .*6 is no multiple"),
        ({"guidance_low": 0.6, "guidance_high": 0.5}, "guidance_high: .*0.5 is not above"),
        ({"times": "any", "own_share": 0.5}, "own_share: .*on its grid"),
        ({"teacher_solver": "magic"}, "teacher_solver"),
        ({"student_teacher": "elsewhere"}, "student_teacher: .*no student"),
        ({"data": "somewhere", "teacher_language": "en"}, "teacher_language is of drawn pictures"),
        ({"mix": {"dragons": 1.0}}, "mix: .*no share is called dragons"),
    ],
)
def test_a_recipe_that_cannot_be_is_one_clear_error(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        validated(Config, {"teacher": "somewhere", **options}, "[objective]")


def test_a_teacher_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = tiny.build(tmp_path / "model")
    file = folder / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps({"_class_name": "DDIMScheduler"}))
    with pytest.raises(InputError, match="predicts eps") as caught:
        build({"teacher": str(folder)}, 0)
    assert caught.value.param == "objective.teacher"


@needs_font
def test_a_student_reads_chinese_as_its_teacher_reads_english(teacher: Path) -> None:
    """The targets are those of a student that is told all in English; what it reads itself is not."""
    mix = {"chinese": 1.0, "related": 0.5}
    told = objective(teacher, guidance=3.0, teacher_language="en", mix=mix)
    batch = told.batch(0, 8)
    texts = [told.tokenizer.decode(row, skip_special_tokens=True) for row in batch["ids"]]
    retold = [told.tokenizer.decode(row, skip_special_tokens=True) for row in batch["ids_retold"]]
    assert not any(text.isascii() for text in texts if text)
    assert all(text.isascii() for text in retold)
    assert [bool(text) for text in texts] == [bool(text) for text in retold]
    english = batch | {"ids": batch.pop("ids_retold")}
    mixed = english | {"ids": batch["ids"], "ids_retold": english["ids"]}
    (x, words, target), (same_x, other_words, same_target) = told.lesson(mixed), told.lesson(english)
    torch.testing.assert_close(x, same_x)
    torch.testing.assert_close(target, same_target)
    assert not torch.equal(words, other_words)


@needs_font
def test_what_a_student_had_learnt_moves_to_a_teacher_that_went_on(teacher: Path, tmp_path: Path) -> None:
    """The student is its teacher plus 1/8; the new teacher is three times the old one."""
    onwards, student = tmp_path / "teacher", tmp_path / "student"
    shutil.copytree(teacher, onwards)
    old = open_unet(teacher)
    for folder, change in ((student, lambda p: p + 0.125), (onwards, lambda p: 3 * p)):
        net = open_unet(teacher)
        net.load_state_dict({name: change(tensor) for name, tensor in net.state_dict().items()})
        net.save_pretrained(folder / "unet")
    moved = objective(onwards, student=str(student), student_teacher=str(teacher)).module.unet
    for name, tensor in moved.state_dict().items():
        torch.testing.assert_close(tensor, 3 * old.state_dict()[name] + 0.125, atol=1e-5, rtol=1e-5)


@needs_font
def test_a_student_of_another_shape_is_refused(teacher: Path, tmp_path: Path) -> None:
    other = tiny.build(tmp_path / "model", tiny.TinyConfig(latent_size=4, channels=(64, 64)))
    with pytest.raises(InputError, match="another shape") as caught:
        objective(teacher, student=str(other))
    assert caught.value.param == "objective.student"
    with pytest.raises(InputError, match="another shape") as caught:
        objective(teacher, student=str(teacher), student_teacher=str(other))
    assert caught.value.param == "objective.student_teacher"


def test_shares_of_scenes_come_as_a_table() -> None:
    keys = validated(CorpusKeys, {"mix": {"counted": 0.0}}, "[objective]")
    assert keys.mix.counted == 0.0
    assert CorpusKeys().mix != keys.mix


def test_downsampling_is_read_off_both_kinds_of_autoencoder() -> None:
    for kind in ("tiny", "kl"):
        autoencoder = tiny.make_autoencoder(tiny.TinyConfig(autoencoder=kind))  # type: ignore[arg-type]
        assert downsampling(autoencoder) == 8


def test_an_encoder_that_is_a_matrix_is_used_as_one() -> None:
    """A linear code is found to be one; a random encoder has activations and is not."""
    from diffusers import AutoencoderTiny

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    drawn = tiny.make_autoencoder(tiny.TinyConfig())
    linear = AutoencoderTiny(
        latent_channels=12,
        encoder_block_out_channels=(48,) * 4,
        num_encoder_blocks=(0,) * 4,
        decoder_block_out_channels=(8,) * 4,
        num_decoder_blocks=(1,) * 4,
        scaling_factor=2.5,
    )
    install_linear_code(linear.encoder, fit_linear_code(pictures, 8, 12, whitening=0.6, spread=0.4))
    for autoencoder, is_linear in ((drawn, False), (linear, True)):
        encoder = PictureEncoder(autoencoder)
        assert encoder.linear == is_linear
        with torch.autocast("cpu", torch.bfloat16):
            latents = encoder(torch.from_numpy(pictures))
        torch.testing.assert_close(latents, encode(autoencoder, image), atol=2e-4, rtol=1e-4)
