"""The built-in corpus: pictures drawn from an emoji font, with captions that are true by construction."""

from pictor.data.picturebook.captions import Caption, describes
from pictor.data.picturebook.hold_out import HOLD_OUT_RULE
from pictor.data.picturebook.scene import Item, Scene, is_held_out
from pictor.data.picturebook.scenes import Mix, Picturebook, corpus_identity

__all__ = [
    "HOLD_OUT_RULE",
    "Caption",
    "Item",
    "Mix",
    "Picturebook",
    "Scene",
    "corpus_identity",
    "describes",
    "is_held_out",
]
