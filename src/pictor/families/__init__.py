"""Families of checkpoints: each opens one kind of model folder as a `Bundle`."""
