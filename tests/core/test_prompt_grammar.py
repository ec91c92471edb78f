"""The grammar of prompts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pictor.core.prompts import at_step, fragments


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a red apple", [("a red apple", 1.0)]),
        ("a (red) apple", [("a ", 1.0), ("red", 1.1), (" apple", 1.0)]),
        ("a (red:1.3) apple", [("a ", 1.0), ("red", 1.3), (" apple", 1.0)]),
        ("((x))", [("x", 1.1 * 1.1)]),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1.0)]),
        ("[x]", [("x", 1 / 1.1)]),
        (r"\(x\) \[y\] \:", [("(x) [y] :", 1.0)]),
        ("a :) smile", [("a :) smile", 1.0)]),
        ("open (x", [("open (x", 1.0)]),
        ("x: y | z", [("x: y | z", 1.0)]),
        ("(ratio 3:4)", [("ratio 3", 4.0)]),
        ("(x:1e999)", [("x:1e999", 1.1)]),
        ("", []),
    ],
)
def test_stress(text, pieces):
    found = fragments(text)
    assert [piece for piece, _ in found] == [piece for piece, _ in pieces]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in pieces])


@pytest.mark.parametrize(
    ("prompt", "steps", "texts"),
    [
        ("a [cat:dog:0.5]", 4, ["a cat", "a cat", "a dog", "a dog"]),
        ("a [cat:dog:3]", 4, ["a cat", "a cat", "a cat", "a dog"]),
        ("a cat[ in snow:0.5]", 2, ["a cat", "a cat in snow"]),
        ("a cat[ in snow::0.5]", 2, ["a cat in snow", "a cat"]),
        ("[cat|dog|owl]", 4, ["cat", "dog", "owl", "cat"]),
        ("[a [b|c]:(d:1.2):0.5]", 4, ["a b", "a c", "(d:1.2)", "(d:1.2)"]),
        ("(big [cat:dog:1.0]:1.4)", 2, ["(big cat:1.4)", "(big cat:1.4)"]),
        ("[plain] \\[cat:dog:0.5\\]", 1, ["[plain] \\[cat:dog:0.5\\]"]),
        ("[a:b:soon]", 1, ["[a:b:soon]"]),
    ],
)
def test_what_changes_from_step_to_step(prompt, steps, texts):
    assert [at_step(prompt, step, steps) for step in range(steps)] == texts


@given(st.text(alphabet=r"ab ()[]:|\.0123", max_size=40), st.integers(0, 9))
def test_every_text_is_a_prompt(text, step):
    resolved = at_step(text, step, 10)
    assert at_step(resolved, 0, 1) is not None
    assert all(isinstance(piece, str) and piece for piece, _ in fragments(resolved))


@given(st.text(alphabet="ab .,!é红", max_size=30))
def test_text_without_signs_stays_as_it_is(text):
    assert at_step(text, 3, 7) == text
    assert fragments(text) == ([(text, 1.0)] if text else [])


def test_deep_nesting_is_no_danger():
    deep = "(" * 5000 + "x" + ")" * 5000
    assert at_step(deep, 0, 1) == deep
    assert fragments("[" * 5000 + "x")[0][0].endswith("x")
