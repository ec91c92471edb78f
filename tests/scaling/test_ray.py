"""Ray on two nodes, both on this machine: the same bytes and the same weights as without it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import resource_tracker
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ray = pytest.importorskip("ray")
torch = pytest.importorskip("torch")
pytest.importorskip("pyarrow")

import ray_work
from deadly import OneDeadly
from ray.cluster_utils import Cluster
from safetensors.torch import load_file

from pictor.core.errors import Cancelled, InputError
from pictor.data import crew
from pictor.data import prepare as prepare_module
from pictor.data.buckets import Buckets
from pictor.data.crew import Terms
from pictor.data.engines import results_of
from pictor.data.prepare import Settings, prepare
from pictor.data.sources.registry import Opened, open_sources
from pictor.training import loop
from pictor.training.checkpoints import latest_checkpoint
from pictor.training.engines import ray as engine
from pictor.training.engines import training_by
from pictor.training.outlook import Outlook
from pictor.training.recipe import Recipe
from pictor.training.terms import Progress

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own


def descendants(pid: int) -> set[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in children}.union(*(descendants(int(child)) for child in children))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Two nodes of a processor each."""
    resource_tracker.ensure_running()  # of this process, and stays
    before = descendants(os.getpid())
    node = {"num_cpus": 1, "node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # else a busy machine has no time for them
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        nodes = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        nodes.add_node(**node)
        # Else Ray turns the loopback address into one that other machines reach.
        patch.setattr("ray._private.services.get_node_ip_address", lambda address=None: "127.0.0.1")
        patch.setenv("RAY_ADDRESS", nodes.address)
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        yield
        ray.shutdown()
        nodes.shutdown()
    assert descendants(os.getpid()) <= before


def bytes_of(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Opened]:
    """Twenty of them in parts of four; the sixth breaks its decoder and the tenth is none."""
    monkeypatch.setattr(crew.parts, "__defaults__", (None, 4))
    monkeypatch.setattr(prepare_module, "PART", 4)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(20):
        coarse = np.random.default_rng(number).integers(0, 256, (5, 5, 3), np.uint8)
        Image.fromarray(coarse).resize((40 + number, 48)).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text(f"number {number}")
    (folder / "09.png").write_bytes(b"no picture")
    return [replace(entry, source=OneDeadly(entry.source, 5)) for entry in open_sources([str(folder)])]


@pytest.mark.usefixtures("cluster")
def test_the_same_folder_is_prepared_on_two_nodes(
    tmp_path: Path, pictures: list[Opened], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(buckets=Buckets.of_area(32, 8, 2.5), val=0.2)
    monkeypatch.chdir(tmp_path)  # where relative paths begin on the nodes, too
    done: list[int] = []
    terms = Terms(on_progress=lambda count, total: done.append(count))
    summary = prepare(pictures, Path("by-ray"), settings, terms, engine="ray")
    assert done[-1] == 20
    assert summary["left_out"] == 2
    assert prepare(pictures, Path("here"), settings, Terms(workers=1)) == summary
    found = bytes_of(Path("by-ray"))
    assert len([name for name in found if name.startswith("shards/")]) == 5
    assert found == bytes_of(Path("here"))
    left_out = (tmp_path / "by-ray" / "left-out.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in left_out] == ["05.png", "09.png"]


@pytest.mark.usefixtures("cluster")
def test_preparing_on_a_cluster_stops_on_request(tmp_path: Path, pictures: list[Opened]) -> None:
    with pytest.raises(Cancelled, match="of 20 pictures"):
        prepare(
            pictures,
            tmp_path / "out",
            Settings(buckets=Buckets.square(32)),
            Terms(should_stop=lambda: True),
            engine="ray",
        )


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'beam' is unknown"):
        results_of("beam")
    with pytest.raises(InputError, match="'beam' is unknown"):
        training_by("beam")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Nine steps, saved after each."""
    monkeypatch.setattr(engine, "_work", ray_work.on_a_line)
    monkeypatch.setattr(loop, "build", ray_work.LineFit)
    monkeypatch.setenv("RANK", "0")
    return Recipe(
        name="line",
        seed=3,
        samples=137,
        batch_size=16,
        checkpoint_minutes=1e-6,
        optimiser={"learning_rate": 0.02},  # type: ignore[arg-type]
        objective={},
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    checkpoint = latest_checkpoint(run / "checkpoints")
    assert checkpoint is not None
    files = sorted(checkpoint.glob("*.safetensors"))
    return {f"{file.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.usefixtures("cluster")
def test_a_killed_process_costs_a_cluster_no_more_than_the_last_step(recipe: Recipe, tmp_path: Path) -> None:
    """Two processes on two nodes, one killed in the sixth step: weights, averages and moments are equal."""
    doomed = recipe.model_copy(update={"objective": {"kill": str(tmp_path / "killed")}})
    told: list[Progress | Outlook] = []
    outcome = training_by("ray")(
        doomed, tmp_path / "ray", processes=2, on_outlook=told.append, on_progress=told.append
    )
    assert outcome.finished
    assert (tmp_path / "killed").exists()
    calls = [json.loads(line) for line in (tmp_path / "ray" / "calls.jsonl").read_text().splitlines()]
    begun = [call for call in calls if "processes" in call]
    assert [call["processes"] for call in begun] == [2, 2]
    assert isinstance(told[0], Outlook)
    assert isinstance(told[-1], Progress)
    assert 0 < told[-1].samples_seen <= 137
    loop.train(recipe, tmp_path / "here")
    one, two = weights(tmp_path / "here"), weights(tmp_path / "ray")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-6)
    assert sorted(path.name for path in (tmp_path / "ray").iterdir()) == sorted(
        path.name for path in (tmp_path / "here").iterdir()
    )


@pytest.mark.usefixtures("cluster")
def test_an_error_that_would_come_again_ends_a_clusters_run(recipe: Recipe, tmp_path: Path) -> None:
    torn = recipe.model_copy(update={"objective": {"torn": True}})
    with pytest.raises(InputError, match="picture 88 is torn"):
        training_by("ray")(torn, tmp_path / "run", processes=2)
    with pytest.raises(InputError, match="17 processes share"):
        training_by("ray")(recipe, tmp_path / "run", processes=17)
    with pytest.raises(InputError, match="cluster of 0 GPUs"):
        training_by("ray")(recipe, tmp_path / "run", processes=2, device="cuda")
