from __future__ import annotations

import pytest

from weavelet.client.commanding import addressed
from weavelet.exceptions import CommandError
from weavelet.weaver.protocol import JobView, ReplicaView


def job(*replicas):
    """A job with a row for each (replica, incarnation, state)."""
    rows = [
        ReplicaView(run="train", job="j1", replica=name, incarnation=incarnation, state=state)
        for name, incarnation, state in replicas
    ]
    return JobView(run="train", job="j1", live=True, newest=True, begun=0.0, replicas=rows)


def incarnations(rows):
    return [row.incarnation for row in rows]


def test_a_frozen_process_is_addressed_and_an_ended_one_is_not():
    """`stopped` is a process that SIGCONT brings back; its controls are still there."""
    found = job(("rank-0", "a", "stopped"), ("rank-1", "b", "exited"), ("rank-2", "c", "crashed"))
    assert incarnations(addressed(found, ())) == ["a"]


def test_of_an_ended_job_all_are_addressed():
    """Its controls can be looked at; the weaver says why they cannot be set."""
    assert incarnations(addressed(job(("rank-0", "a", "exited")), ())) == ["a"]


def test_a_replica_by_name_is_the_one_that_has_control():
    """Another incarnation that claims its place has a row behind it."""
    found = job(("rank-0", "a", "running"), ("rank-0", "b", "conflict"))
    assert incarnations(addressed(found, ["rank-0"])) == ["a"]


def test_an_unknown_replica_is_answered_with_those_there_are():
    """With the nearest one as a guess."""
    with pytest.raises(CommandError, match="Did you mean 'rank-0'") as caught:
        addressed(job(("rank-0", "a", "running")), ["rank_0"])
    assert (caught.value.code, caught.value.known) == ("unknown_replica", ("rank-0",))
