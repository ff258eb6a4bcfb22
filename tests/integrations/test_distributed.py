"""A session's seat among ranks, over torch's own store, in one process."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta

import pytest

pytest.importorskip("torch")

from torch import distributed
from torch.distributed import HashStore, TCPStore

import weavelet
from harness.faults import holds
from weavelet.integrations.distributed import Group, find_group
from weavelet.keystore import TorchStore
from weavelet.messages import Adopt, AppliedSet, Position, Set
from weavelet.testing import LocalSession, local_session

PATIENCE = 60.0


class Ranks:
    """Sessions that are the ranks of one job, each polled by a thread of its own."""

    def __init__(self, store, ranks=2, *, patience=PATIENCE, **arguments):
        self.sessions = []
        self.values = []
        for rank in range(ranks):
            session = LocalSession(f"rank-{rank}", mode="online", **arguments).start()
            self.sessions.append(session)
            self.values.append(self.declare(session, rank))
            group = Group(rank, ranks, store, patience)
            seat = session._safe_point.join(group, TorchStore(store.clone()))
            session.tick = seat.tick
        self.step = -1
        self.made = {}

    def declare(self, session, rank):
        values = {"lr": 0.1, "wd": 0.0}

        @session.handler("lr", get=lambda: values["lr"])
        def set_lr(value: float) -> None:
            values["lr"] = value

        @session.handler("wd", get=lambda: values["wd"])
        def set_wd(value: float) -> None:
            if rank == 1 and value < 0:
                msg = "below zero"
                raise ValueError(msg)
            values["wd"] = value

        return values

    def poll(self, steps=12):
        """Let all ranks make so many steps; `made` holds what their polls returned."""
        threads = [
            threading.Thread(target=self._poll, args=(session, steps)) for session in self.sessions
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        self.step += steps

    def _poll(self, session, steps):
        made = self.made[session.replica_id] = []
        # The first thread that polls owns a session, and here each round has its own.
        session._safe_point._owner = None
        for step in range(self.step + 1, self.step + 1 + steps):
            session.tick(step)
            session._page.ring()
            made += session.poll(step)

    def close(self):
        for session in self.sessions:
            session.stop()


@pytest.fixture
def ranks(served):
    """Two ranks."""
    ranks = Ranks(served)
    yield ranks
    ranks.close()


def kinds(ranks):
    """What became of the entries, by rank."""
    return [[outcome.kind for outcome in each.outcomes] for each in ranks.sessions]


def test_a_change_is_returned_by_the_polls_of_all_ranks(ranks):
    """The leader's sidecar brings it; both ranks apply it, and say so, at one step."""
    ranks.sessions[0].push(lr=0.5)
    ranks.poll()
    assert [values["lr"] for values in ranks.values] == [0.5, 0.5]
    first, second = ([(each.name, each.new) for each in made] for made in ranks.made.values())
    assert first == second == [("lr", 0.5)]
    assert ranks.sessions[0].outcomes[0].step == ranks.sessions[1].outcomes[0].step
    assert [each.outcomes[0].order for each in ranks.sessions] == [1, 1]


def test_what_was_rolled_back_is_returned_by_no_poll(ranks):
    """One rank's handler fails: both have the old values, and neither poll returns a change."""
    ranks.sessions[0].push(lr=0.5, wd=-1.0)
    ranks.poll()
    assert ranks.values == [{"lr": 0.1, "wd": 0.0}] * 2
    assert list(ranks.made.values()) == [[], []]
    assert kinds(ranks) == [["failed"], ["failed"]]
    for session in ranks.sessions:
        assert "rank 1: wd: ValueError: below zero" in session.outcomes[0].reason
    assert ranks.sessions[0].outcomes[0].state == ranks.sessions[1].outcomes[0].state


def test_an_entry_that_all_have_decided_is_not_waited_for(ranks):
    """A sidecar that brings it late hears that no outcome is owed any more."""
    ranks.sessions[0].push(lr=0.5)
    ranks.poll()
    entry = ranks.sessions[0].outcomes[0].entry
    second = ranks.sessions[1]
    assert second.deliver(Set({"lr": 0.5})) == entry
    ranks.poll()
    assert kinds(ranks) == [["applied"], ["applied"]]


def test_what_the_log_says_was_applied_is_adopted_at_one_step(ranks):
    """In the order of commits, which is not that of the log; what is not registered is left out."""
    sets = (
        AppliedSet("a", 3, "ann", {"lr": 0.3, "gone": 1}, 2),
        AppliedSet("b", 4, "bob", {"lr": 0.4, "wd": 4.0}, 1),
    )
    for session in ranks.sessions:
        session._local.inbox.append(Adopt(sets, Position("local", 0)))
    ranks.poll()
    assert ranks.values == [{"lr": 0.3, "wd": 4.0}] * 2
    for session in ranks.sessions:
        told = {outcome.entry: outcome for outcome in session.outcomes}
        assert {name: one.kind for name, one in told.items()} == dict.fromkeys("ab", "applied")
        assert all(one.adopted for one in told.values())
    assert len({one.step for each in ranks.sessions for one in each.outcomes}) == 1


def test_what_ranks_cannot_adopt_together_each_adopts_alone(served):
    """Where they do not meet, the settings are those of the log all the same, each at its step."""
    ranks = Ranks(served, patience=0.2)
    first = ranks.sessions[0]
    applied = (
        AppliedSet("a", 3, "ann", {"lr": 0.3}, 1),
        AppliedSet("b", 4, "bob", {"wd": 4.0, "lr": 9.0}, 0, at_step=9),
        AppliedSet("c", 5, "eve", {"lr": 0.5}, 2, own=False),
    )
    first._local.inbox.append(Adopt(applied, Position("local", 0)))
    ranks._poll(first, 5)
    assert "1 of 2 ranks never polled" in first._safe_point._ranks.off
    assert ranks.values[0] == {"lr": 0.5, "wd": 0.0}
    ranks.step = 4
    ranks._poll(first, 10)
    assert ranks.values[0] == {"lr": 0.5, "wd": 4.0}
    told = [(one.entry, one.kind, one.step, one.adopted) for one in first.outcomes]
    assert told == [
        ("a", "applied", 0, True),
        ("c", "applied", 0, True),
        ("b", "applied", 9, False),
    ]
    ranks.close()


def test_a_section_is_told_to_the_other_ranks(ranks, served):
    """Whoever waits can see for how long this rank may not poll."""
    ranks.poll()
    first = ranks.sessions[0]
    first._safe_point._owner = threading.get_ident()
    store = TorchStore(served.clone())
    key = first._safe_point._ranks.agreement._seat.keys.section(0)
    # torch's store takes a value without an answer, so that another connection may be earlier.
    with first.section("save", timeout=600.0):
        holds(lambda: store.read(key) == b"600.0", PATIENCE, "the outer section:")
        with first.section("inner"):
            holds(lambda: float(store.read(key)) == PATIENCE, PATIENCE, "the inner section:")
        holds(lambda: store.read(key) == b"600.0", PATIENCE, "the outer section again:")
    holds(lambda: store.read(key) is None, PATIENCE, "no section:")


def test_a_checkpoint_of_one_rank_serves_all(ranks, served):
    """It holds what was decided for any of them, so that nothing is decided twice."""
    ranks.sessions[0].push(lr=0.5)
    ranks.sessions[0].act("nothing")
    ranks.poll()
    state = ranks.sessions[1].state_dict()
    assert {kind for kind, *_ in state["decided"].values()} == {"applied", "rejected"}
    assert sorted(order for _, _, order, *_ in state["decided"].values()) == [1, 2]


def test_ctrl_c_while_waiting_for_a_rank_ends_at_once(served):
    """The store's own waiting would swallow it."""
    with local_session("rank-0") as w:
        w._safe_point.join(Group(0, 2, served, PATIENCE), TorchStore(served.clone()))
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            w.poll(0)
        assert time.monotonic() - began < PATIENCE / 4
        timer.join()


def test_a_store_that_is_gone_ends_agreement_and_not_training():
    """Commands are refused with the reason from then on, and polls go on."""
    served = TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=5), wait_for_workers=False)
    clone = served.clone()
    del served
    with local_session("rank-0") as w:
        w._safe_point.join(Group(0, 2, clone, PATIENCE), TorchStore(clone))
        w.push(lr=0.5)
        w.poll(0)
        w.act("anything")
        w._page.ring()
        w.poll(1)
        assert [outcome.kind for outcome in w.outcomes] == ["rejected", "rejected"]
        assert "the store of this job cannot be reached" in w.outcomes[1].reason


def test_no_group_and_a_group_of_one(served):
    """Without a process group there is none to find; one rank alone decides by itself."""
    assert find_group() is None
    distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        assert find_group().ranks == 1
        with local_session("rank-0") as w:
            w.handler("lr", type=float)(lambda value: None)
            w.push(lr=0.5)
            assert [each.new for each in w.poll()] == [0.5]
    finally:
        distributed.destroy_process_group()


def test_a_forked_worker_has_no_seat(served):
    """A poll that a worker inherits in a variable touches neither store nor controls."""
    with local_session("rank-1") as w:
        seat = w._safe_point.join(Group(1, 2, served, PATIENCE), TorchStore(served.clone()))
        child = os.fork()
        if child == 0:
            os._exit(0 if seat.off and not seat.tick(5) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert seat.off is None


def test_a_group_that_is_looked_for_in_each_poll():
    """With agreement="on" also without a launcher; a group of one ends the looking."""
    with LocalSession("rank-0", mode="online", agreement="on") as w:
        w.handler("lr", type=float)(lambda value: None)
        looking = w.poll
        w.poll(0)
        assert w.poll is looking
        distributed.init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
        try:
            w.poll(1)
            assert w.poll is not looking
            w.push(lr=0.5)
            assert [each.new for each in looking(2)] == [0.5]
        finally:
            distributed.destroy_process_group()


def test_agreement_is_one_of_its_choices():
    """Anything else is refused when the session is made."""
    with pytest.raises(ValueError, match="agreement must be one of 'auto', 'on', 'off'"):
        weavelet.session(agreement="always")


def test_a_group_whose_store_cannot_be_shared():
    """Commands are refused with the reason, as no rank could know what the others do."""
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    try:
        with local_session("rank-0") as w:
            w.push(lr=0.5)
            w.poll(0)
            assert w.outcomes[0].kind == "rejected"
            assert "cannot be cloned" in w.outcomes[0].reason
    finally:
        distributed.destroy_process_group()
