"""Models by their id on the Hugging Face Hub: fetched once, kept in its cache, used from there offline."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from pictor.backends.base import BESIDE
from pictor.backends.weights import find_weights
from pictor.core.errors import ModelError
from pictor.families.parts.files import read_json

_ID = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_SETTINGS = (
    "model_index.json",
    "pictor.json",
    "scheduler/*.json",
    "*/config.json",
    "tokenizer*/*.json",
    "tokenizer*/*.txt",
    "*/*.safetensors.index.json",
    *(f"{part.subfolder}/{mark}" for part, mark in BESIDE),
)
_GRAPHS = ("model.onnx", "decoder.onnx", "encoder.onnx")
_PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_USUAL = re.compile(r"(?:diffusion_pytorch_model|model)(?:-\d+-of-\d+)?\.safetensors")
_HALF = re.compile(r"(?:diffusion_pytorch_model|model)\.fp16(?:-\d+-of-\d+)?\.safetensors")


def is_hub_id(model: str) -> bool:
    """Whether it is OWNER/NAME or OWNER/NAME@REVISION."""
    return _ID.fullmatch(model) is not None


def fetch(model: str, *, alone: bool = False) -> Path:
    """The folder of a model in the Hub's cache; what is not there yet is downloaded.

    A model that is there whole is used as it is, without the network: name a revision (a branch, a tag or a
    commit) for another. `HF_HOME` moves the cache, `HF_HUB_OFFLINE=1` forbids downloads.

    Args:
        model: OWNER/NAME or OWNER/NAME@REVISION.
        alone: it is one network with its config.json, such as a control network, and no whole model.

    Raises:
        ModelError: there is no such model, it is not to be had, or holds no diffusers folder.
    """
    found = _ID.fullmatch(model)
    if found is None:
        raise ModelError(
            f"{model!r} is no model", expected="a folder, or OWNER/NAME on the Hub", param="model"
        )
    name, revision = found["id"], found["revision"]
    if (kept := _kept(name, revision, alone)) is not None:
        return kept
    from huggingface_hub import HfApi, snapshot_download

    try:
        files = HfApi().list_repo_files(name, revision=revision)
        chosen = ["config.json", *_weights(files)] if alone else wanted(files)
        if (index := "config.json" if alone else "model_index.json") not in files:
            raise ModelError(
                f"{model} on the Hub has no {index}", expected="a diffusers folder", param="model"
            )
        return Path(snapshot_download(name, revision=revision, allow_patterns=chosen))
    except ModelError:
        raise
    except Exception as error:  # the Hub's own, of the network and of the disk
        raise _not_to_be_had(model, error) from None


def _not_to_be_had(model: str, error: Exception) -> ModelError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ModelError(
        f"there is no folder {model!r}, and it cannot be fetched from the Hub ({reason[:200]})",
        expected="a folder, or the id of a public model",
        param="model",
    )


def fetch_of_transformers(model: str) -> Path:
    """The folder of a model of transformers by itself: settings, vocabulary, weights as safetensors.

    Raises:
        ModelError: it is not to be had.
    """
    found = _ID.fullmatch(model)
    name, revision = (found["id"], found["revision"]) if found else (model, None)
    from huggingface_hub import snapshot_download

    try:
        wanted = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]
        # A pattern's * stands for slashes too: subfolders hold other formats of the same weights.
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns="*/*"))
    except Exception as error:  # the Hub's own, of the network and of the disk
        raise _not_to_be_had(model, error) from None


def fetch_files(name: str, files: Sequence[str]) -> Path:
    """A folder with these files of a repository, from the cache or downloaded.

    Raises:
        ModelError: they are not to be had.
    """
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    kept = try_to_load_from_cache(name, files[0])
    if isinstance(kept, str):
        return Path(kept).parent
    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # the Hub's own, of the network and of the disk
        raise ModelError(
            f"{files[0]} of {name} cannot be fetched from the Hub ({type(error).__name__})",
            expected="a connection, or the file in the cache",
            remedy="Pass a folder that has it with --tokenizer.",
            param="tokenizer",
        ) from None


def wanted(files: Sequence[str]) -> list[str]:
    """Those files of a repository that Pictor reads: settings, tokenizers, and one set of weights a part.

    Half-precision twins are taken only where there is nothing else. Graphs are ours beside a pictor.json.
    A picture encoder without words is for picture adapters, which name theirs, and may be large.
    """
    chosen = [file for file in files if any(fnmatch(file, pattern) for pattern in _SETTINGS)]
    for part in (*_PARTS, *_further(files)):
        names = [file.removeprefix(f"{part}/") for file in files if file.startswith(f"{part}/")]
        chosen += [f"{part}/{name}" for name in _weights(names)]
        if "pictor.json" in files:
            chosen += [f"{part}/{graph}" for graph in _GRAPHS if graph in names]
    return sorted(set(chosen))


def _further(files: Sequence[str]) -> list[str]:
    """Subfolders that the index of a model does not name."""
    return [part.subfolder for part, mark in BESIDE if f"{part.subfolder}/{mark}" in files]


def _weights(names: Sequence[str]) -> list[str]:
    usual = [name for name in names if _USUAL.fullmatch(name)]
    return usual or [name for name in names if _HALF.fullmatch(name)]


def _kept(name: str, revision: str | None, alone: bool) -> Path | None:
    """The folder in the cache, where every part that its index names is there, and all of any other."""
    from huggingface_hub import try_to_load_from_cache

    file = "config.json" if alone else "model_index.json"
    index = try_to_load_from_cache(name, file, revision=revision)
    if not isinstance(index, str):
        return None
    folder = Path(index).parent
    try:
        if alone:
            find_weights(folder)
            return folder
        for part, entry in read_json(folder / "model_index.json").items():
            if part in _PARTS and isinstance(entry, list) and entry and entry[0]:
                find_weights(folder / part)
        for part in _further([file.relative_to(folder).as_posix() for file in folder.glob("*/*.json")]):
            find_weights(folder / part)
    except ModelError:  # not all of it is there
        return None
    return folder
