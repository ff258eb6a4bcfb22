"""Who is named as the slowest of a job."""

from __future__ import annotations

import pytest

from weavelet.weaver.stragglers import slowest


@pytest.mark.parametrize(
    ("work", "named"),
    [
        ({}, None),
        ({"a": 1.0}, None),
        ({"a": None, "b": 1.0}, None),
        ({"a": 0.010, "b": 0.010}, None),
        ({"a": 0.010, "b": 0.016}, "b"),
        ({"a": 0.010, "b": 0.014}, None),
        ({"a": 0.010, "b": 0.050, "c": 0.011, "d": 0.010}, "b"),
        ({"a": 0.010, "b": 0.050, "c": 0.050, "d": 0.010}, "b"),
        ({"a": 0.010, "b": 0.050, "c": None}, "b"),
        ({"a": 0.0001, "b": 0.0009}, None),
        ({"a": 0.0, "b": 0.1}, "b"),
    ],
)
def test_who_stands_out_is_named(work, named):
    """More than half again as much as the others' median, and more than noise; else nobody."""
    assert slowest(work) == named


def test_a_name_does_not_come_and_go():
    """Once named, a replica stays so until it is near the others again; another one does not."""
    near = {"a": 0.010, "b": 0.014}
    assert slowest(near, before="b") == "b"
    assert slowest(near, before="a") is None
    assert slowest({"a": 0.010, "b": 0.012}, before="b") is None
