"""Put a trained network where other tools look for it, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

from pictor.backends.torch import quiet
from pictor.training.checkpoints import publish
from pictor.training.objectives import Objective
from pictor.training.run_files import MODEL


def publish_model(objective: Objective, run: Path) -> Path:
    """Write the objective's network to `run/model`, replacing an older one."""
    final, temporary, old = run / MODEL, run / ".model-writing", run / ".model-old"
    for leftover in (temporary, old):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir(parents=True)
    with quiet():
        objective.save(temporary)
    if final.exists():
        final.rename(old)
    publish(temporary, final)
    shutil.rmtree(old, ignore_errors=True)
    return final
