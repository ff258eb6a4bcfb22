"""What is said first about a run."""

from __future__ import annotations

from weavelet.client.alarms import alarms, alarms_of_rules
from weavelet.weaver import protocol


def row(name, work):
    """A replica with its own work."""
    return protocol.ReplicaView(
        run="r", job="j", replica=name, incarnation="a", state="running", work=work
    )


def job(**more):
    """A job of three replicas."""
    rows = [row("rank-0", 0.006), row("rank-1", 0.036), row("rank-2", 0.004)]
    return protocol.JobView(
        run="r", job="j", live=True, newest=True, begun=0.0, replicas=rows, **more
    )


def test_a_calm_run_has_none():
    """Nothing stands out, nothing is said."""
    assert alarms(job()) == []
    assert alarms_of_rules([protocol.RuleView(name="nan", every=1.0)]) == []


def test_the_slowest_and_the_different_are_named():
    """Who differs, and who is waited for, by how much."""
    assert alarms(job(slowest="rank-1", diverged="rank-2 differs in lr")) == [
        "DIVERGED: rank-2 differs in lr",
        (
            "Slowest: rank-1, whose own work takes 36 ms of a step; that of the others takes 5 ms "
            "(median)."
        ),
    ]


def test_a_rule_that_is_off_says_why():
    """The reason stands beside the rule's name."""
    off = protocol.RuleView(name="nan", every=1.0, off="it raised KeyError: 'loss'")
    assert alarms_of_rules([off]) == ["Rule nan is off: it raised KeyError: 'loss'"]
