"""The way from one picture to another, as a strip and a film."""

from pathlib import Path

import pictor
from pictor.engine.pictures import sequence

studio = pictor.load()
way = sequence(studio.interpolate("a red apple", "a green apple", frames=8, seed=2))
way.save("interpolate.png")
Path("interpolate.gif").write_bytes(way.film())
sequence(studio.interpolate(1, 2, prompt="a red car", frames=8)).save("between-seeds.png")
