"""How well a model does what it was asked: metrics, the judge, prompts, reports. Needs no torch."""
