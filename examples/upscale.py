"""A picture enlarged by the network made for that, and with details painted in piece by piece."""

import pictor

studio = pictor.load()
[picture] = studio.generate("a red apple on grass", seed=1)
picture.save("small.png")
studio.upscale(picture.image, scale=4)[0].save("upscale.png")
studio.upscale(picture.image, scale=2, prompt="a red apple on grass")[0].save("upscale-painted.png")
