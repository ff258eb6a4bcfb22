"""From events outside to notices."""

import pytest

from harness.weaver import beat, identity, lifecycle
from weavelet.messages import Device, Entry, External, Notice, Registration
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.log import JobLog
from weavelet.weaver.notices import (
    FRESH_SECONDS,
    MOST_NOTICES,
    REPEAT_SECONDS,
    Event,
    Events,
    crash,
    notices,
)

NOW = 100.0


def fleet_of(*replicas):
    """A fleet of (replica, host, devices, kinds) in job j1, all alive."""
    fleet = Fleet(0.0)
    for order, (name, host, devices, kinds) in enumerate(replicas, 1):
        add(fleet, name, host, devices, kinds, order=order)
    return fleet


def add(fleet, name, host, devices=(), kinds=(), *, job="j1", order=1):
    """A live replica."""
    who = identity(name, job=job)
    who = type(who)(
        **{field: getattr(who, field) for field in who.__struct_fields__} | {"host": host}
    )
    fleet.registered(Registration(identity=who, notices=tuple(kinds)), order, NOW)
    used = tuple(Device(id=device, kind="gpu") for device in devices)
    fleet.beat("train", job, beat(name, devices=used), NOW)


def event(kind="device_failed", place="external 7", at=NOW, **where):
    """An event from outside."""
    return Event(place, at, External(source="dcgm", kind=kind, **where))


def told(event_, fleet):
    """(kind, replicas) of each notice."""
    return [(entry.body.kind, entry.targets) for _, entry in notices(event_, fleet, NOW)]


TWO_HOSTS = (
    ("rank-0", "a", ["GPU-0", "GPU-1"], ["replica_failed"]),
    ("rank-1", "a", ["GPU-1"], ["device_failed"]),
    ("rank-2", "b", ["GPU-2"], ["replica_failed", "device_failed"]),
    ("rank-3", "b", ["GPU-3"], []),
)


def test_a_failed_device_is_told_to_its_replicas_and_to_who_asked_for_failed_replicas():
    """All that use the device, handler or not; of the others those that have a handler."""
    fleet = fleet_of(*TWO_HOSTS)
    assert told(event(device="gpu-1", host="a"), fleet) == [
        ("device_failed", ("rank-0", "rank-1")),
        ("replica_failed", ("rank-2",)),
    ]


def test_a_host_that_drains_is_told_to_its_replicas_alone():
    """Nothing failed, so nobody else is told."""
    fleet = fleet_of(*TWO_HOSTS)
    assert told(event("host_draining", host="b"), fleet) == [
        ("host_draining", ("rank-2", "rank-3"))
    ]


def test_a_failed_host_counts_for_all_replicas_on_it():
    """The others of the job hear which replicas are concerned."""
    fleet = fleet_of(*TWO_HOSTS)
    found = [entry.body for _, entry in notices(event("host_failed", host="b"), fleet, NOW)]
    assert found[1] == Notice(
        "replica_failed", {"host": "b", "replicas": ["rank-2", "rank-3"], "cause": "host_failed"}
    )


@pytest.mark.parametrize(
    ("said", "known", "same"),
    [
        ("node7", "node7.cluster.example", True),
        ("NODE7.cluster.example.", "node7", True),
        ("node7.one", "node7.two", False),
        ("node7", "node77", False),
        ("", "", False),
    ],
)
def test_a_host_is_known_with_and_without_its_domain(said, known, same):
    """A short name is that of the full one; two full names must be equal."""
    fleet = fleet_of(("rank-0", known, [], []))
    assert bool(told(event("host_draining", host=said), fleet)) is same


def test_an_event_that_concerns_nobody_is_told_to_nobody():
    """Unknown devices and hosts, and events that name neither."""
    fleet = fleet_of(*TWO_HOSTS)
    for where in ({"device": "GPU-9"}, {"host": "z"}, {}, {"device": "GPU-9", "host": "a"}):
        assert told(event(**where), fleet) == []


def test_only_the_living_are_told():
    """A replica that ended is not waited for."""
    fleet = fleet_of(*TWO_HOSTS)
    fleet.ended("train", "j1", lifecycle("exited", "rank-1"), NOW)
    assert told(event(device="GPU-1"), fleet)[0] == ("device_failed", ("rank-0",))


def test_a_notice_says_what_is_known_and_who_said_it():
    """Host, device and detail come along; the author is the subject that the event came by."""
    fleet = fleet_of(*TWO_HOSTS)
    detail = {"xid": 79, "device": "what is written here does not count"}
    (_, entry), *_ = notices(event(device="GPU-0", detail=detail), fleet, NOW)
    assert entry.author == "external.dcgm"
    assert entry.body == Notice("device_failed", {"xid": 79, "device": "GPU-0"})
    assert entry.addressed == entry.targets


def test_a_replica_that_crashed_is_told_to_the_others_of_its_job():
    """Those with a handler for it hear who crashed and why, and no other job does."""
    fleet = fleet_of(*TWO_HOSTS)
    add(fleet, "rank-0", "a", kinds=["replica_failed"], job="j2")
    fleet.ended("train", "j1", lifecycle("crashed", "rank-0"), NOW)
    found = list(notices(crash(9, NOW, ("train", "j1", "rank-0", "a"), "killed"), fleet, NOW))
    ((job, entry),) = found
    assert (job.name, entry.author, entry.targets) == ("j1", "weaver", ("rank-2",))
    assert entry.body == Notice(
        "replica_failed", {"reason": "killed", "replicas": ["rank-0"], "cause": "crashed"}
    )


def test_the_crash_of_an_incarnation_that_was_refused_is_told_to_nobody():
    """Its replica lives on; where that shows with the next heartbeat only, nothing is said yet."""
    fleet = fleet_of(*TWO_HOSTS)
    events = Events()
    fleet.registered(Registration(identity=identity("rank-0", incarnation="b")), 9, NOW)
    fleet.ended("train", "j1", lifecycle("crashed", "rank-0", incarnation="b"), NOW)
    events.happened(crash(9, NOW, ("train", "j1", "rank-0", "b"), "killed"))
    assert events.due(fleet, {}, NOW) == []
    fleet.beat("train", "j1", beat("rank-0"), NOW + 1)
    fleet.tick(NOW + 1)
    assert events.due(fleet, {}, NOW + 3) == []


def test_two_weavers_write_the_same_entry_and_each_job_has_its_own():
    """The id follows from the event's place and the job, and from nothing else."""
    fleet = fleet_of(*TWO_HOSTS)
    add(fleet, "rank-0", "a", ["GPU-1"], job="j2")
    other = fleet_of(*TWO_HOSTS[1:])
    ids = [entry.id for _, entry in notices(event(device="GPU-1"), fleet, NOW)]
    assert len(set(ids)) == 3
    assert ids[0] in {entry.id for _, entry in notices(event(device="GPU-1"), other, NOW)}
    later = event(device="GPU-1", place="external 8")
    assert not {entry.id for _, entry in notices(later, fleet, NOW)} & set(ids)


class Weaver:
    """A fleet, its logs, and the events that wait."""

    def __init__(self, *replicas):
        self.fleet = fleet_of(*(replicas or TWO_HOSTS))
        self.logs = {("train", "j1"): JobLog("train", "j1")}
        self.events = Events()
        self.sequence = 0

    def due(self, now=NOW):
        return self.events.due(self.fleet, self.logs, now)

    def write(self, now=NOW):
        """Append what is due, and read it back; the kinds."""
        found = self.due(now)
        for job, entry in found:
            self.read(entry, now, job.name)
        return [entry.body.kind for _, entry in found]

    def read(self, entry, now=NOW, job="j1"):
        self.sequence += 1
        log = self.logs.setdefault(("train", job), JobLog("train", job))
        log.read(entry, self.sequence, 0.0, now)


def test_a_notice_is_due_until_it_is_read_back():
    """A write that failed is tried again; one that succeeded is over."""
    weaver = Weaver()
    weaver.events.happened(event("host_draining", host="a"))
    assert weaver.due() == weaver.due() != []
    assert weaver.write() == ["host_draining"]
    assert weaver.due() == []


def test_what_another_weaver_or_an_earlier_life_has_told_is_not_told_again():
    """Which events were told is read from the logs alone."""
    first, second = Weaver(), Weaver()
    for weaver in (first, second):
        weaver.events.happened(event("host_draining", host="a"))
    for _, entry in first.due():
        second.read(entry)
    assert second.due() == []


def test_a_weaver_listens_before_it_decides_whom_an_event_concerns():
    """One that has just started does not know yet who uses which device."""
    weaver = Weaver()
    weaver.fleet.since = NOW - 0.5
    weaver.events.happened(event("host_draining", host="a"))
    assert weaver.due() == []
    assert weaver.write(NOW + 5) == ["host_draining"]


def test_what_happened_long_ago_is_not_told_any_more():
    """An event that nobody told in time concerns nobody who trains now."""
    weaver = Weaver()
    weaver.events.happened(event(device="GPU-1", at=NOW - FRESH_SECONDS - 1))
    assert weaver.due() == []


def test_an_event_that_is_repeated_is_told_once():
    """Monitoring systems say the same again and again; after a while it counts as news."""
    weaver = Weaver()
    for place in range(3):
        weaver.events.happened(event("host_draining", host="a", place=f"external {place}"))
    assert weaver.write() == ["host_draining"]
    weaver.events.happened(event("host_draining", host="a", place="external 4", at=NOW + 20))
    assert weaver.write(NOW + 20) == []
    weaver.events.happened(event("host_draining", host="b", place="external 5", at=NOW + 20))
    assert weaver.write(NOW + 20) == ["host_draining"]
    late = NOW + REPEAT_SECONDS + 10
    for name in ("rank-0", "rank-1"):
        weaver.fleet.beat("train", "j1", beat(name), late)
    weaver.events.happened(event("host_draining", host="a", place="external 6", at=late))
    assert weaver.write(late) == ["host_draining"]


def test_every_crash_is_told():
    """Two crashes of one replica are two events, however close."""
    weaver = Weaver()
    for sequence in (1, 2):
        weaver.events.happened(crash(sequence, NOW, ("train", "j1", "rank-0", "a"), None))
    assert weaver.write() == ["replica_failed", "replica_failed"]


def test_a_flood_of_events_does_not_fill_the_log():
    """Beyond a number of notices a minute the rest is left out, and counted."""
    weaver = Weaver()
    for place in range(5000):
        weaver.events.happened(event(f"kind_{place}", host="a", place=f"external {place}"))
    assert len(weaver.write()) == MOST_NOTICES
    assert weaver.due() == []
    assert weaver.events.left_out == 5000 - MOST_NOTICES


def test_an_entry_of_another_kind_stands_in_no_way():
    """Commands in the log are no notices."""
    weaver = Weaver()
    weaver.read(Entry(id="e1", author="ann", body=Notice("other", {"host": "a"})))
    weaver.events.happened(event("host_draining", host="a"))
    assert weaver.write() == ["host_draining"]
