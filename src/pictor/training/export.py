"""Put a trained network where other tools look for it, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pictor.backends.torch import quiet
from pictor.training.checkpoints import publish
from pictor.training.objectives import Objective, ShowsPictures
from pictor.training.run_files import MODEL


def publish_model(objective: Objective, run: Path, *, graphs: bool = True) -> Path:
    """Write the objective's network to `run/model`, replacing an older one.

    Args:
        objective: on the CPU.
        run: the run's folder.
        graphs: write what ONNX Runtime needs as well, where the objective writes such.
    """
    final, temporary, old = run / MODEL, run / ".model-writing", run / ".model-old"
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    with quiet():
        if graphs or not isinstance(objective, ShowsPictures):
            objective.save(temporary)
        else:
            objective.save_draft(temporary)
    _forget_places(temporary)
    if final.exists():
        final.rename(old)
    publish(temporary, final)
    shutil.rmtree(old, ignore_errors=True)
    return final


def _forget_places(folder: Path) -> None:
    """Take out of diffusers' configurations where on this machine each part was opened from."""
    for file in folder.rglob("config.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
