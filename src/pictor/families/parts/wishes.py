"""A model's defaults and limits: what its own configurations say, and the `pictor.json` of ours over it.

{"name": "picturebook",
 "defaults": {"num_steps": 20, "guidance_scale": 4.0, "solver": "euler", "spacing": "uniform",
              "size": [64, 64]},
 "sizes": {"min": 32, "max": 128}}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pictor.core.errors import InputError, ModelError
from pictor.core.plan import Defaults
from pictor.core.spacings import spacing as spacing_named
from pictor.families.parts.files import read_json
from pictor.families.parts.schedulers import Schedule
from pictor.sampling import solver as solver_named


class Wishes:
    """The `pictor.json` of a folder, where it has one.

    Raises:
        ModelError: it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "pictor.json"
        self._own = read_json(self._file) if self._file.is_file() else {}
        self.name = str(self._own.get("name") or folder.resolve().name)

    def defaults(self, schedule: Schedule, size: tuple[int, int], **usual: Any) -> Defaults:
        """The defaults.

        Args:
            schedule: of the model, which says the solver and the spacing.
            size: width and height in pixels that the model was made for.
            usual: what this kind of model is asked for: num_steps, guidance_scale, ...

        Raises:
            ModelError: a default is unknown or cannot be.
        """
        few = {"num_steps": 4, "guidance_scale": 1.0} if schedule.solver == "lcm" else {}
        base = {
            "num_steps": 30,
            "guidance_scale": 7.5,
            "solver": schedule.solver,
            "spacing": schedule.spacing,
            "size": size,
            "guidance_interval": (0.0, 1.0),
            **usual,
            **few,
        }
        wish = self._own.get("defaults", {})
        try:
            if unknown := sorted(set(wish) - set(base)):
                raise ValueError(f"unknown defaults: {', '.join(unknown)}")
            values = {**base, **wish}
            width, height = values["size"]
            begin, end = values["guidance_interval"]
            if not 0 <= begin < end <= 1:
                raise ValueError(f"guidance from {begin} until {end}")
            spacing_named(values["spacing"])
            return Defaults(
                num_steps=int(values["num_steps"]),
                guidance_scale=float(values["guidance_scale"]),
                solver=solver_named(values["solver"]).name,
                spacing=values["spacing"],
                size=(int(width), int(height)),
                guidance_interval=(float(begin), float(end)),
            )
        except (InputError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(
                f"{self._file} is damaged ({error})", expected="defaults of a picture", param="model"
            ) from None

    def sides(self, stride: int, usual_max: int) -> tuple[int, int]:
        """Least and greatest side in pixels.

        Raises:
            ModelError: they cannot be.
        """
        limits = self._own.get("sizes", {})
        try:
            low, high = int(limits.get("min", stride)), int(limits.get("max", usual_max))
            if not 1 <= low <= high:
                raise ValueError(f"sides from {low} to {high}")
            return low, high
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise ModelError(
                f"{self._file} is damaged ({error})",
                expected='"sizes": {"min": 32, "max": 128}',
                param="model",
            ) from None
