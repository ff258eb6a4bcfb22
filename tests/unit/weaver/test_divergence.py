"""Ranks that hold other settings than the rest."""

from msgspec.structs import replace

from harness.weaver import LR, beat, identity, lifecycle
from weavelet.messages import Registration
from weavelet.weaver.divergence import LASTING_SECONDS
from weavelet.weaver.fleet import Fleet

WORLD = 4


class Ranks:
    """The ranks of one job, each with the hash that it tells."""

    def __init__(self, *hashes, world=WORLD, controls=None, values=()):
        self.fleet = Fleet(0.0)
        self.hashes = list(hashes)
        for rank in range(len(hashes)):
            who = replace(identity(f"rank-{rank}"), rank=rank, world_size=world)
            specs = (replace(LR, value=values[rank] if values else 0.1),)
            specs = specs if controls is None else controls[rank]
            self.fleet.registered(Registration(identity=who, controls=specs), rank + 1, 0.0)

    def diverged(self, begin, end, states=None):
        """What is shown of the job at the end, with a heartbeat a second."""
        for now in range(begin, end + 1):
            for rank, found in enumerate(self.hashes):
                state = (states or {}).get(rank, "running")
                said = beat(f"rank-{rank}", state=state, config_hash=found)
                self.fleet.beat("train", "j1", said, float(now))
            self.fleet.tick(float(now))
        (job,) = self.fleet.snapshot(float(end))
        return job.diverged


def test_ranks_that_agree_raise_no_alarm():
    """Equal hashes are no divergence, however long."""
    assert Ranks("a", "a", "a", "a").diverged(0, 20) is None


def test_a_rank_with_other_settings_is_named_with_what_differs():
    """After a moment the alarm says who differs, from whom, and in which control."""
    ranks = Ranks("a", "a", "b", "a", values=(0.1, 0.1, 0.5, 0.1))
    assert ranks.diverged(0, 4) is None
    assert ranks.diverged(5, 10) == "rank-2 holds other settings than rank-0 and 2 more: lr"


def test_clients_are_told_when_it_begins_and_when_it_ends():
    """The job comes with an update when the alarm changes, and with no other one for it."""
    ranks = Ranks("a", "b")
    ranks.diverged(0, 4)
    before = ranks.fleet.version
    assert ranks.diverged(5, 6) is not None
    assert [job.diverged for job in ranks.fleet.changes(before, 6.0).jobs] == [
        "rank-1 holds other settings than rank-0"
    ]
    ranks.hashes = ["a", "a"]
    before = ranks.fleet.version
    assert ranks.diverged(7, 8) is None
    assert [job.diverged for job in ranks.fleet.changes(before, 8.0).jobs] == [None]


def test_a_change_on_its_way_is_no_divergence():
    """Ranks tell of a change one after the other; that lasts less than it takes to be shown."""
    ranks = Ranks("a", "a")
    for now in range(0, 40, 4):
        ranks.hashes = ["b", "a"] if now % 8 == 0 else ["b", "b"]
        assert ranks.diverged(now, now + 3) is None
    assert LASTING_SECONDS > 3


def test_independent_replicas_may_differ():
    """Replicas that are no ranks of one world, or alone in it, are not compared."""
    assert Ranks("a", "b", world=1).diverged(0, 20) is None
    assert Ranks("a", "b", world=None).diverged(0, 20) is None


def test_ranks_with_other_controls_are_not_compared():
    """A rank that alone has a control has another hash by nature."""
    only = (LR, replace(LR, name="save_every"))
    assert Ranks("a", "b", "a", controls=[(LR,), only, (LR,)]).diverged(0, 20) is None


def test_only_ranks_that_train_count():
    """One that starts, ended or is not heard has settings of no consequence."""
    assert Ranks("a", "b").diverged(0, 20, {1: "starting"}) is None
    ranks = Ranks("a", "b")
    assert ranks.diverged(0, 10) is not None
    ranks.fleet.ended("train", "j1", lifecycle("crashed", "rank-1"), 10.0)
    assert ranks.diverged(11, 13) is None


def test_many_are_not_all_named():
    """The alarm stays one line, however many ranks differ."""
    hashes = ["a"] * 50 + ["b"] * 20
    found = Ranks(*hashes, world=70).diverged(0, 10)
    assert found.startswith("rank-50, rank-51")
    assert "and 12 more hold other settings than rank-0 and 49 more" in found


def test_a_clock_that_jumps_ahead_raises_no_alarm():
    """An hour without a heartbeat makes ranks unknown, not diverged."""
    ranks = Ranks("a", "b")
    ranks.diverged(0, 2)
    ranks.fleet.tick(3600.0)
    (job,) = ranks.fleet.snapshot(3600.0)
    assert job.diverged is None
