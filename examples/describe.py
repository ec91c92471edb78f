"""What is on a picture, as the embedded model's picture encoder sees it, and the best of several by it."""

import pictor

studio = pictor.load()
[picture] = studio.generate("a purple duck on grass", seed=3)
file = picture.save("duck.png")
for found in studio.describe(file, top=3):
    print(f"{found.probability:.0%} {found.text}")
[best] = studio.generate("a purple duck on grass", seed=10, candidates=6)
best.save("best.png")
