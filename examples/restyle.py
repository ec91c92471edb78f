"""A picture in another style: by words, and with another picture's colours."""

import pictor
from pictor.engine.pictures import tile

studio = pictor.load()
[picture] = studio.generate("a red apple on grass", seed=1)
[night] = studio.generate("a yellow star at night", seed=3)
by_words = studio.restyle(picture.image, style="pixel art", prompt="a red apple", structure=0.25)[0]
by_picture = studio.restyle(picture.image, style=night.image, prompt="a red apple on grass")[0]
tile([picture.image, by_words.image, night.image, by_picture.image], columns=4, gap=2).save("restyle.png")
