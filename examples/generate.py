"""Pictures from words: several prompts at once, from the same noise."""

import pictor
from pictor.engine.pictures import sheet

studio = pictor.load()
prompts = ["a red apple", "a (red:1.5) apple", "a [red|green] apple", "an apple on grass"]
pictures = studio.generate(prompts, seed=3)
sheet(pictures).save("generate.png")
