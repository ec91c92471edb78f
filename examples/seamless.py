"""A picture whose sides meet: laid side by side, it has no seams."""

import pictor
from pictor.engine.pictures import tile

studio = pictor.load()
[picture] = studio.generate("four pink flowers on grass", tile="xy", seed=4)
picture.save("texture.png")
tile([picture.image] * 6, columns=3, gap=0).save("seamless.png")
