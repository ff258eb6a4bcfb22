from __future__ import annotations

import logging

import pytest
from msgspec.structs import replace

from harness.weaver import LR, SAVE, beat, registration
from weavelet.messages import ControlSpec
from weavelet.weaver import census as module
from weavelet.weaver.census import LARGEST, LONGEST, MOST_CONTROLS, Census


@pytest.fixture
def census(monkeypatch):
    monkeypatch.setattr(module, "MOST_JOBS", 3)
    monkeypatch.setattr(module, "MOST_REPLICAS", 4)
    return Census()


def test_there_are_so_many_jobs_and_no_more(census, caplog):
    """Further ones are counted, and told of once; those that are known go on."""
    assert all(census.admits("train", f"j{number}") for number in range(3))
    assert not any(census.admits("train", f"k{number}") for number in range(5))
    assert census.admits("train", "j0", "rank-0")
    assert census.left_out == 5
    assert caplog.text.count("`weavelet rm RUN` makes room") == 1


def test_there_are_so_many_replicas_and_no_more(census):
    """They are counted over all jobs, each once."""
    for _ in range(2):
        assert all(census.admits("train", f"j{number % 2}", f"r{number}") for number in range(4))
    assert not census.admits("train", "j2", "r0")
    assert census.left_out == 1


def test_what_is_removed_makes_room(census):
    """For a job and its replicas, and for all when the store is another."""
    for number in range(4):
        census.admits("train", "j0", f"r{number}")
    census.forget("train", "j0")
    census.forget("train", "never-was")
    assert all(census.admits("train", "j1", f"r{number}") for number in range(4))
    census.clear()
    assert all(census.admits("other", "j1", f"r{number}") for number in range(4))
    assert census.left_out == 0


def test_a_registration_of_any_sane_size_is_kept_as_it_is(census):
    """A hundred controls with their words and schemas are."""
    controls = [replace(LR, name=f"c{number}", doc="words " * 50) for number in range(100)]
    said = registration(controls=(*controls, SAVE))
    assert census.fitted(said, LARGEST, "place") is said
    assert census.left_out == 0


@pytest.mark.parametrize(
    ("spec", "size"),
    [
        (replace(LR, doc="x" * 900_000), 900_100),
        (replace(LR, schema='{"anyOf": [' + "{}," * 10_000 + "{}]}"), 30_000),
    ],
)
def test_of_a_registration_that_is_too_large_the_names_are_kept(census, caplog, spec, size):
    """Its controls can be commanded all the same; the trainer has the last word on values."""
    caplog.set_level(logging.WARNING)
    kept = census.fitted(registration(controls=(spec, replace(SAVE, danger=True))), size, "place")
    assert kept.controls == (
        ControlSpec(name="lr", kind="control", schema=""),
        ControlSpec(name="save", kind="action", schema="", danger=True),
    )
    assert census.left_out == 1
    assert "left out of place" in caplog.text


def test_names_are_kept_up_to_a_number_and_a_length(census):
    """A million of them, or one of a megabyte, is no name that anybody could type."""
    controls = [replace(LR, name=f"c{number}") for number in range(5000)]
    long = replace(LR, name="x" * (LONGEST + 1))
    kept = census.fitted(registration(controls=(long, *controls)), 900_000, "place")
    assert len(kept.controls) == MOST_CONTROLS
    assert kept.controls[0].name == "c0"


def test_of_a_heartbeat_that_is_too_large_the_beat_is_kept(census):
    """The replica lives, at its step; the values in it are left out."""
    said = beat(step=7, received=3, control_values={"lr": "x" * 900_000})
    assert census.fitted_beat(said, 900_000, "place") == beat(step=7, received=3)
    assert census.fitted_beat(said, 100, "place") is said
    assert census.left_out == 1
