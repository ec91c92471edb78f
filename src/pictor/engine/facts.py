"""What a model folder holds, read from its settings and the headers of its files: no network is loaded."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import ModelError
from pictor.families.parts.files import read_json
from pictor.families.parts.hashes import hash_weights
from pictor.families.parts.schedulers import read_schedule
from pictor.families.registry import family_of

_LIBRARIES = ("diffusers", "transformers", "pictor")


@dataclass(frozen=True, kw_only=True)
class PartFacts:
    """One network."""

    name: str
    kind: str
    """Its class."""
    parameters: int
    size: int
    """Bytes of its files."""
    types: dict[str, int]
    """safetensors type -> parameters."""
    graphs: tuple[str, ...]
    """ONNX graphs beside it."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """One model."""

    folder: Path
    name: str
    pipeline: str
    family: str
    prediction: str
    path: str
    """How noise grows. Both are empty for a model that does not denoise."""
    parts: tuple[PartFacts, ...]
    digest: str
    """As recipes name the model."""

    @property
    def parameters(self) -> int:
        return sum(part.parameters for part in self.parts)


def model_facts(folder: Path) -> ModelFacts:
    """Read what a folder holds.

    Raises:
        ModelError: a file is missing or damaged, or no family opens the folder.
    """
    index = read_json(folder / "model_index.json")
    family = family_of(folder, index)
    schedule = read_schedule(folder / "scheduler" / "scheduler_config.json") if "scheduler" in index else None
    parts, files = [], []
    for name, entry in sorted(index.items()):
        if not (isinstance(entry, list) and len(entry) == 2 and str(entry[0]).startswith(_LIBRARIES)):
            continue
        if not (folder / name / "config.json").is_file() or not entry[1]:
            continue  # a scheduler or a tokenizer
        weights = find_weights(folder / name)
        parts.append(_part(name, str(entry[1]), weights, folder))
        files += weights
    if not parts:
        raise ModelError(f"{folder} names no networks", expected="a diffusers folder", param="model")
    own = read_json(folder / "pictor.json") if (folder / "pictor.json").is_file() else {}
    return ModelFacts(
        folder=folder,
        name=str(own.get("name") or folder.resolve().name),
        pipeline=str(index["_class_name"]),
        family=family.name,
        prediction="" if schedule is None else schedule.prediction,
        path="" if schedule is None else type(schedule.path).__name__,
        parts=tuple(parts),
        digest=hash_weights(folder, files),
    )


def _part(name: str, kind: str, weights: list[Path], folder: Path) -> PartFacts:
    types: Counter[str] = Counter()
    for file in weights:
        for entry in read_header(file).values():
            types[entry.dtype] += prod(entry.shape)
    return PartFacts(
        name=name,
        kind=kind,
        parameters=sum(types.values()),
        size=sum(file.stat().st_size for file in weights),
        types=dict(types),
        graphs=tuple(sorted(graph.name for graph in (folder / name).glob("*.onnx"))),
    )


def kept_models() -> list[tuple[str, Path]]:
    """Models in the Hugging Face Hub's cache that hold a diffusers folder: id and folder of each."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        cache: Any = scan_cache_dir()
    except CacheNotFound:
        return []
    found = []
    for repo in sorted(cache.repos, key=lambda repo: str(repo.repo_id)):
        for revision in sorted(repo.revisions, key=lambda revision: str(revision.commit_hash)):
            if (Path(revision.snapshot_path) / "model_index.json").is_file():
                found.append((f"{repo.repo_id}@{revision.commit_hash[:12]}", Path(revision.snapshot_path)))
    return found
