"""Write what a base model learnt as a folder that names the base; `pictor.families.adapter` opens it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pictor.engine.studio import model_folder
from pictor.families.adapter import EMBEDDED, PIPELINE


def write_adapter_folder(
    folder: Path,
    base: Path,
    *,
    loras: Mapping[str, float] | None = None,
    embeddings: tuple[str, ...] = (),
    defaults: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> None:
    """Write model_index.json and pictor.json beside the files.

    Args:
        folder: with the files.
        base: the model's folder that they change.
        loras: names of files with low-rank adapters, and how strongly each changes the model.
        embeddings: names of files with learnt words.
        defaults: those of the base that are others.
        facts: what pictor.json says besides.
    """
    embedded = base.resolve() == model_folder(None).resolve()
    index = {
        "_class_name": PIPELINE,
        "base": EMBEDDED if embedded else str(base.resolve()),
        "loras": dict(loras or {}),
        "embeddings": list(embeddings),
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", "utf-8")
    sheet = {**facts, "defaults": dict(defaults)}
    (folder / "pictor.json").write_text(json.dumps(sheet, indent=1, ensure_ascii=False) + "\n", "utf-8")
