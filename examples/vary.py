"""Pictures near to another: its own noise, moved a little towards that of other seeds."""

import pictor
from pictor.engine.pictures import sheet

studio = pictor.load()
[picture] = studio.generate("a yellow car", seed=5)
file = picture.save("car.png")
sheet(studio.vary(file, amount=0.35, count=4, seed=10)).save("vary.png")
