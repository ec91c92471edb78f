"""The built-in corpus: pictures drawn from an emoji font, with captions that are true by construction."""

from pictor.data.picturebook.captions import Caption
from pictor.data.picturebook.scenes import (
    HOLD_OUT_RULE,
    Picturebook,
    Scene,
    corpus_identity,
    describes,
    is_held_out,
)

__all__ = ["HOLD_OUT_RULE", "Caption", "Picturebook", "Scene", "corpus_identity", "describes", "is_held_out"]
