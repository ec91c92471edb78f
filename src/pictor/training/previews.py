"""Pictures by the network so far, through the engine that users get."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from pictor.engine.files import write_file
from pictor.engine.pictures import sheet
from pictor.engine.studio import load
from pictor.training.objectives import Objective, ShowsPictures
from pictor.training.recipe import Recipe
from pictor.training.run_files import PREVIEWS


class PreviewTimes:
    """When previews are due: at whole multiples of their period of training time, also when a run goes on.

    Args:
        recipe: names the period; 0 makes no previews.
        objective: one that shows no pictures has none.
        seconds: training time of the run's earlier calls.
    """

    def __init__(self, recipe: Recipe, objective: Objective, seconds: float) -> None:
        self.wanted = recipe.preview_minutes > 0 and isinstance(objective, ShowsPictures)
        self._period = 60.0 * recipe.preview_minutes
        self._passed = int(seconds // self._period) if self.wanted else 0

    def due(self, seconds: float) -> bool:
        """Whether a period has ended since the last time that one had."""
        if not self.wanted or seconds // self._period <= self._passed:
            return False
        self._passed = int(seconds // self._period)
        return True


@contextmanager
def drafted(objective: ShowsPictures, run: Path) -> Iterator[Path]:
    """A folder with the network as it is, gone after the block."""
    folder = run / ".preview-model"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        objective.save_draft(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def draw_preview(
    model: Path,
    run: Path,
    recipe: Recipe,
    samples: int,
    device: torch.device,
    should_stop: Callable[[], bool] | None = None,
) -> Path:
    """Make the recipe's pictures with a model folder, and write them as one sheet.

    The training's own randomness stays where it is: the engine's noise does not come from torch, and what
    loading a network draws is undone.

    Args:
        model: a folder that `pictor.load` opens.
        run: previews/SAMPLES.png and previews/SAMPLES.json are written there.
        recipe: names prompts and seed.
        samples: seen by the network.
        device: where to compute.
        should_stop: see `Studio.run`.

    Raises:
        Cancelled: should_stop said so; nothing is written.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        studio = load(model, backend="torch", device=str(device))
        prompts = list(recipe.preview_prompts)
        shown = {"prompt": prompts} if "text" in studio.traits.abilities else {"count": len(prompts)}
        pictures = studio.generate(**shown, seed=recipe.seed % 2**32, should_stop=should_stop)
    whole, first = sheet(pictures), pictures[0].recipe
    facts = {
        "samples": samples,
        "prompts": [picture.recipe.prompt for picture in pictures],
        "seed": first.seed,
        "settings": {
            "solver": first.solver,
            "num_steps": first.num_steps,
            "guidance_scale": first.guidance_scale,
        },
        "size": list(pictures[0].image.size),
        "model_hash": first.model_hash,
    }
    folder = run / PREVIEWS
    folder.mkdir(exist_ok=True)
    file = whole.save(folder / f"{samples:012}.png")
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    write_file(file.with_suffix(".json"), text.encode(), overwrite=True)
    return file
