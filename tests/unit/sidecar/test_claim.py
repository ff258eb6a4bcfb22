"""Two incarnations of one replica: the older keeps control, and exactly one has it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from weavelet.messages import Heartbeat, Identity
from weavelet.sidecar.claim import PROBE, SILENCE, Claim, refusal


def heartbeat(incarnation, *, claiming=False, state="running"):
    return Heartbeat(replica="r", incarnation=incarnation, state=state, claiming=claiming)


def test_alone_it_gains_control_after_asking():
    """Nobody speaks up within the probe, so control is gained, once."""
    claim = Claim("a")
    assert not claim.settle(100.0)
    claim.ask(100.0)
    assert not claim.settle(100.0 + PROBE / 2)
    assert claim.settle(100.0 + PROBE)
    assert claim.held
    assert not claim.settle(200.0)


def test_asking_again_does_not_begin_anew():
    """The probe counts from the first question."""
    claim = Claim("a")
    for tenth in range(3):
        claim.ask(100.0 + tenth / 10)
    assert claim.settle(100.0 + PROBE)


def test_the_older_keeps_control_whatever_the_ids():
    """One that has control says so, and the new one is refused as long as it is heard."""
    for mine in ("a", "z"):
        claim = Claim(mine)
        claim.ask(0.0)
        assert not claim.hear(heartbeat("m"), 0.1)
        assert claim.other == "m"
        for second in range(1, 20):
            claim.hear(heartbeat("m"), float(second))
            assert not claim.settle(float(second) + 0.9)
    assert not claim.held


def test_whoever_has_control_speaks_up_when_asked():
    """A claiming heartbeat is answered at once, a usual one is not."""
    claim = Claim("m")
    claim.ask(0.0)
    claim.settle(PROBE)
    assert claim.hear(heartbeat("a", claiming=True), 1.0)
    assert not claim.hear(heartbeat("z"), 1.0)
    assert claim.held
    assert claim.other is None


def test_of_two_that_have_control_both_the_larger_id_steps_back():
    """Neither heard the other ask: the one with the smaller id keeps it, the other is refused."""
    for mine, other, keeps in (("m", "a", False), ("m", "z", True)):
        claim = Claim(mine)
        claim.ask(0.0)
        assert claim.settle(PROBE)
        assert not claim.hear(heartbeat(other), 1.0)
        assert claim.held is keeps
        assert claim.other == (None if keeps else other)


def test_one_that_was_refused_is_not_answered():
    """It knows already; its heartbeats cause no more."""
    claim = Claim("m")
    claim.ask(0.0)
    claim.settle(PROBE)
    assert not claim.hear(heartbeat("a", claiming=True, state="conflict"), 1.0)


def test_silence_hands_control_over():
    """When the other has not been heard for a while, its successor takes over."""
    claim = Claim("z")
    claim.ask(0.0)
    claim.hear(heartbeat("a"), 10.0)
    assert not claim.settle(10.0 + SILENCE - 0.1)
    assert claim.settle(10.0 + SILENCE)
    assert claim.other is None


def test_its_own_heartbeats_are_no_rival():
    """A sidecar that replaces another one beside the same trainer is the same incarnation."""
    claim = Claim("a")
    claim.ask(0.0)
    assert not claim.hear(heartbeat("a"), 0.1)
    assert claim.settle(PROBE)
    assert not claim.hear(heartbeat("a", claiming=True), 1.0)


def test_of_two_that_begin_together_the_smaller_id_gets_it():
    """Both ask before either has control."""
    first, second = Claim("a"), Claim("b")
    first.ask(0.0)
    second.ask(0.0)
    first.hear(heartbeat("b", claiming=True), 0.01)
    second.hear(heartbeat("a", claiming=True), 0.01)
    assert first.settle(PROBE)
    assert not second.settle(PROBE)
    assert second.other == "a"


@given(
    starts=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    delays=st.lists(st.integers(0, 2), min_size=1, max_size=20),
)
def test_never_two_on_a_bus_that_delivers_in_time(starts, delays):
    """Any number of incarnations, begun at any time: one gets control, and it stays the one."""
    tick = PROBE / 5
    claims = {}
    wires = []
    delay = iter(delays * 1000)
    for now in range(120):
        for number, start in enumerate(starts):
            if start == now:
                claims[f"i{(number * 7) % 5}{number}"] = Claim(f"i{(number * 7) % 5}{number}")
        due = [wire for wire in wires if wire[0] <= now]
        wires = [wire for wire in wires if wire[0] > now]
        for _, beat in due:
            for claim in claims.values():
                if claim.hear(beat, now * tick):
                    wires.append((now + next(delay), heartbeat(claim._mine)))
        for mine, claim in claims.items():
            if not claim.held:
                claim.ask(now * tick)
            if now % 5 == 0 or not claim.held:
                state = "conflict" if claim.other else "running"
                beat = heartbeat(mine, claiming=not claim.held, state=state)
                wires.append((now + next(delay), beat))
        for claim in claims.values():
            claim.settle(now * tick)
        assert sum(claim.held for claim in claims.values()) <= 1
    assert sum(claim.held for claim in claims.values()) == 1


def test_a_refusal_says_what_to_do():
    """Where a launcher has made several ranks, that they need no id of their own."""
    known = {"run": "r", "job": "j", "replica": "trainer-0", "incarnation": "a"}
    alone = Identity(**known, pid=1, host="h", rank=None, local_rank=None, world_size=None)
    ranked = Identity(**known, pid=1, host="h", rank=1, local_rank=1, world_size=2)
    assert refusal(alone, "b").endswith("give each its own replica_id")
    assert "session() names each rank" in refusal(ranked, "b")
