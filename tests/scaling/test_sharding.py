"""Weights spread over processes: the curve, the weights, the moments and the model of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import shard_work
from safetensors.torch import load_file

from pictor.core.errors import Cancelled, InputError
from pictor.training import loop
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.loop import train
from pictor.training.recipe import Recipe
from pictor.training.terms import Progress


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.setattr(loop, "build", shard_work.build)
    return Recipe(
        name="waves",
        seed=3,
        samples=121,
        batch_size=16,
        optimiser={"learning_rate": 0.02, "clip_norm": 0.05},  # type: ignore[arg-type]
        objective={},
    )


def _weights(run: Path) -> dict[str, Any]:
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    files = sorted(checkpoint.glob("*.safetensors"))
    return {f"{file.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def test_spread_weights_learn_what_whole_ones_do_and_either_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    """Two processes that share, then one alone, then two that share: as one alone from first to last."""
    curves: dict[str, list[Progress]] = {"one": [], "mixed": []}
    whole = train(recipe, tmp_path / "one", on_progress=curves["one"].append)
    mixed = tmp_path / "mixed"
    for stop, how in ((3, {"processes": 2, "shard": True}), (2, {}), (99, {"processes": 2, "shard": True})):
        steps = iter(range(1, 100))
        try:
            outcome = train(
                recipe,
                mixed,
                resume=mixed.exists(),
                on_outlook=lambda outlook: None,
                on_progress=curves["mixed"].append,
                should_stop=lambda steps=steps, stop=stop: next(steps) == stop,
                **how,  # type: ignore[arg-type]
            )
        except Cancelled:
            continue
    assert [p.samples_seen for p in curves["mixed"]] == [p.samples_seen for p in curves["one"]]
    assert [p.loss for p in curves["mixed"]] == pytest.approx([p.loss for p in curves["one"]], rel=1e-4)
    one, two = _weights(tmp_path / "one"), _weights(mixed)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
    assert outcome.figures == pytest.approx(whole.figures, rel=1e-4)
    models = [torch.load(run / "model" / "weights.pt") for run in (tmp_path / "one", mixed)]
    torch.testing.assert_close(models[1], models[0], rtol=1e-4, atol=1e-6)


def test_each_process_holds_its_share(recipe: Recipe, tmp_path: Path) -> None:
    counting = recipe.model_copy(update={"objective": {"count": str(tmp_path)}})
    train(counting, tmp_path / "run", processes=2, shard=True)
    held = [int((tmp_path / str(rank)).read_text()) for rank in range(2)]
    assert sum(held) == shard_work.SIZE
    assert max(held) <= 0.55 * shard_work.SIZE


@pytest.mark.parametrize(
    ("changes", "processes", "says"),
    [
        ({}, 1, "one process has nothing to share"),
        ({"compile": True}, 2, "compile is True"),
        ({"accumulate": 2}, 2, "accumulate is 2"),
        ({"precision": "fp16"}, 2, "not scaled"),
        ({"objective": {"loose": True}}, 2, "cannot be sharded: loose"),
    ],
)
def test_what_cannot_be_spread_is_refused(
    recipe: Recipe, changes: dict[str, Any], processes: int, says: str
) -> None:
    from pictor.training.sharding import spread

    network = shard_work.build(changes.get("objective", {}), 0).module
    with pytest.raises(InputError, match=says):
        spread(network, recipe.model_copy(update=changes), processes, torch.device("cpu"))
