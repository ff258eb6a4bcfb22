"""What it costs to read a schema, or to match its patterns. Pure.

Schemas come from replicas, and are read by the weaver, which all runs share, and in each browser
that looks. References can make a few lines stand for millions of alternatives, and a few characters
of a pattern can take hours to match: none of that is tried, and the trainer alone decides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

MOST_PARTS = 10_000
"""Parts that a schema may stand for at one place of a value."""
_MOST_TRIES = 1e8
"""Ways in which a pattern may be tried on a text."""

_MISSING = object()
_ONE = ("items", "contains", "not", "if", "then", "else")
_SEVERAL = ("anyOf", "oneOf", "allOf", "prefixItems")
_DEFINITION = "#/$defs/"
_ELSEWHERE = ("$id", "$anchor", "$dynamicAnchor", "$dynamicRef")
"""Names of places that are found in other ways than by this; no registered schema needs them."""
_ESCAPED = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?(?:P?<\w+>|<?[:=!])", re.DOTALL)
_REPEATED_GROUP = re.compile(r"\)[*+{]")
_UNBOUNDED = re.compile(r"[*+]|\{\d*,\d*\}")


def is_readable(schema: dict[str, Any]) -> bool:
    """Whether reading the schema is little work wherever a reader begins in it."""
    weigher = _Weigher(schema)
    return all(
        weigher.weigh(part) <= MOST_PARTS
        and not any(is_slow(pattern, "") for pattern in _pattern_keys(part))
        for part in _parts(schema)
    )


def is_slow(pattern: str, text: str) -> bool:
    """Whether matching a pattern may take longer than anybody waits."""
    bare = _ESCAPED.sub("x", pattern)
    repeats = len(_UNBOUNDED.findall(bare))
    repeated = _REPEATED_GROUP.search(bare) is not None
    # A repeated group that holds a choice or a repeat can be split up in exponentially many ways.
    if repeated and (repeats > 1 or "|" in bare or "?" in bare):
        return True
    # What is left of these are flags and the like, with which all else may mean something else.
    if "(?" in bare:
        return True
    tries = (repeats + 1) * math.log(len(text) + 1) + bare.count("?") * math.log(2)
    tries += sum(math.log(1 + group.count("|")) for group in bare.split(")"))
    return tries > math.log(_MOST_TRIES)


class _Weigher:
    def __init__(self, root: dict[str, Any]) -> None:
        definitions = root.get("$defs")
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._known: dict[int, float] = {}

    def weigh(self, part: Any) -> float:
        """The parts that this one stands for; infinite if it comes back to itself."""
        if not isinstance(part, dict):
            return math.inf if part is _MISSING else 1
        if id(part) not in self._known:
            self._known[id(part)] = math.inf  # until it is known; who asks meanwhile is inside
            if not any(isinstance(part.get(keyword), str) for keyword in _ELSEWHERE):
                self._known[id(part)] = 1 + sum(map(self.weigh, self._inner(part)))
        return self._known[id(part)]

    def _inner(self, part: dict[str, Any]) -> Iterator[Any]:
        for keyword in _ONE:
            yield part.get(keyword)
        for keyword in _SEVERAL:
            inner = part.get(keyword)
            yield from inner if isinstance(inner, list) else ()
        reference = part.get("$ref")
        if isinstance(reference, str):
            yield self._definitions.get(reference.removeprefix(_DEFINITION), _MISSING)


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _pattern_keys(part: dict[str, Any]) -> Iterator[str]:
    keys = part.get("patternProperties")
    yield from keys if isinstance(keys, dict) else ()
