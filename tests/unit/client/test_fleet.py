"""A watching client holds the same fleet as the weaver."""

from __future__ import annotations

from weavelet.client.fleet import Fleet
from weavelet.weaver import protocol
from weavelet.weaver.protocol import JobView, ReplicaView, Snapshot, StatusUpdate


def replica(name, state="running", *, incarnation="a", rank=None):
    """A row."""
    return ReplicaView(
        run="train", job="j1", replica=name, incarnation=incarnation, state=state, rank=rank
    )


def job(name="j1", *, live=True, replicas=()):
    """A job."""
    return JobView(
        run="train", job=name, live=live, newest=True, begun=0.0, replicas=list(replicas)
    )


def test_updates_replace_what_changed_and_keep_the_rest():
    """A replica that changed is new whole; a job that changed keeps its replicas."""
    fleet = Fleet()
    fleet.update(Snapshot(jobs=[job(replicas=[replica("r0"), replica("r1")])]))
    fleet.update(StatusUpdate(replicas=[replica("r1", "paused")]))
    fleet.update(StatusUpdate(jobs=[job(live=False)]))
    (only,) = fleet.jobs
    assert not only.live
    assert [(row.replica, row.state) for row in only.replicas] == [
        ("r0", "running"),
        ("r1", "paused"),
    ]


def test_rivals_for_one_place_are_shown_together():
    """Two incarnations of one replica are two rows, until one update says otherwise."""
    fleet = Fleet()
    rivals = [replica("r0"), replica("r0", "conflict", incarnation="b")]
    fleet.update(Snapshot(jobs=[job()]))
    fleet.update(StatusUpdate(replicas=rivals))
    assert fleet.jobs[0].replicas == rivals
    fleet.update(StatusUpdate(replicas=rivals[:1]))
    assert fleet.jobs[0].replicas == rivals[:1]


def test_removed_comes_before_what_began_again():
    """A job that was forgotten and began anew in one update is there, without its past."""
    fleet = Fleet()
    fleet.update(Snapshot(jobs=[job(replicas=[replica("r0")])]))
    fleet.update(StatusUpdate(jobs=[job()], removed=[("train", "j1")]))
    assert [each.replicas for each in fleet.jobs] == [[]]


def test_a_snapshot_starts_afresh():
    """Nothing of before survives a snapshot."""
    fleet = Fleet()
    fleet.update(Snapshot(jobs=[job(replicas=[replica("r0")])]))
    fleet.update(Snapshot(jobs=[]))
    assert fleet.jobs == []


def test_replicas_are_ordered_by_rank_then_name():
    """Rank 10 comes after rank 9; those without a rank come last."""
    fleet = Fleet()
    rows = [replica("z"), replica("rank-10", rank=10), replica("rank-9", rank=9), replica("a")]
    fleet.update(Snapshot(jobs=[job(replicas=rows)]))
    assert [row.replica for row in fleet.jobs[0].replicas] == ["rank-9", "rank-10", "a", "z"]


def test_devices_and_rules_stay_until_they_are_told_anew():
    """An update that is silent about them changes nothing; one that lists them replaces all."""
    fleet = Fleet()
    device = protocol.DeviceView(id="cpu-h", kind="cpu", host="h")
    rule = protocol.RuleView(name="nan", every=1.0, off="it raised")
    fleet.update(protocol.Snapshot(devices=[device], rules=[rule]))
    fleet.update(protocol.StatusUpdate())
    assert (fleet.devices, fleet.rules) == ([device], [rule])
    fleet.update(protocol.StatusUpdate(devices=[], rules=[]))
    assert (fleet.devices, fleet.rules) == ([], [])
