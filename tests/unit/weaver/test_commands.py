from __future__ import annotations

import math

import pytest

from harness.weaver import lifecycle, registration
from weavelet import messages
from weavelet.exceptions import CommandError
from weavelet.weaver import protocol
from weavelet.weaver.commands import entry_for
from weavelet.weaver.fleet import Fleet


@pytest.fixture
def fleet():
    fleet = Fleet(now=0.0)
    fleet.registered(registration(), 1, 0.0)
    fleet.registered(registration("rank-1"), 2, 0.0)
    fleet.began("train", "j1", 1, 1000.0)
    return fleet


def entry(fleet, command):
    return entry_for(command, fleet, entry_id="e1", author="ann@host", now=0.0)[1]


def refusal(fleet, command):
    with pytest.raises(CommandError) as caught:
        entry(fleet, command)
    return caught.value


def set_lr(value=0.5, **more):
    return protocol.UpdateConfig(id="1", run="train", values={"lr": value}, **more)


def test_a_set_becomes_an_entry_for_all_living_replicas(fleet):
    """Author, addressed replicas and the default deadline are filled in."""
    assert entry(fleet, set_lr()) == messages.Entry(
        id="e1",
        author="ann@host",
        body=messages.Set({"lr": 0.5}),
        addressed=("rank-0", "rank-1"),
        deadline=60.0,
    )


def test_targets_are_what_was_asked_for(fleet):
    """A command for named replicas addresses these alone, each once."""
    found = entry(fleet, set_lr(replicas=["rank-1", "rank-1"], deadline=5.0))
    assert (found.targets, found.addressed, found.deadline) == (("rank-1",), ("rank-1",), 5.0)


def test_a_command_for_a_later_step_has_no_deadline_by_default(fleet):
    """The step may be hours away."""
    found = entry(fleet, set_lr(at_step=5000))
    assert (found.at_step, found.deadline) == (5000, None)


@pytest.mark.parametrize(
    ("command", "body"),
    [
        (
            protocol.Action(id="1", run="train", name="save", arguments={"path": "x"}),
            messages.Act("save", {"path": "x"}),
        ),
        (protocol.Pause(id="1", run="train", lease=5.0), messages.Pause(5.0)),
        (protocol.Resume(id="1", run="train"), messages.Resume()),
        (protocol.Stop(id="1", run="train", reason="enough"), messages.Stop("enough")),
        (protocol.Freeze(id="1", run="train", reason="demo"), messages.Freeze("demo")),
        (protocol.Unfreeze(id="1", run="train"), messages.Unfreeze()),
    ],
)
def test_every_command_has_its_body(fleet, command, body):
    """Each kind of command becomes its own kind of entry."""
    assert entry(fleet, command).body == body


def test_freezing_asks_nothing_of_replicas(fleet):
    """A job can be frozen and unfrozen while none of its replicas lives."""
    for replica in ("rank-0", "rank-1"):
        fleet.ended("train", "j1", lifecycle("exited", replica), 0.0)
    assert entry(fleet, protocol.Freeze(id="1", run="train")).addressed == ()
    assert refusal(fleet, protocol.Resume(id="1", run="train")).code == "not_live"


def test_a_frozen_job_takes_only_stop_and_unfreeze(fleet):
    """The refusal names who froze it."""
    fleet.froze("train", "j1", "bob@desk")
    error = refusal(fleet, set_lr())
    assert error.code == "frozen"
    assert "bob@desk" in error.text
    assert refusal(fleet, protocol.Freeze(id="1", run="train")).code == "frozen"
    entry(fleet, protocol.Stop(id="1", run="train"))
    entry(fleet, protocol.Unfreeze(id="1", run="train"))


def test_unknown_controls_are_refused_with_the_known_ones(fleet):
    """A control is not an action, and the text says so."""
    error = refusal(fleet, protocol.UpdateConfig(id="1", run="train", values={"rl": 1}))
    assert (error.code, error.known) == ("unknown_control", ("lr",))
    error = refusal(fleet, protocol.UpdateConfig(id="1", run="train", values={"save": 1}))
    assert error.text == "'save' is an action, not a control"
    error = refusal(fleet, protocol.Action(id="1", run="train", name="evaluate"))
    assert (error.code, error.known) == ("unknown_control", ("save",))


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (set_lr("banana"), "lr: expected a number > 0 and <= 1, got 'banana'"),
        (set_lr(expect={"lr": "x"}), "lr: expected a number > 0 and <= 1, got 'x'"),
        (
            protocol.Action(id="1", run="train", name="save"),
            "save: expected 'path' too, got {}",
        ),
        (protocol.UpdateConfig(id="1", run="train", values={}), "values: expected at least one"),
        (set_lr(deadline=0.0), "deadline: expected seconds > 0, got 0.0"),
        (set_lr(deadline=math.inf), "deadline: expected seconds > 0, got inf"),
        (set_lr(at_step=-1), "at_step: expected an integer >= 0, got -1"),
        (protocol.Pause(id="1", run="train", lease=-1.0), "lease: expected seconds > 0, got -1.0"),
    ],
)
def test_what_does_not_fit_is_refused_in_plain_words(fleet, command, text):
    """Nothing invalid enters the log."""
    error = refusal(fleet, command)
    assert error.code == "invalid_value"
    assert error.text.startswith(text)


def test_replicas_may_differ_in_their_controls(fleet):
    """A control that one of the addressed replicas has can be set; each schema has its say."""
    only_on_two = messages.ControlSpec(name="beta", kind="control", schema='{"type": "integer"}')
    fleet.registered(registration("rank-2", controls=(only_on_two,)), 3, 0.0)
    good = protocol.UpdateConfig(id="1", run="train", values={"beta": 3})
    assert entry(fleet, good).addressed == ("rank-0", "rank-1", "rank-2")
    bad = protocol.UpdateConfig(id="1", run="train", values={"beta": "x"})
    assert refusal(fleet, bad).code == "invalid_value"
