"""Which book a model was trained on, by what its folder says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from pictor.core.errors import InputError
from pictor.data.picturebook import Mix

SHEET = "pictor.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBook:
    """What decides the pictures of a book but for their size."""

    seed: int = 0
    mix: Mix = field(default_factory=Mix)


def training_book(folder: Path) -> TrainingBook | None:
    """Read it from a model's pictor.json.

    Args:
        folder: the model's.

    Returns:
        The book; None for a model that learnt from other pictures, or was made elsewhere.

    Raises:
        InputError: the file says something that no book has.
    """
    sheet = folder / SHEET
    table = json.loads(sheet.read_text(encoding="utf-8")) if sheet.is_file() else {}
    said = table.get("picturebook")
    if said is None:
        return None
    try:
        return TrainingBook(seed=int(said["seed"]), mix=Mix.of(said["mix"]))
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise InputError(
            f"{sheet} describes its picturebook wrongly ({error})",
            expected='"picturebook": {"seed": ..., "mix": {...}} as training writes it',
            remedy="Take the folder as it was trained.",
            param="model",
        ) from error
