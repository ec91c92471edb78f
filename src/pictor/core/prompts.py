r"""The grammar of prompts: stress, and words that change from step to step.

    (x)  (x:1.3)  [x]        stress by 1.1, by 1.3, by 1/1.1; brackets multiply
    [a:b:0.5]  [a:b:8]       a, then b from half of the steps, or after step 8, on
    [b:0.5]  [a::0.5]        b from then on; a until then
    [a|b]                    a and b in turn, step by step
    \( \[ \: ...             the sign itself

It is that of AUTOMATIC1111's web UI, which the field's prompts are written in. Brackets without a partner
are signs like others, so every text is a prompt.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

STRESS = 1.1
"""Of one pair of brackets."""
_MAX_WEIGHT = 100.0
_PIECE = re.compile(r"\\.|[()\[\]|:]|[^\\()\[\]|:]+|\\", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Sign:
    """A colon or a bar that may divide the group it stands in."""

    text: str


@dataclass(frozen=True, slots=True)
class _Stressed:
    inner: Sequence[_Node]
    weight: float
    raw: tuple[str, str]
    """What stood before and after."""


@dataclass(frozen=True, slots=True)
class _Switch:
    before: Sequence[_Node]
    after: Sequence[_Node]
    when: str


@dataclass(frozen=True, slots=True)
class _Turns:
    choices: Sequence[Sequence[_Node]]


_Node = str | _Sign | _Stressed | _Switch | _Turns


@dataclass
class _Open:
    """A group that has not been closed."""

    sign: str
    nodes: list[_Node] = field(default_factory=list)


def at_step(prompt: str, step: int, steps: int) -> str:
    """The prompt as one step reads it: switches and turns decided, stress left in place.

    Args:
        prompt: in this grammar.
        step: counts from 0.
        steps: of the whole run.
    """
    return _resolved(_parsed(prompt), step, steps)


def fragments(text: str) -> list[tuple[str, float]]:
    """What `at_step` returned, as plain text in pieces with their weights; neighbours differ in weight."""
    pieces: list[tuple[str, float]] = []
    todo: list[tuple[_Node, float]] = [(node, 1.0) for node in reversed(_parsed(text))]
    while todo:
        node, weight = todo.pop()
        if isinstance(node, _Stressed):
            todo += [(inner, weight * node.weight) for inner in reversed(node.inner)]
            continue
        if isinstance(node, _Switch | _Turns):
            node = _resolved([node], 0, 1)
        plain = node.text if isinstance(node, _Sign) else re.sub(r"\\(.)", r"\1", node, flags=re.DOTALL)
        if pieces and pieces[-1][1] == weight:
            pieces[-1] = (pieces[-1][0] + plain, weight)
        elif plain:
            pieces.append((plain, weight))
    return pieces


def _parsed(prompt: str) -> list[_Node]:
    stack = [_Open("")]
    for piece in _PIECE.findall(prompt):
        if piece in "([":
            stack.append(_Open(piece))
        elif piece in ")]" and stack[-1].sign == {")": "(", "]": "["}[piece]:
            group = stack.pop()
            stack[-1].nodes.append(_round(group.nodes) if piece == ")" else _square(group.nodes))
        else:
            stack[-1].nodes.append(_Sign(piece) if piece in "|:" else piece)
    while len(stack) > 1:  # what never closed is text
        group = stack.pop()
        stack[-1].nodes += [group.sign, *group.nodes]
    return stack[0].nodes


def _round(nodes: list[_Node]) -> _Node:
    if len(nodes) >= 2 and nodes[-2] == _Sign(":") and isinstance(nodes[-1], str):
        weight = _number(nodes[-1])
        if weight is not None and abs(weight) <= _MAX_WEIGHT:
            return _Stressed(nodes[:-2], weight, ("(", f":{nodes[-1]})"))
    return _Stressed(nodes, STRESS, ("(", ")"))


def _square(nodes: list[_Node]) -> _Node:
    if _Sign("|") in nodes:
        return _Turns(_split(nodes, "|"))
    parts = _split(nodes, ":")
    last = parts[-1]
    if len(parts) in (2, 3) and len(last) == 1 and isinstance(last[0], str):
        when = _number(last[0])
        if when is not None and when >= 0:
            return _Switch([] if len(parts) == 2 else parts[0], parts[-2], last[0].strip())
    return _Stressed(nodes, 1 / STRESS, ("[", "]"))


def _split(nodes: Sequence[_Node], sign: str) -> list[list[_Node]]:
    parts: list[list[_Node]] = [[]]
    for node in nodes:
        if node == _Sign(sign):
            parts.append([])
        else:
            parts[-1].append(node)
    return parts


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _resolved(nodes: Sequence[_Node], step: int, steps: int) -> str:
    parts: list[str] = []
    todo: list[_Node] = list(reversed(nodes))
    while todo:
        node = todo.pop()
        if isinstance(node, str):
            parts.append(node)
        elif isinstance(node, _Sign):
            parts.append(node.text)
        elif isinstance(node, _Stressed):
            todo += [node.raw[1], *reversed(node.inner), node.raw[0]]
        elif isinstance(node, _Turns):
            todo += reversed(node.choices[step % len(node.choices)])
        else:
            todo += reversed(node.before if step < _first_step_after(node.when, steps) else node.after)
    return "".join(parts)


def _first_step_after(when: str, steps: int) -> float:
    """A number with a point up to 1.0 is a share of the steps; any other counts them."""
    number = float(when)
    return number * steps if "." in when and number <= 1.0 else number
