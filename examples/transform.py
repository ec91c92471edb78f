"""A picture made into another: the further from the picture, the more of the prompt."""

import pictor
from pictor.engine.pictures import tile

studio = pictor.load()
[apple] = studio.generate("a red apple on grass", seed=1)
steps = [apple.image]
for strength in (0.5, 0.75, 1.0):
    [made] = studio.transform(apple.image, "a yellow pear on grass", strength=strength)
    steps.append(made.image)
tile(steps, columns=4, gap=2).save("transform.png")
