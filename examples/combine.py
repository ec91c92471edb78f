"""Sums of pictures: a day taken away and a night added; an apple taken away and a pear added."""

import pictor
from pictor.engine.pictures import tile

studio = pictor.load()
made = []
for prompts, shown in (
    (
        ("a red apple on grass", "a green tree on grass", "a green tree on grass at night"),
        "a red apple on grass at night",
    ),
    (("a red apple on grass", "a red apple", "a yellow pear"), "a yellow pear on grass"),
):
    a, b, c = (studio.generate(prompt, seed=1)[0].image for prompt in prompts)
    [bare] = studio.combine(a, minus=b, plus=c)
    [told] = studio.combine(a, minus=b, plus=c, prompt=shown, strength=0.75)
    made += [a, b, c, bare.image, told.image]
tile(made, columns=5, gap=2).save("combine.png")
