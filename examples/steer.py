"""A picture moved along the direction between two texts: apple - red + yellow."""

import pictor
from pictor.engine.pictures import tile

studio = pictor.load()
made = [
    studio.steer(7, prompt="a red apple", away="red", toward="yellow", amount=amount)[0].image
    for amount in (0.0, 0.5, 1.0, 1.5)
]
tile(made, columns=4, gap=2).save("steer.png")
