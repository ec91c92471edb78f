"""A part of a picture painted anew; every pixel outside of the mask stays as it is."""

import numpy as np
from PIL import Image, ImageDraw

import pictor
from pictor.engine.pictures import tile

studio = pictor.load()
[before] = studio.generate("a red apple on grass", seed=1)
width, height = before.image.size
mask = Image.new("L", (width, height), "black")
ImageDraw.Draw(mask).rectangle((0, 0, width, height // 2), fill="white")
[after] = studio.inpaint(before.image, "a red apple at night", mask=mask, seed=2)

outside = np.asarray(mask) == 0
assert np.array_equal(np.asarray(before.image)[outside], np.asarray(after.image)[outside])
tile([before.image, mask.convert("RGB"), after.image], columns=3, gap=2).save("inpaint.png")
