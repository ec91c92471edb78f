"""Processes of this machine, or those that torchrun started."""

from __future__ import annotations

from pictor.training.loop import train

__all__ = ["train"]
