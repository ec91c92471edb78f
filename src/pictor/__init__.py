"""Pictor turns words into pictures, with models that their users own.

>>> import pictor
>>> [picture] = pictor.load().generate("a red apple")
>>> picture.save("apple.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pictor.core.errors import Cancelled as Cancelled
    from pictor.core.errors import InputError as InputError
    from pictor.core.errors import MissingExtraError as MissingExtraError
    from pictor.core.errors import ModelError as ModelError
    from pictor.core.errors import PictorError as PictorError
    from pictor.core.errors import PlanError as PlanError
    from pictor.core.notices import PictorWarning as PictorWarning
    from pictor.core.recipe import Recipe as Recipe
    from pictor.engine.execute import Progress as Progress
    from pictor.engine.pictures import Picture as Picture
    from pictor.engine.studio import Studio as Studio
    from pictor.engine.studio import load as load

__version__ = "0.1.0"

# Name -> module. Nothing is imported before it is asked for, so that `import pictor` costs next to nothing.
_EXPORTS = {
    "Cancelled": "pictor.core.errors",
    "InputError": "pictor.core.errors",
    "MissingExtraError": "pictor.core.errors",
    "ModelError": "pictor.core.errors",
    "Picture": "pictor.engine.pictures",
    "PictorError": "pictor.core.errors",
    "PictorWarning": "pictor.core.notices",
    "PlanError": "pictor.core.errors",
    "Progress": "pictor.engine.execute",
    "Recipe": "pictor.core.recipe",
    "Studio": "pictor.engine.studio",
    "load": "pictor.engine.studio",
}

__all__ = [
    "Cancelled",
    "InputError",
    "MissingExtraError",
    "ModelError",
    "PictorError",
    "PictorWarning",
    "Picture",
    "PlanError",
    "Progress",
    "Recipe",
    "Studio",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
