"""The devices of the fleet."""

from harness.weaver import beat, lifecycle, registration
from weavelet.messages import Device
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.lives import MOST_DEVICES
from weavelet.weaver.protocol import StatusUpdate

A = Device(id="GPU-a", kind="gpu", utilization_percent=90.0, memory_used_bytes=1.0)
B = Device(id="GPU-b", kind="gpu")


def using(fleet, replica, *devices, job="j1", at=0.0, **more):
    """A replica that says which devices it uses."""
    fleet.registered(registration(replica, job=job), 1, at)
    fleet.beat("train", job, beat(replica, devices=devices, **more), at)


def shown(fleet, now, runs=()):
    """The replicas of each device, by its id."""
    fleet.tick(now)
    return {view.id: [replica for _, _, replica in view.replicas] for view in fleet.devices(runs)}


def test_devices_and_replicas_are_many_to_many():
    """A replica may use several devices, and a device several replicas."""
    fleet = Fleet(0.0)
    using(fleet, "rank-0", A, B)
    using(fleet, "rank-1", B)
    assert shown(fleet, 1.0) == {"GPU-a": ["rank-0"], "GPU-b": ["rank-0", "rank-1"]}
    (job,) = fleet.snapshot(1.0)
    rows = {row.replica: (row.devices, row.device) for row in job.replicas}
    assert rows["rank-0"] == (["GPU-a", "GPU-b"], "GPU-a, GPU-b")


def test_a_device_is_shown_with_what_was_said_of_it_last():
    """The last reading counts, whichever replica gave it; what is no number is left out."""
    fleet = Fleet(0.0)
    using(fleet, "rank-0", A, at=2.0)
    odd = Device(id="GPU-a", kind="gpu", utilization_percent=float("nan"), power_watts=30.0)
    using(fleet, "rank-1", odd, at=3.0)
    fleet.tick(3.0)
    (view,) = fleet.devices()
    assert (view.host, view.kind) == ("host", "gpu")
    assert (view.utilization_percent, view.power_watts) == (None, 30.0)


def test_devices_leave_with_their_replicas():
    """A device whose last replica has ended, or is long silent, is not shown."""
    fleet = Fleet(0.0)
    using(fleet, "rank-0", A)
    using(fleet, "rank-1", B)
    fleet.ended("train", "j1", lifecycle("exited", "rank-0"), 1.0)
    assert list(shown(fleet, 2.0)) == ["GPU-b"]
    assert shown(fleet, 100.0) == {}


def test_clients_hear_of_devices_only_when_something_changed():
    """An update has all devices when one of them changed, else says nothing of them."""
    fleet = Fleet(0.0)
    using(fleet, "rank-0", A)
    fleet.tick(1.0)
    before = fleet.version
    using(fleet, "rank-0", A, at=2.0)
    fleet.tick(3.0)
    update = fleet.changes(before, 3.0)
    assert isinstance(update, StatusUpdate)
    assert update.devices is None
    using(fleet, "rank-0", B, at=4.0)
    fleet.tick(5.0)
    assert [view.id for view in fleet.changes(before, 5.0).devices] == ["GPU-b"]


def test_who_watches_some_runs_sees_their_devices():
    """A subscription to runs brings the devices of these alone."""
    fleet = Fleet(0.0)
    using(fleet, "rank-0", A)
    fleet.tick(1.0)
    assert [view.id for view in fleet.devices(["train"])] == ["GPU-a"]
    assert fleet.devices(["other"]) == []


def test_a_fleet_that_was_cleared_has_no_devices():
    """Another store brings its own devices; what was there before is gone at once."""
    fleet = Fleet(0.0)
    using(fleet, "rank-0", A)
    fleet.tick(1.0)
    fleet.clear(1.5)
    assert shown(fleet, 1.6) == {}


def test_a_replica_that_claims_all_devices_of_the_world_is_cut_short():
    """What one heartbeat can make the weaver hold is bounded, in number and in length."""
    fleet = Fleet(0.0)
    many = [Device(id=f"GPU-{number}", kind="gpu") for number in range(10 * MOST_DEVICES)]
    long = Device(id="G" * 10_000, kind="gpu")
    using(fleet, "rank-0", long, Device(id="", kind="cpu"), *many)
    assert len(shown(fleet, 1.0)) == MOST_DEVICES - 2
