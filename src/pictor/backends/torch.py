"""Runs a part of a model with the classes of diffusers and transformers, on a CPU or a GPU.

Importing this file does not import torch: that happens when a network is loaded.
"""

import contextlib
import importlib
import inspect
import json
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pictor.backends.base import PARTS, Array, Part, first_line
from pictor.backends.resident import leave_files
from pictor.backends.seat import Seat
from pictor.backends.weights import find_weights, read_header
from pictor.core.errors import InputError, MissingExtraError, ModelError, PictorError
from pictor.core.notices import PictorWarning

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "float16", "bfloat16")

# One lock for all modules: loading changes settings that both libraries have once a process.
_loading = threading.Lock()


class TorchModule:
    """A part of a diffusers folder, loaded when it is first run.

    Args:
        folder: the model folder, the one with model_index.json.
        part: a key of `PARTS`, or another part.
        device: "cpu", "cuda", "cuda:1", ...; "auto" is a GPU where there is one.
        dtype: "float32", "float16" or "bfloat16"; "auto" is float32 on a CPU, where halves are many times
            slower, and float16 elsewhere, except for autoencoders whose configuration forbids it.
        patches: change the loaded network, one after the other, in float32.
        seat: where the device holds one network at a time; None for all of them.
    """

    def __init__(
        self,
        folder: Path,
        part: str | Part,
        *,
        device: str = "auto",
        dtype: str = "auto",
        patches: Sequence[Callable[[Any], None]] = (),
        seat: Seat | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise InputError(f"unknown dtype {dtype!r}", expected=", ".join(DTYPES), param="dtype")
        self.folder = folder
        self.part = PARTS[part] if isinstance(part, str) else part
        self.device = device
        self.dtype = dtype
        self.patches = patches
        self.seat = seat
        self._network: Any = None
        self._tuning = threading.Lock()
        self._to_tune = False

    def load(self) -> None:
        """Load the network where that has not been done.

        Raises:
            MissingExtraError: torch is not installed.
            InputError: there is no such device.
            ModelError: a file is missing, damaged, or of another kind.
        """
        if self._network is None:
            with _loading:
                if self._network is None:
                    self._network = self._open()

    def run(self, **arrays: Array) -> dict[str, Array]:
        """Run the network once; see `pictor.backends.base.Module.run`."""
        self.load()
        import torch

        expected, name = self.part.inputs, self.part.name
        if arrays.keys() | self.part.optional != expected.keys() | self.part.optional:
            raise PictorError(
                f"{name} was given the inputs {', '.join(sorted(arrays))}", expected=", ".join(expected)
            )
        try:
            with self._on_device(), torch.inference_mode():
                inputs = {key: self._send(key, array) for key, array in arrays.items()}
                problem = self._tune(inputs)
                outputs = self.part.call(self._network, inputs)
                if problem is not None:
                    warnings.warn(
                        f"{name} is computed as the library does it: trying out other ways failed"
                        f" ({type(problem).__name__}: {first_line(problem)})",
                        PictorWarning,
                        stacklevel=2,
                    )
                return {key: tensor.float().cpu().numpy() for key, tensor in outputs.items()}
        except (RuntimeError, ValueError, IndexError) as error:
            shapes = ", ".join(f"{key} {list(array.shape)}" for key, array in arrays.items())
            raise PictorError(f"{name} cannot run with {shapes}: {first_line(error)}") from error

    def enter(self) -> None:
        """Move to the device, from where the network waits for its turn."""
        self._network.to(find_device(self.device))

    def leave(self) -> None:
        """Move off the device."""
        self._network.to("cpu")

    def _on_device(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.seat is None else self.seat.taken_by(self)

    def _tune(self, inputs: "dict[str, torch.Tensor]") -> Exception | None:
        """Before the first run on a CPU, let large layers be computed as is fastest there.

        Returns:
            Why that could not be done.
        """
        with self._tuning:
            if not self._to_tune:
                return None
            self._to_tune = False
            from pictor.backends.tuning import tune

            try:
                tune(self._network, self.part.call, inputs)
            except Exception as error:  # it is a convenience, without which the network runs as well
                return error
            return None

    def _open(self) -> Any:
        require_torch("the torch backend")
        import torch

        device = find_device(self.device)
        network = load_network(self.folder, self.part)
        for patch in self.patches:
            patch(network)
        if self.dtype == "auto":
            upcast = bool(getattr(network.config, "force_upcast", False))
            dtype = torch.float32 if device.type == "cpu" or upcast else torch.float16
        else:
            dtype = getattr(torch, self.dtype)
        with quiet():
            network.to(device=device if self.seat is None else "cpu", dtype=dtype)
            if self.part.images:
                self._to_tune = device.type == "cpu" and dtype == torch.float32
                if self._to_tune:
                    leave_files(network, torch.channels_last)
                network.to(memory_format=torch.channels_last)
        return network

    def _send(self, key: str, array: Array) -> "torch.Tensor":
        import torch

        network = self._network
        if np.issubdtype(array.dtype, np.integer):
            return torch.from_numpy(np.ascontiguousarray(array, np.int64)).to(network.device)
        # bfloat16(745.3) is 744: times are rounded only after the network has made sines of them.
        dtype = torch.float32 if key == "timestep" else network.dtype
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(network.device, dtype)


def load_network(folder: Path, part: Part) -> Any:
    """Load one part with its class in diffusers or transformers, in float32 on the CPU, ready to be run.

    Args:
        folder: the model folder.
        part: which. What it has no use for is not kept.

    Raises:
        MissingExtraError: torch, diffusers or transformers are not installed.
        ModelError: a file is missing, damaged, or of another kind.
    """
    require_torch("the torch backend")
    import torch

    place = folder / part.subfolder
    files = find_weights(place)
    for file in files:
        read_header(file)
    kind = _network_class(place, part)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
    if ".fp16" in files[0].name:
        options["variant"] = "fp16"
    # transformers has renamed diffusers' word for it
    options["dtype" if part.library == "transformers" else "torch_dtype"] = torch.float32
    try:
        with quiet():
            network, report = kind.from_pretrained(place, **options)
    except Exception as error:  # both libraries raise whatever they meet
        raise ModelError(f"cannot load {place}: {first_line(error)}") from error
    missing = sorted(report["missing_keys"])
    if missing:  # the libraries would go on with random numbers
        raise ModelError(f"{files[0]} lacks {len(missing)} tensors, {missing[0]!r} among them")
    for child in part.unused:
        if getattr(network, child, None) is not None:
            setattr(network, child, None)
    return network.eval().requires_grad_(False)


def find_device(device: str) -> "torch.device":
    """The device of this name; "auto" is a GPU where there is one.

    Raises:
        InputError: the name is unknown, or there is no such device here.
    """
    require_torch("the torch backend")
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"the device {device!r} cannot be used: {first_line(error)}",
            expected='"auto", "cpu", or a GPU that torch can see',
            param="device",
        ) from error
    return found


def chosen_dtype(device: str, dtype: str) -> str:
    """The name of the type that "auto" stands for on a device.

    Raises:
        InputError: the device or the type is unknown.
        MissingExtraError: torch is not installed.
    """
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}", expected=", ".join(DTYPES), param="dtype")
    found = find_device(device)
    return dtype if dtype != "auto" else "float32" if found.type == "cpu" else "float16"


def require_torch(feature: str) -> None:
    """Check that torch, diffusers and transformers can be imported.

    Args:
        feature: what they are for, as the subject of a sentence ("training").

    Raises:
        MissingExtraError: one of them is not installed.
    """
    try:
        import diffusers  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(feature) from error


def _network_class(place: Path, part: Part) -> Any:
    path = place / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        name = (config.get("architectures") or [config["_class_name"]])[0]
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged", expected="the configuration of a network") from error
    if name not in part.classes:
        raise ModelError(f"{path} is for the class {name!r}", expected=" or ".join(part.classes))
    # The modules are lazy: the attribute is what imports the class.
    return getattr(importlib.import_module(part.elsewhere.get(name, part.library)), part.loaded_as or name)


def pipeline_default(pipeline: str, parameter: str) -> Any:
    """What a pipeline of diffusers is called with where its user does not say.

    Some models were trained with texts or numbers that stand nowhere else.

    Args:
        pipeline: name of its class.
        parameter: of its `__call__`.

    Raises:
        MissingExtraError: diffusers is not installed.
    """
    require_torch("this kind of model")
    import diffusers

    return inspect.signature(getattr(diffusers, pipeline).__call__).parameters[parameter].default


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars and remarks of both libraries: what matters is raised."""
    import diffusers.utils.logging as diffusers_logging
    import transformers.utils.logging as transformers_logging

    logs = (diffusers_logging, transformers_logging)
    kept = [(log, log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs]
    try:
        for log, _, _ in kept:
            log.set_verbosity_error()
            log.disable_progress_bar()
        yield
    finally:
        for log, verbosity, bars in kept:
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()
