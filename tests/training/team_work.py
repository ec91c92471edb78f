"""What the processes of the tests run: found by its name when a process that was spawned looks for it."""

from __future__ import annotations

import os
from typing import Any

import torch
from line_fit import LineFit

from pictor.core.errors import InputError
from pictor.training.objectives import Batch
from pictor.training.processes import Team


def line(table: dict[str, Any], seed: int) -> LineFit:
    return LineFit(seed, table.get("poison"))


class Failing(LineFit):
    """Fails in one process only: in the one that draws sample 40 of a batch that begins elsewhere."""

    def __init__(self, seed: int, how: str) -> None:
        super().__init__(seed)
        self.how = how

    def batch(self, first: int, count: int) -> Batch:
        if first % 16 == 8 and first >= 40:
            if self.how == "input":
                raise InputError("picture 40 is torn", remedy="Mend it.")
            if self.how == "defect":
                raise ZeroDivisionError("by hand")
            os._exit(9)
        return super().batch(first, count)


def failing(table: dict[str, Any], seed: int) -> Failing:
    return Failing(seed, table["how"])


def shares(team: Team, path: str) -> None:
    """Each process's gradients are its rank + 1; their sum is what each must see."""
    weight = torch.nn.Parameter(torch.zeros(3))
    weight.grad = torch.full((3,), float(team.rank + 1))
    loss = team.sum_gradients([weight], torch.tensor(float(team.rank)))
    with open(f"{path}-{team.rank}", "w") as file:
        file.write(f"{weight.grad.tolist()} {float(loss)} {team.greatest(team.rank, 5 - team.rank)}")
