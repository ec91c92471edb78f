"""A picture enlarged piece by piece, without seams."""

import pictor

studio = pictor.load()
[picture] = studio.generate("a red apple on grass", seed=1)
picture.save("small.png")
studio.upscale(picture.image, scale=2, prompt="a red apple on grass")[0].save("upscale.png")
