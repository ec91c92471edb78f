"""Chooses for each large layer of a network the way that is fastest on this CPU, by trying them once.

What was measured is kept in the cache folder under the processor, the number of threads, the library's
version and the layer's shape, so that a machine tries each shape once and chooses alike while that is kept. A
network is tuned for the sizes of its first run; other sizes are computed in the same ways.
"""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pictor.backends.base import Tensors
from pictor.backends.kept import keep, read_kept
from pictor.backends.layer_ways import PLAIN, Layer, Replaced, Way, ways_of

_CACHE_NAME = "layers.json"
_LEAST_OPERATIONS = 2e8
"""Of a layer that is worth a look: a millisecond or so."""
_ROUNDS = 3
_LEAST_GAIN = 0.05
"""Share of a layer's time; less is noise."""
_NEVER = 1e9
"""Seconds of a way that fails."""
_MORE_MEMORY = 0.45
"""That the faster ways may take, as a share of the network's weights."""

Call = Callable[[Any, Tensors], Any]

Seconds = Mapping[str, float]
"""By the name of the way."""


@dataclass(frozen=True, slots=True)
class _Site:
    """A layer where it stands, and what comes in there."""

    name: str
    layer: Layer
    shape: torch.Size

    @property
    def key(self) -> str:
        """The same for layers that take the same time."""
        kind = type(self.layer).__name__
        facts = self.layer.extra_repr().replace(" ", "")
        return f"{kind} {facts} {'x'.join(str(side) for side in self.shape)}"


@dataclass(frozen=True, slots=True)
class _Change:
    """A layer, and a way that is faster than the one before it."""

    site: _Site
    way: str
    saved: float
    """Seconds a call."""
    taken: int
    """Bytes."""


def tune(network: nn.Module, call: Call, inputs: Tensors) -> dict[str, str]:
    """Replace large layers by what computes them faster; results stay the same up to rounding.

    Args:
        network: on the CPU, in float32, never to be trained or moved again.
        call: runs it once on its inputs.
        inputs: as large as they will usually be.

    Returns:
        The names of the layers that were replaced, and how.
    """
    sites = [site for site in _sites(network, call, inputs) if _operations(site) >= _LEAST_OPERATIONS]
    if not sites:
        return {}
    seconds = _measured({site.key: site for site in sites})
    budget = _MORE_MEMORY * sum(p.numel() * p.element_size() for p in network.parameters())
    chosen = _chosen(sites, seconds, budget)
    while sites:  # each layer's own weights are let go before the next one's are made
        site = sites.pop()
        if site.name in chosen:
            parent, _, child = site.name.rpartition(".")
            made = ways_of(site.layer)[chosen[site.name]].made(site.layer, site.shape)
            setattr(network.get_submodule(parent), child, Replaced(site.layer, made))
    return chosen


def _sites(network: nn.Module, call: Call, inputs: Tensors) -> list[_Site]:
    """The layers in their order, with the shapes that they meet in a run of a copy without numbers."""
    shadows = FakeTensorMode(allow_non_fake_inputs=True)
    numberless: dict[int, Any] = {
        id(tensor): shadows.from_tensor(tensor) for tensor in (*network.parameters(), *network.buffers())
    }
    shadow = copy.deepcopy(network, numberless)
    shapes: dict[str, torch.Size] = {}

    def note(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_layer: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            if given:  # else it is called by keywords, as only a layer of another kind would be
                shapes.setdefault(name, given[0].shape)

        return hook

    for name, layer in shadow.named_modules():
        if type(layer) in (nn.Conv2d, nn.Linear):
            layer.register_forward_pre_hook(note(name))
    # Vectors stay as they are: weights of adapters are looked at to decide what to compute.
    call(
        shadow,
        {key: shadows.from_tensor(given) if given.dim() > 1 else given for key, given in inputs.items()},
    )
    layers = dict(network.named_modules())
    return [_Site(name, layers[name], shape) for name, shape in shapes.items()]


def _operations(site: _Site) -> float:
    """Additions and multiplications of one call."""
    if isinstance(site.layer, nn.Linear):
        return 2.0 * site.layer.weight.numel() * site.shape.numel() / site.shape[-1]
    down, right = site.layer.stride
    places = site.shape[0] * (site.shape[2] // down) * (site.shape[3] // right)
    return 2.0 * site.layer.weight.numel() * places


def _measured(sites: Mapping[str, _Site]) -> dict[str, Seconds]:
    """Seconds of each way, by the sites' keys: from the cache, or tried out."""
    here = _here()
    known = read_kept(_CACHE_NAME)
    times = _table(known.get(here))
    for key, site in sites.items():
        if not _tells(times.get(key), {PLAIN, *ways_of(site.layer)}):
            times[key] = _try_out(site)
            others = read_kept(_CACHE_NAME)  # what other processes have measured meanwhile
            keep(_CACHE_NAME, {**others, here: {**_table(others.get(here)), **times}})
    return {key: times[key] for key in sites}


def _here() -> str:
    """What times depend on besides the layer."""
    return f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _table(record: Any) -> dict[str, Any]:
    return dict(record) if isinstance(record, dict) else {}


def _tells(record: Any, ways: set[str]) -> bool:
    """Whether this is the time of each of these ways."""
    return (
        isinstance(record, dict)
        and record.keys() == ways
        and all(isinstance(time, float) and time > 0 for time in record.values())
    )


def _try_out(site: _Site) -> dict[str, float]:
    x = torch.randn(site.shape)
    if x.dim() == 4:
        x = x.to(memory_format=torch.channels_last)
    times = {}
    with torch.inference_mode():
        for name, way in {PLAIN: None, **ways_of(site.layer)}.items():
            try:
                forward = site.layer if way is None else way.made(site.layer, site.shape)
                forward(x)
            except Exception:  # whatever this build of the library cannot do is no way here
                times[name] = _NEVER
                continue
            rounds = []
            for _ in range(_ROUNDS):
                begun = time.perf_counter()
                forward(x)
                rounds.append(time.perf_counter() - begun)
            times[name] = min(rounds)  # what disturbs only adds
    return times


def _chosen(sites: list[_Site], seconds: Mapping[str, Seconds], budget: float) -> dict[str, str]:
    """The way of each site whose layer is to be replaced: most seconds for the memory first."""
    chosen: dict[str, str] = {}
    changes: list[_Change] = []
    for site in sites:
        times, ways = seconds[site.key], ways_of(site.layer)
        thrifty = {name: way for name, way in ways.items() if way.growth <= 1}
        best = min(thrifty, key=times.__getitem__, default=PLAIN)
        if times[best] > (1 - _LEAST_GAIN) * times[PLAIN]:
            best = PLAIN
        if best != PLAIN:
            chosen[site.name] = best
        for name in ways.keys() - thrifty.keys():
            saved = times[best] - times[name]
            if saved > _LEAST_GAIN * times[best]:
                changes.append(_Change(site, name, saved, _extra(site.layer, ways[name])))
    accepted: dict[str, _Change] = {}
    for change in sorted(changes, key=lambda change: change.saved / change.taken, reverse=True):
        earlier = accepted.get(change.site.name)
        more = change.taken - (earlier.taken if earlier else 0)
        if more <= budget and (earlier is None or change.saved > earlier.saved):
            budget -= more
            accepted[change.site.name] = change
    return chosen | {name: change.way for name, change in accepted.items()}


def _extra(layer: Layer, way: Way) -> int:
    return int((way.growth - 1) * layer.weight.numel() * layer.weight.element_size())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model")))
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{next(names, platform.machine())} ({capability})"
