"""What counts as right: by hand, for every relation and its wrong answers."""

from __future__ import annotations

import numpy as np
import pytest

from pictor.data.picturebook import Caption
from pictor.evaluation.judge import Sight
from pictor.evaluation.scoring import ALL, Share, marks, tally
from pictor.training.judge_views import CLASSES


def sight(**classes: str) -> Sight:
    """One picture in which the judge is sure of these; thing1="cat" and so on."""
    seen = {"layout": "1", "place": "grass", "night": "day", "style": "plain"}
    seen |= {"thing1": "cat", "colour1": "red", "thing2": "dog", "colour2": "blue"} | classes
    logits = {}
    for name, wanted in seen.items():
        names = CLASSES[name.rstrip("12")]
        row = np.zeros((1, len(names)), np.float32)
        row[0, names.index(wanted)] = 8
        logits[name] = row
    return Sight(logits, np.zeros((1, 4), np.float32), CLASSES)


def caption(**said: object) -> Caption:
    return Caption(**({"text": "", "language": "en", "template": "", "thing": "cat", "count": 1} | said))  # type: ignore[arg-type]


def test_what_is_unsaid_is_not_judged() -> None:
    assert marks(caption(), sight(), 0) == {"object": True, "count": True}


@pytest.mark.parametrize(
    ("said", "seen", "wrong"),
    [
        ({"colour": "red"}, {}, set()),
        ({"colour": "red"}, {"colour1": "natural"}, {"colour"}),
        ({"colour": "red"}, {"thing1": "dog"}, {"object"}),
        ({"count": 3}, {"layout": "3"}, set()),
        ({"count": 3}, {"layout": "2"}, {"count"}),
        ({"count": 1}, {"layout": "side"}, {"count"}),
        ({"place": "grass", "night": False}, {}, set()),
        ({"place": "grass", "night": False}, {"night": "night"}, {"background"}),
        ({"place": "sea", "night": False}, {}, {"background"}),
        ({"night": True}, {"night": "night"}, set()),
        ({"style": "neon"}, {"style": "neon"}, set()),
        ({"style": "neon"}, {}, {"style"}),
    ],
)
def test_one_wrong_attribute_is_one_wrong_mark(
    said: dict[str, object], seen: dict[str, str], wrong: set[str]
) -> None:
    found = marks(caption(**said), sight(**seen), 0)
    assert {name for name, right in found.items() if not right} == wrong


@pytest.mark.parametrize(
    ("relation", "layout", "swapped", "right"),
    [
        ("left of", "side", False, True),
        ("left of", "side", True, False),
        ("right of", "side", True, True),
        ("right of", "side", False, False),
        ("next to", "side", False, True),
        ("next to", "side", True, True),
        ("next to", "stack", False, False),
        ("on", "stack", False, True),
        ("on", "stack", True, False),
        ("under", "stack", True, True),
        ("under", "stack", False, False),
        ("on", "side", False, False),
        ("left of", "2", False, False),
    ],
)
def test_relations_and_the_order_of_objects(relation: str, layout: str, swapped: bool, right: bool) -> None:
    """The caption: a red cat RELATION a blue dog. Objects and colours are right wherever they stand."""
    words = caption(colour="red", relation=relation, other_thing="dog", other_colour="blue")
    seen = {"thing1": "dog", "colour1": "blue", "thing2": "cat", "colour2": "red"} if swapped else {}
    found = marks(words, sight(layout=layout, **seen), 0)
    assert found == {"object": True, "colour": True, "relation": right}


def test_exchanged_colours_are_wrong_colours_of_right_objects() -> None:
    words = caption(colour="red", relation="left of", other_thing="dog", other_colour="blue")
    found = marks(words, sight(layout="side", colour1="blue", colour2="red"), 0)
    assert found == {"object": True, "colour": False, "relation": True}


def test_one_wrong_object_of_two_is_a_wrong_object() -> None:
    words = caption(relation="left of", other_thing="dog")
    assert marks(words, sight(layout="side", thing2="horse"), 0) == {"object": False, "relation": True}
    twice = marks(words, sight(layout="side", thing2="cat"), 0)
    assert not twice["object"]


def test_tally_counts_what_was_asked_and_all_correct() -> None:
    rows = [{"object": True, "colour": False}, {"object": True}, {"object": False, "colour": True}]
    assert tally(rows) == {"object": Share(2, 3), "colour": Share(1, 2), ALL: Share(1, 3)}
    assert tally([]) == {}
    low, high = Share(1, 3).interval
    assert low < 1 / 3 < high
