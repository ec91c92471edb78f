"""TensorBoard's event files, in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pictor.training.trackers import Subject

PACKAGE = "tensorboard"
FOLDER = "tensorboard"


class TensorBoard:
    """Scalars and pictures over samples."""

    def __init__(self, subject: Subject) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # What a killed call had told beyond its checkpoint is told again.
        self._writer: Any = SummaryWriter(str(subject.run / FOLDER), purge_step=subject.samples)

    def figures(self, samples: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, samples)
        self._writer.flush()

    def picture(self, samples: int, name: str, file: Path) -> None:
        import numpy as np
        from PIL import Image

        with Image.open(file) as image:
            self._writer.add_image(name, np.asarray(image.convert("RGB")), samples, dataformats="HWC")

    def close(self, *, whole: bool) -> None:
        self._writer.close()


def open_tracker(subject: Subject) -> TensorBoard:
    return TensorBoard(subject)
