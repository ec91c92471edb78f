"""A picture continued beyond its sides, and seen from further away."""

import pictor

studio = pictor.load()
[picture] = studio.generate("a blue car in the desert", seed=4)
wide = studio.outpaint(picture.image, "the desert", left=64, right=64, seed=1)[0]
wide.save("outpaint.png")
studio.outpaint(picture.image, "the desert", zoom=1.5, seed=1)[0].save("zoom.png")
