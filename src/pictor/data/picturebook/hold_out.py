"""What training never sees, by a rule that no list can drift from."""

from __future__ import annotations

import hashlib

PAIR_PERCENT, TRIPLE_PERCENT, TEMPLATE_PERCENT = 15, 10, 5
HOLD_OUT_RULE = (
    f"sha256('picturebook:'+thing+':'+colour) % 100 < {PAIR_PERCENT}; "
    f"sha256('picturebook:'+thing+':'+relation+':'+thing) % 100 < {TRIPLE_PERCENT}, relations that say the "
    f"same of the same two things as one; sha256('picturebook:'+template) % 100 < {TEMPLATE_PERCENT}"
)


def _bucket(*words: str) -> int:
    digest = hashlib.sha256(":".join(("picturebook", *words)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 100


def pair_held_out(thing: str, colour: str | None) -> bool:
    """Whether this object in this colour is kept from training; the natural colour never is."""
    return colour is not None and _bucket(thing, colour) < PAIR_PERCENT


def triple_held_out(first: str, relation: str, second: str) -> bool:
    """Whether these two things in this relation are kept from training.

    "A left of B" and "B right of A" are one picture, and so are held out together.
    """
    if relation in ("under", "right of"):
        first, relation, second = second, {"under": "on", "right of": "left of"}[relation], first
    elif relation == "next to" and second < first:
        first, second = second, first
    return _bucket(first, relation, second) < TRIPLE_PERCENT


def unseen_under_every_name(first: str, relation: str, second: str) -> bool:
    """Whether training shows no picture of which "FIRST RELATION SECOND" is true.

    The rule holds "left of" and "next to" out each by itself, but both are true of one picture: it is unseen
    only where both are held out. "Next to" is true of two pictures, so that both orders must be.
    """
    names = [(first, relation, second)]
    if relation in ("left of", "right of"):
        names.append((first, "next to", second))
    elif relation == "next to":
        names += [(first, "left of", second), (second, "left of", first)]
    return all(triple_held_out(*name) for name in names)


def template_held_out(template: str) -> bool:
    """Whether this form of caption is kept from training."""
    return _bucket(template) < TEMPLATE_PERCENT
