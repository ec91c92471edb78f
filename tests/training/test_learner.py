"""What a step does: parts of a batch, activations computed anew, sixteen bits, and when a run stops."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from pictor.core.errors import Cancelled, InputError, PictorError

torch = pytest.importorskip("torch")

from line_fit import LineFit
from safetensors.torch import load_file

from pictor.training import learner, loop
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.devices import checkpoint_activations
from pictor.training.feeding import jobs, parts
from pictor.training.loop import train
from pictor.training.processes import Team
from pictor.training.recipe import Recipe, validated
from pictor.training.schedule import Intervals, rate_factor


class Fit(LineFit):
    """A line, with losses that may be of any size."""

    factor = 1.0

    def loss(self, batch):
        loss, figures = super().loss(batch)
        return loss * self.factor, figures


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(loop, "build", lambda table, seed: Fit(seed))
    table = {"name": "line", "seed": 3, "samples": 90, "batch_size": 16, "objective": {}}
    return validated(Recipe, table | {"optimiser": {"learning_rate": 0.02}}, "test")


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    return load_file(checkpoint / "model.safetensors")


def with_(recipe: Recipe, **keys: object) -> Recipe:
    return validated(Recipe, recipe.model_dump() | keys, "test")


@pytest.mark.parametrize("accumulate", [2, 3, 16])
def test_a_batch_in_parts_is_the_batch(recipe: Recipe, tmp_path: Path, accumulate: int) -> None:
    seen: dict[int, list[object]] = {}
    for number in (1, accumulate):
        told = seen.setdefault(number, [])
        run = tmp_path / str(number)
        train(
            with_(recipe, accumulate=number),
            run,
            on_progress=lambda p, told=told: told.append((p.loss, p.figures["error"])),
        )
    whole, in_parts = weights(tmp_path / "1"), weights(tmp_path / str(accumulate))
    for name, tensor in whole.items():
        torch.testing.assert_close(in_parts[name], tensor, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen[accumulate], seen[1], rtol=1e-4, atol=1e-6)
    assert all(abs(loss - error) < 1e-6 for loss, error in seen[accumulate])


def test_parts_hold_every_sample_once_and_weigh_one_in_all(recipe: Recipe) -> None:
    recipe = with_(recipe, accumulate=3)
    drawn = sorted(
        number
        for rank in range(2)
        for first, count in jobs(0, recipe, Team(rank, 2))
        for number in range(first, first + count)
    )
    assert drawn == list(range(90))
    shares = [parts(80, recipe, Team(rank, 2)) for rank in range(2)]
    assert sum(weight for share in shares for *_, weight in share) == pytest.approx(1)
    # Where there are fewer samples than processes, one without any computes one of weight 0.
    assert parts(0, with_(recipe, samples=1), Team(0, 2)) == [(0, 1, 0.0)]
    with pytest.raises(InputError, match="have no 17 parts"):
        with_(recipe, accumulate=17)


def test_float16_learns_and_goes_on_exactly(recipe: Recipe, tmp_path: Path) -> None:
    half = with_(recipe, precision="fp16", samples=1000)
    outcome = train(half, tmp_path / "whole")
    assert outcome.figures["held_out"] < 0.05
    stop = iter([False] * 20 + [True])
    with pytest.raises(Cancelled):
        train(half, tmp_path / "parts", should_stop=lambda: next(stop))
    record = latest_checkpoint(tmp_path / "parts" / "checkpoints") / "record.json"
    assert json.loads(record.read_text())["scaler"]["_growth_tracker"] > 0
    train(half, tmp_path / "parts", resume=True)
    whole, in_parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(tensor, in_parts[name]) for name, tensor in whole.items())


def test_gradients_that_vanish_in_float16_do_not_where_the_loss_is_scaled(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses of 1e-7 have gradients below the least number of float16."""
    monkeypatch.setattr(Fit, "factor", 1e-7)
    half = with_(recipe, precision="fp16", samples=1000)
    scaled = train(half, tmp_path / "scaled").figures["held_out"]
    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: scaler(device, enabled=False))
    vanished = train(half, tmp_path / "vanished").figures["held_out"]
    assert scaled < vanished / 5


def test_float16_that_cannot_hold_the_gradients_ends_the_run(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fit, "factor", 1e9)
    monkeypatch.setattr(learner, "_LEAST_SCALE", 2.0**15)
    with pytest.raises(PictorError, match="overflow in float16 at step"):
        train(with_(recipe, precision="fp16", samples=1000), tmp_path / "run")


def test_a_gradient_that_is_no_number_ends_the_run_at_its_step(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own loss may be one."""
    monkeypatch.setattr(Fit, "loss", lambda self, batch: (self.module(batch["x"]).mul(0).sqrt().mean(), {}))
    with pytest.raises(
        PictorError, match=r"loss is nan at step 1 \(samples 0 to 15\); .* checkpoint is none"
    ):
        train(recipe, tmp_path / "run")
    assert latest_checkpoint(tmp_path / "run" / "checkpoints") is None


def test_activations_computed_anew_give_the_same_gradients_of_less_memory() -> None:
    from diffusers import UNet2DModel

    kept = []

    class Denoises(LineFit):
        def __init__(self) -> None:
            torch.manual_seed(0)
            blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
            self.module = UNet2DModel(16, 3, 3, block_out_channels=(8, 8), norm_num_groups=4, **blocks)

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += tensor.numel()
        return tensor

    gradients = []
    for anew in (False, True):
        objective = Denoises()
        if anew:
            checkpoint_activations(objective)
        objective.module.train()
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            out = objective.module(torch.ones(2, 3, 16, 16), torch.ones(2)).sample.square().mean()
        out.backward()
        gradients.append([parameter.grad for parameter in objective.module.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    assert kept[1] < kept[0] / 2


def test_what_cannot_compute_activations_anew_says_so(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no network of this objective can"):
        train(with_(recipe, gradient_checkpointing=True), tmp_path / "run")


def test_a_cosine_falls_as_one_and_both_end_at_zero() -> None:
    falls = [rate_factor(seen, 100, 0.0, 0.5, "cosine") for seen in range(0, 101, 10)]
    assert falls[:6] == [1.0] * 6
    assert falls[-1] == 0
    assert all(a > b for a, b in pairwise(falls[5:]))
    # Halfway down both are at a half, and a cosine is above the line before and below it after.
    line = [rate_factor(seen, 100, 0.0, 0.5) for seen in (60, 75, 90)]
    cosine = [rate_factor(seen, 100, 0.0, 0.5, "cosine") for seen in (60, 75, 90)]
    assert cosine[1] == pytest.approx(line[1]) == pytest.approx(0.5)
    assert cosine[0] > line[0]
    assert cosine[2] < line[2]


def test_validations_during_a_run_change_nothing(recipe: Recipe, tmp_path: Path) -> None:
    train(with_(recipe, validate_minutes=1e-7), tmp_path / "often")
    train(recipe, tmp_path / "once")
    often, once = weights(tmp_path / "often"), weights(tmp_path / "once")
    assert all(torch.equal(tensor, once[name]) for name, tensor in often.items())
    lines = [json.loads(line) for line in (tmp_path / "often" / "log.jsonl").read_text().splitlines()]
    told = [(line["samples"], line["validation"]["held_out"]) for line in lines if "validation" in line]
    assert [samples for samples, _ in told] == [16, 32, 48, 64, 80, 90]
    assert told[-1][1] < told[0][1]


def test_intervals_are_of_the_training_time_of_all_calls() -> None:
    never, times = Intervals(0.0, 0.0), Intervals(1.0, 90.0)
    assert not never.due(1e9)
    assert [times.due(seconds) for seconds in (119.0, 120.0, 121.0, 500.0, 501.0)] == [
        False, True, False, True, False,
    ]  # fmt: skip


def test_memory_is_told(recipe: Recipe, tmp_path: Path) -> None:
    seen = []
    outlooks = []
    train(recipe, tmp_path / "run", on_progress=seen.append, on_outlook=outlooks.append)
    assert seen[-1].peak_memory > 50e6  # Python and torch alone
    # Weights, gradients, two moments and two averages of 25 numbers.
    assert outlooks[0].memory == 6 * 4 * outlooks[0].learning
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-2])
    assert last["memory_gb"] == pytest.approx(seen[-1].peak_memory / 1e9, abs=0.001)
