"""Reading a model folder: every missing or damaged file is one ModelError that names it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pictor.core.errors import ModelError


def require(file: Path) -> Path:
    """The file itself, where it exists.

    Raises:
        ModelError: there is no such file.
    """
    if not file.is_file():
        raise ModelError(f"the model has no {file}", expected="a complete diffusers folder", param="model")
    return file


def read_json(file: Path) -> Mapping[str, Any]:
    """A JSON object.

    Raises:
        ModelError: the file is missing, or holds no JSON object.
    """
    try:
        record = json.loads(require(file).read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise ModelError(f"{file} is damaged ({error})", expected="JSON", param="model") from None
    if not isinstance(record, dict):
        raise ModelError(f"{file} is damaged", expected="a JSON object", param="model")
    return record
