"""The public face of a loaded model: one method a task."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pictor
from pictor.core.errors import InputError, ModelError
from pictor.core.plan import ABILITIES, Plan, Traits
from pictor.core.recipe import Recipe
from pictor.engine.choose import best, check_words
from pictor.engine.describe import MAX_DESCRIPTIONS, Description, described, ranked
from pictor.engine.execute import Progress, execute
from pictor.engine.pictures import Picture
from pictor.families.bundle import Bundle, Opening
from pictor.families.parts.describing import Describer
from pictor.families.parts.hub import fetch, is_hub_id
from pictor.families.parts.likeness import LikenessFiles
from pictor.families.parts.lora import Lora
from pictor.families.parts.single_file import is_single_file, open_single_file
from pictor.families.registry import open_bundle
from pictor.tasks.checks import check_integer
from pictor.tasks.inputs import read_pixels
from pictor.tasks.registry import Task, all_verbs, task_of
from pictor.tasks.wish import own_parameters

_USUAL_TOP = 3
OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


def model_folder(model: str | os.PathLike[str] | None) -> Path:
    """Where a model lies; None is the embedded one. A name of the Hub is fetched.

    Raises:
        ModelError: it is neither a folder nor to be had from the Hub.
    """
    if model is None:
        return Path(pictor.__file__).parent / "embedded"
    return _found(model)


def _found(model: str | os.PathLike[str], *, alone: bool = False) -> Path:
    """A folder, or what is fetched from the Hub by its name; a training run's stands for its model's."""
    if isinstance(model, str) and not os.path.exists(model) and is_hub_id(model):
        return fetch(model, alone=alone)
    place = Path(model)
    if os.path.exists(place / "model_index.json"):
        return place
    if os.path.isdir(place / "model"):
        return place / "model"
    if os.path.exists(place / "recipe.json"):
        raise ModelError(
            f"the training run {place} has written no model yet",
            expected="one that has come to its end",
            remedy="Wait for it, or go on with it by `pictor train` with --resume.",
            param="model",
        )
    return place


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    backend: str = "auto",
    device: str = "auto",
    dtype: str = "auto",
    offload: bool = False,
    loras: Mapping[str | os.PathLike[str], float] | None = None,
    controlnet: str | os.PathLike[str] | None = None,
    ip_adapter: str | os.PathLike[str] | None = None,
    image_encoder: str | os.PathLike[str] | None = None,
    embeddings: Sequence[str | os.PathLike[str]] = (),
    tokenizer: str | os.PathLike[str] | None = None,
    prediction: str | None = None,
) -> Studio:
    """Open a model.

    Args:
        model: a diffusers folder, or that of a training run; OWNER/NAME[@REVISION] on the Hugging Face Hub;
            or one .safetensors file of Stable Diffusion 1.x, 2.x or XL in its original layout. None for the
            embedded model.
        backend: "onnx", "torch", or "auto": onnx where the folder has graphs, else torch.
        device: "cpu", "cuda", ...; "auto" is a GPU where there is one. For the torch backend.
        dtype: "float32", "float16" or "bfloat16"; "auto" is float32 on a CPU and float16 elsewhere.
        offload: let the GPU hold one network at a time: less of its memory, and more time.
        loras: files of adapters, and how strongly each changes the model (1 is as it was trained).
        controlnet: folder of a control network, or its name on the Hub; verbs take `control` then.
        ip_adapter: file of a picture adapter; verbs take `like` then.
        image_encoder: folder of the adapter's image encoder; None for `image_encoder/` beside the file.
        embeddings: files of learnt words (textual inversion).
        tokenizer: for one file, which has none: a folder with CLIP's; None for the Hub's.
        prediction: for one file: "eps" or "v"; None for what its kind usually predicts.

    Raises:
        InputError: the backend, device or dtype is unknown.
        ModelError: the folder is missing, damaged or not supported; or an adapter is, or fits no layer.
        MissingExtraError: the folder needs torch, which is not installed.
    """
    how = Opening(
        backend=backend,
        device=device,
        dtype=dtype,
        offload=offload,
        loras=tuple(Lora(path=Path(file), weight=weight) for file, weight in (loras or {}).items()),
        controlnet=None if controlnet is None else _found(controlnet, alone=True),
        likeness=None
        if ip_adapter is None
        else LikenessFiles(
            adapter=Path(ip_adapter), encoder=None if image_encoder is None else Path(image_encoder)
        ),
        embeddings=tuple(Path(file) for file in embeddings),
    )
    if model is not None and is_single_file(model):
        place = None if tokenizer is None else Path(tokenizer)
        folder = open_single_file(Path(model), tokenizer=place, prediction=prediction)
    elif tokenizer is not None or prediction is not None:
        raise InputError(
            "a tokenizer or a prediction is given, and the model is no single file",
            expected="neither: a folder has its own",
            param="tokenizer" if tokenizer is not None else "prediction",
        )
    else:
        folder = model_folder(model)
    return Studio(open_bundle(folder, how))


class Studio:
    """A loaded model, which may be asked again and again.

    Every task is a method by its verb: `studio.generate("a red apple", seed=3)`. Parameters are the fields of
    the task's request (`pictor.tasks`), and those of `run`; `help(studio.generate)` shows them. `make` takes
    the request itself.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle

    @property
    def traits(self) -> Traits:
        """What the model can do: its sizes, limits and defaults."""
        return self.bundle.traits

    def __getattr__(self, verb: str) -> Callable[..., list[Picture]]:
        """The method of a task's verb: takes the fields of its request, and what `run` takes."""
        task = None if verb.startswith("_") else all_verbs().get(verb)
        if task is None:
            raise AttributeError(f"{type(self).__name__} has no attribute {verb!r}")
        return verb_method(self, task)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *all_verbs()})

    def plan(self, request: Any) -> Plan:
        """Check a task's request and lay it out; runs no model.

        Raises:
            InputError: a parameter is out of its range, or the model cannot do this task.
        """
        task = task_of(request)
        if lacking := sorted(task.needs - self.traits.abilities):
            raise InputError(
                f"{self.traits.name} cannot {task.verb}: it does not"
                f" {', '.join(ABILITIES[ability] for ability in lacking)}",
                expected="a model that does",
                param="model",
            )
        plan: Plan = task.plan(request, self.traits)
        return dataclasses.replace(plan, parameters=own_parameters(request, plan))

    @property
    def describer(self) -> Describer:
        """What `describe` asks.

        Raises:
            InputError: the model does not describe.
        """
        if self.bundle.describer is None:
            raise InputError(
                f"{self.traits.name} does not {ABILITIES['describe']}",
                expected="a model with an image_encoder/ and its vocabulary",
                remedy="Name such a model, or a captioner.",
                param="model",
            )
        return self.bundle.describer

    def describe(
        self, image: Any, *, language: str = "en", top: int | None = None, among: Sequence[str] = ()
    ) -> list[Description]:
        """What a picture shows, the likeliest words first.

        Args:
            image: a file's name, a PIL image, or uint8 pixels [H, W, 3].
            language: of the captions, which are put together from the model's own words.
            top: how many at most: captions from 1 to 6, or 3 where nothing is said; given texts all of them.
            among: rank these texts, and no captions of the model's own.

        Raises:
            InputError: the picture cannot be read, a parameter is out of range, or the model does not
                describe.
        """
        describer = self.describer
        if top is not None:
            check_integer(top, "top", 1, len(among) if among else MAX_DESCRIPTIONS)
        if isinstance(among, str) or any(not isinstance(text, str) or not text.strip() for text in among):
            raise InputError(f"among is {among!r}", expected="texts that are not empty", param="among")
        picture = read_pixels(image, "image")
        if among:
            return ranked(describer, picture, among, top)
        return described(describer, picture, language, _USUAL_TOP if top is None else top)

    def make(
        self,
        request: Any,
        *,
        frames: bool = False,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Picture]:
        """Do what a request asks for; see `plan` and `run`."""
        return self.run(self.plan(request), frames=frames, on_progress=on_progress, should_stop=should_stop)

    def run(
        self,
        plan: Plan,
        *,
        frames: bool = False,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
    ) -> list[Picture]:
        """Make the pictures of a plan.

        Raises:
            Cancelled: should_stop said so.
        """
        if plan.enlarge is None:
            self.bundle.prepare()
        if plan.keep is not None:
            check_words(plan, self.describer)
        from PIL import Image, PngImagePlugin  # noqa: F401 - read while the parts of the model load

        made = execute(plan, self.bundle, frames=frames, on_progress=on_progress, should_stop=should_stop)
        facts = {
            "model_name": self.traits.name,
            "model_hash": self.bundle.enlarger_hash if plan.enlarge is not None else self.bundle.model_hash,
            "version": pictor.__version__,
            "backend": self.bundle.backend,
            "dtype": self.bundle.dtype,
            "adapters": dict(self.bundle.adapters),
        }
        kept = range(len(made)) if plan.keep is None else best(plan, made, self.describer)
        return [
            Picture(
                Image.fromarray(made[index].pixels),
                Recipe(**{**plan.describe(index), **facts}),
                tuple(Image.fromarray(frame) for frame in made[index].frames),
            )
            for index in kept
        ]


def verb_method(studio: Studio, task: Task) -> Callable[..., list[Picture]]:
    """A function with the signature and the help of a task's request."""
    signature = inspect.signature(task.request)
    leading = [
        name for name, field in task.request.__dataclass_fields__.items() if "argument" in field.metadata
    ]

    # A sequence has frames of its own, and the request says how many.
    run = [
        parameter
        for parameter in inspect.signature(studio.make).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.name not in signature.parameters
    ]

    def method(*arguments: Any, **wish: Any) -> list[Picture]:
        if len(arguments) > len(leading):
            raise TypeError(f"{task.verb}() takes {len(leading)} arguments without names")
        options = {parameter.name: wish.pop(parameter.name) for parameter in run if parameter.name in wish}
        request = task.request(**dict(zip(leading, arguments, strict=False)), **wish)
        return studio.make(request, **options)

    first = [
        signature.parameters[name].replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in leading
    ]
    rest = [parameter for name, parameter in signature.parameters.items() if name not in leading]
    method.__name__ = method.__qualname__ = task.verb
    method.__doc__ = task.request.__doc__
    method.__signature__ = inspect.Signature([*first, *rest, *run])  # type: ignore[attr-defined]
    return method
