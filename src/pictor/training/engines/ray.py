"""Ray Train starts the processes on all machines of a cluster, and starts them again where some were lost.

In each runs the loop of `pictor.training.loop`. Rank 0 writes into the run's folder, and those that are
started again go on from its last checkpoint. All machines must see that folder, the one that the command was
started in and what the recipe names at the same paths.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch.distributed as dist

from pictor.core.errors import Cancelled, InputError, PictorError
from pictor.data.ray_cluster import connected
from pictor.training import loop
from pictor.training.lock import held
from pictor.training.processes import PeerGoneError
from pictor.training.recipe import Recipe
from pictor.training.run_folder import claim
from pictor.training.terms import Outcome

News = tuple[str, tuple[object, ...]]
"""Name and arguments of a callback."""

_ATTEMPTS = 3
"""Times that lost processes are started again."""
_SECONDS = 0.5
"""Between two looks at what is told and wished."""


@dataclass(frozen=True, kw_only=True)
class _Call:
    """What each process is to do."""

    recipe: Recipe
    run: Path
    options: dict[str, Any]
    """Of `loop.train`, the same in each attempt."""
    hooks: tuple[str, ...]
    """Those of its callbacks that somebody waits for."""
    until: float | None
    """When it is to end, in seconds since 1970."""
    folder: Path
    """That the command was started in."""
    desk: Any


class _Desk:
    """Where the processes and the one that waits for them meet; an actor of its own."""

    def __init__(self) -> None:
        self._news: list[News] = []
        self._stop = False
        self._error: PictorError | None = None

    def tell(self, news: News) -> bool:
        """Leave news; returns whether the run is to stop."""
        self._news.append(news)
        return self._stop

    def hear(self, stop: bool) -> list[News]:
        """The news since the last time; `stop` stops the run."""
        self._stop |= stop
        news, self._news = self._news, []
        return news

    def fail(self, error: PictorError) -> None:
        """Another attempt would end with this, too."""
        self._error = self._error or error

    def error(self) -> PictorError | None:
        """What ended an attempt for good."""
        return self._error


def train(
    recipe: Recipe,
    run: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    processes: int = 1,
    device: str = "auto",
    should_stop: Callable[[], bool] | None = None,
    **options: Any,
) -> Outcome:
    """`loop.train` in as many processes of the cluster, all on the same kind of device.

    Its callbacks are called here, now and then.

    Raises:
        InputError: as `loop.train`, or the cluster has too few GPUs.
        MissingExtraError: Ray is not installed.
        PictorError: as `loop.train`, or processes were lost more often than they are started again.
        Cancelled: stopped on request, after saving.
    """
    if not 1 <= processes <= recipe.batch_size:
        raise InputError(
            f"{processes} processes share batches of {recipe.batch_size}",
            expected="a process or more, and a sample or more for each",
            param="processes",
        )
    ray = connected()
    where = _device(device, processes, ray.cluster_resources().get("GPU", 0))
    run = run.resolve()
    with held(run):
        claim(run, recipe, resume)
    desk = ray.remote(num_cpus=0)(_Desk).remote()
    hooks = {name: options.pop(name) for name in list(options) if name.startswith("on_")}
    hooks = {name: hook or _unheard for name, hook in ({"on_progress": None} | hooks).items()}
    call = _Call(
        recipe=recipe,
        run=run,
        options={**options, "device": where},
        hooks=tuple(hooks),
        until=None if minutes is None else time.time() + 60 * minutes,
        folder=Path.cwd(),
        desk=desk,
    )

    def look() -> None:
        stop = should_stop is not None and should_stop()
        for name, args in ray.get(desk.hear.remote(stop)):
            hooks[name](*args)

    with ThreadPoolExecutor(1) as pool:
        # In a thread Ray leaves Ctrl-C to those who asked it to train.
        fitting = pool.submit(_fit, call, processes, where)
        try:
            while not fitting.done():
                look()
                wait([fitting], _SECONDS)
            look()
        except BaseException:
            ray.shutdown()  # which ends the processes at once
            raise
    ray.kill(desk)
    outcome = fitting.result()
    if isinstance(outcome, PictorError):
        raise outcome
    return outcome


def _unheard(*args: object) -> None:
    """In the place of a callback that nobody gave; a wish to stop is learnt when progress is told."""


def _device(name: str, processes: int, gpus: float) -> str:
    """The device of all processes.

    Raises:
        InputError: an unknown name, or more processes than GPUs.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {name!r}", expected="auto, cpu or cuda", param="device")
    if name == "cuda" and gpus < processes:
        raise InputError(
            f"{processes} processes on a cluster of {gpus:g} GPUs",
            expected="a GPU for each process",
            remedy="Pass fewer --processes, or --device cpu.",
            param="processes",
        )
    return "cuda" if name != "cpu" and gpus >= processes else "cpu"


def _fit(call: _Call, processes: int, device: str) -> Outcome | PictorError:
    from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = device == "cuda"
    notes = call.run / ".ray"
    trainer = TorchTrainer(
        _work,
        train_loop_config={"call": call},
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpu),
        run_config=RunConfig(storage_path=str(notes), failure_config=FailureConfig(max_failures=_ATTEMPTS)),
    )
    try:
        outcome: Outcome | PictorError = trainer.fit().return_value
    except TrainingFailedError as error:
        return PictorError(
            f"the cluster's processes ended {_ATTEMPTS + 1} times ({' '.join(str(error).split())[:600]})",
            expected="processes that train until the run ends",
            remedy="Is there memory enough? Go on with --resume.",
        )
    finally:
        shutil.rmtree(notes, ignore_errors=True)
    return outcome


def _work(config: dict[str, Any]) -> Outcome | PictorError:
    """The life of a process: what it returns is for good, and what it raises Ray tries again."""
    import ray

    call: _Call = config["call"]
    os.chdir(call.folder)
    earlier: PictorError | None = ray.get(call.desk.error.remote())
    if earlier is not None:
        return earlier
    talk = _Talk(call.desk)
    hooks: dict[str, Any] = {name: partial(talk.tell, name) for name in call.hooks}
    minutes = None if call.until is None else (call.until - time.time()) / 60
    try:
        return loop.train(
            call.recipe,
            call.run,
            minutes=minutes,
            resume=True,
            should_stop=lambda: talk.stop,
            **call.options,
            **hooks,
        )
    except Cancelled as error:
        return error  # as in all the others
    except PeerGoneError:
        raise
    except PictorError as error:
        # Others may wait for this process for ever: it ends with them, and the next ones learn why at once.
        ray.get(call.desk.fail.remote(error))
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


class _Talk:
    """Tells the desk now and then how it goes, and learns there whether to stop."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        self._told: dict[str, float] = {}
        self.stop = False

    def tell(self, name: str, *args: object) -> None:
        """A call of the hook of this name."""
        import ray

        clock = time.monotonic()
        if clock - self._told.get(name, -math.inf) > _SECONDS:
            self._told[name] = clock
            self.stop = ray.get(self._desk.tell.remote((name, args)))
