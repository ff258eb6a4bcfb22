"""Past samples through a restart of the weaver, out of the real report stream."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from harness.nats import asynchronous, connected_bus
from harness.weaver import (
    FakeReplica,
    beat,
    lifecycle,
    living,
    registration,
    serving,
    talking,
)
from weavelet.messages import ReportBatch
from weavelet.weaver import refill
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.history import History
from weavelet.weaver.refill import Refill
from weavelet.wire import envelope, subjects

KEY = ("train", "j1", "rank-0")


async def report(bus, first, values, *, replica="rank-0", incarnation="a"):
    """Store a batch of one metric, a sample a step."""
    batch = ReportBatch(
        replica=replica,
        incarnation=incarnation,
        first=first,
        steps=tuple(range(first, first + len(values))),
        at=tuple(map(float, range(first, first + len(values)))),
        columns={"loss": tuple(values)},
    )
    await bus.store(
        subjects.report("train", "j1", replica),
        envelope.encode(batch),
        message_id=f"{replica}.{incarnation}.{first}",
    )
    return batch


def fleet(*replicas):
    """A fleet that knows these replicas."""
    known = Fleet(0.0)
    for order, replica in enumerate(replicas or ("rank-0",), 1):
        known.registered(registration(replica), order, 0.0)
    known.tick(0.0)
    return known


async def steps(refilled, key=KEY):
    """Run a refill to its end; the steps that its history has then."""
    await refilled.run()
    series = refilled._history.read(key, points=10_000)
    return series["loss"].steps if series else []


def make(bus, known=None):
    return Refill(bus, known or fleet(), History(), lambda place, why: None)


@asynchronous
async def test_a_restarted_weaver_knows_the_past(tmp_path):
    """The curve goes from the first sample to those that came after the restart, without a gap."""
    home = tmp_path / "home"
    async with serving(home) as service:
        async with connected_bus(service.nats) as bus, living(bus) as (replica,):
            for replica.step in range(300):
                await replica.report(loss=1.0 / (replica.step + 1), phase="warm")
            async with talking(service.endpoint) as talk:
                await talk.rows(lambda rows: rows["rank-0"]["metrics"].get("loss") == 1.0 / 300)
                before = await talk.ask("read_history", run="train")
    async with serving(home) as service, talking(service.endpoint) as talk:
        last = {"loss": 1.0 / 300, "phase": "warm"}
        await talk.rows(lambda rows: rows.get("rank-0", {}).get("metrics") == last)
        async with connected_bus(service.nats) as bus:
            again = FakeReplica(bus)
            again._reported, again.step = 300, 300
            await again.report(loss=7.0)
        await talk.rows(lambda rows: rows["rank-0"]["metrics"]["loss"] == 7.0)
        after = await talk.ask("read_history", run="train", replicas=["rank-0"])
    assert (before["last"], after["last"]) == (True, True)
    old, new = before["series"]["loss"], after["series"]["loss"]
    assert list(after["series"]) == ["loss"]
    assert old["steps"] == list(range(300))
    assert new["steps"] == [*range(300), 300]
    assert new["mean"] == [*old["mean"], 7.0]


@asynchronous
async def test_what_comes_while_the_past_is_read_comes_behind_it(nats):
    """Live samples wait for the past of their replica, and count once where both have them."""
    async with connected_bus(nats) as bus:
        for first in range(0, 50, 10):
            last = await report(bus, first, [1.0] * 10)
        refilled = make(bus)
        refilled.add(KEY, last)
        refilled.add(KEY, await report(bus, 50, [2.0] * 10))
        assert await steps(refilled) == list(range(60))
        refilled.add(KEY, await report(bus, 60, [3.0]))
        assert refilled._history.read(KEY, points=100)["loss"].mean[-2:] == [2.0, 3.0]


@asynchronous
async def test_who_asks_waits_for_the_past(nats):
    """A question for a replica is answered once its past is there, before the others' turn."""
    async with connected_bus(nats) as bus:
        names = [f"rank-{rank}" for rank in range(20)]
        for name in names:
            await report(bus, 0, [1.0] * 5, replica=name)
        refilled = make(bus, fleet(*names))
        running = asyncio.ensure_future(refilled.run())
        await asyncio.sleep(0)
        await refilled.recall([("train", "j1", "rank-19")])
        assert refilled._history.names(("train", "j1", "rank-19")) == ["loss"]
        await running
        assert all(refilled._history.names(("train", "j1", name)) for name in names)


@asynchronous
async def test_what_is_still_to_come_is_named(nats, monkeypatch):
    """Who asks too early is told of which replicas the past is not there yet, and may ask again."""
    monkeypatch.setattr(refill, "_RECALL_SECONDS", 0.01)
    async with connected_bus(nats) as bus:
        await report(bus, 0, [1.0] * 5)
        refilled = make(bus)
        assert await refilled.recall([KEY]) == {KEY}
        await refilled.run()
        assert await refilled.recall([KEY]) == set()


@asynchronous
async def test_a_stream_that_holds_too_much_is_read_in_pieces(nats, monkeypatch):
    """With few looks the curve still goes from the first sample to the last one."""
    monkeypatch.setattr(refill, "_MOST_LOOKS_EACH", 3)
    async with connected_bus(nats) as bus:
        for first in range(2000):
            await report(bus, first, [float(first)])
        found = await steps(make(bus))
    assert (found[0], found[-1]) == (0, 1999)
    assert len(found) < 2000
    assert max(later - earlier for earlier, later in itertools.pairwise(found)) < 1000


@asynchronous
async def test_the_past_is_that_of_whoever_had_control(nats):
    """Where several lives may have it, the next heartbeats tell, and the others' samples go."""
    now = time.monotonic()
    known = Fleet(now - 1.5)
    for order, incarnation in enumerate("ab", 1):
        known.registered(registration(incarnation=incarnation), order, now - 60.0)
    known.ended("train", "j1", lifecycle("crashed", incarnation="b"), now - 30.0)
    async with connected_bus(nats) as bus:
        await report(bus, 0, [1.0] * 10)
        await report(bus, 0, [2.0] * 5, incarnation="b")
        await report(bus, 10, [1.0] * 10)
        refilled = make(bus, known)
        refilled.add(KEY, await report(bus, 5, [2.0] * 5, incarnation="b"))
        running = asyncio.ensure_future(steps(refilled))
        await bus.last(subjects.REPORT, subjects.report(*KEY))
        known.beat("train", "j1", beat(), time.monotonic())
        assert await running == list(range(20))
        assert set(refilled._history.read(KEY, points=100)["loss"].mean) == {1.0}


@asynchronous
async def test_what_cannot_be_read_is_passed_over(nats):
    """Garbage in the stream, and batches of another replica, are counted and left out."""
    complaints = []
    async with connected_bus(nats) as bus:
        await report(bus, 0, [1.0])
        await bus.store(subjects.report(*KEY), b"\xff\xff", message_id="bad")
        await report(bus, 1, [1.0])
        refilled = Refill(bus, fleet(), History(), lambda place, why: complaints.append(why))
        assert await steps(refilled) == [0, 1]
    assert len(complaints) == 1


@pytest.mark.parametrize("known", [fleet(), Fleet(0.0)], ids=["a replica", "nobody"])
@asynchronous
async def test_an_empty_stream_is_no_past(nats, known):
    """Where nothing was reported nothing is shown."""
    async with connected_bus(nats) as bus:
        assert await steps(make(bus, known)) == []
