"""Notices through a real server: two weavers, crashes, and events that are none."""

from __future__ import annotations

import asyncio

import aiohttp

from harness.nats import asynchronous, connected_bus, within
from harness.trainers import LOOP, training
from harness.weaver import FakeReplica, identity, serving, talking
from weavelet.messages import Entry, External, Notice, Registration
from weavelet.wire import envelope, subjects

WATCHFUL = (
    LOOP
    + """
import sys

with weavelet.session(sys.argv[1]) as w:
    w.on_notice("replica_failed")(lambda notice: say(notice=notice.kind, detail=notice.detail))
    say(started=True)
    train(w)
"""
)


async def happens(bus, source="dcgm", **event):
    """An event of a monitoring system."""
    external = External(source=source, **event)
    return await bus.store(subjects.external(source), envelope.encode(external))


async def notices(bus, job="j1"):
    """The notices in a job's log."""
    found, last = [], 0
    subject = subjects.control("train", job)
    while stored := await bus.read(subjects.CONTROL, subject, last):
        last = stored[-1].sequence
        entries = [envelope.decode(one.data) for one in stored]
        found += [one for one in entries if isinstance(one, Entry)]
    return [entry for entry in found if isinstance(entry.body, Notice)]


async def join(replica, *kinds):
    """Register a replica that has functions for these kinds, and beat."""
    who = identity(replica.name, run=replica.run, job=replica.job)
    await replica.store(Registration(identity=who, notices=kinds))
    await replica.beat()


@asynchronous
async def test_two_weavers_tell_an_event_once(nats, tmp_path):
    """However many weavers read an event, each job's log has one notice of it; so after a restart.

    The first of the two is stopped and started again after the event.
    """
    async with connected_bus(nats) as bus:
        here = FakeReplica(bus)
        await join(here)
        first, second = tmp_path / "one", tmp_path / "two"
        async with serving(second, nats_url=nats.url) as other, talking(other.endpoint) as talk:
            async with serving(first, nats_url=nats.url):
                await talk.rows(lambda rows: "rank-0" in rows)
                await happens(bus, kind="host_draining", host="host")
                while not await notices(bus):
                    await here.beat()
                    await asyncio.sleep(0.1)
            async with serving(first, nats_url=nats.url):
                await happens(bus, kind="other_matter", host="host")
                while len(await notices(bus)) < 2:
                    await here.beat()
                    await asyncio.sleep(0.1)
        found = await notices(bus)
    assert [entry.body.kind for entry in found] == ["host_draining", "other_matter"]
    assert [entry.addressed for entry in found] == [("rank-0",)] * 2


@asynchronous
async def test_events_that_are_none_are_counted_and_harm_nothing(tmp_path):
    """Garbage, other messages, lies about the source, bad kinds and giants; then a good one."""
    async with serving(tmp_path / "home") as service, connected_bus(service.nats) as bus:
        replica = FakeReplica(bus)
        await join(replica)
        subject = subjects.external("dcgm")
        bad = [
            b"",
            b"\xff\x00garbage",
            envelope.encode(Entry(id="e", author="x", body=Notice("device_failed"))),
            envelope.encode(External(source="other", kind="host_draining", host="host")),
            envelope.encode(External(source="dcgm", kind="<b>", host="host")),
            envelope.encode(External(source="dcgm", kind="", host="host")),
            envelope.encode(
                External(source="dcgm", kind="big", host="host", detail={"x": "y" * 100_000})
            ),
        ]
        api = service.endpoint
        async with talking(api) as talk:
            await talk.rows(lambda rows: "rank-0" in rows)
            for number, data in enumerate(bad):
                await bus.store(subject, data, message_id=f"bad-{number}")
            await happens(bus, kind="host_draining", host="HOST.example")
            while not await notices(bus):
                await replica.beat()
                await asyncio.sleep(0.1)
        health = await within(talk_health(api))
        found = await notices(bus)
    assert [entry.body for entry in found] == [Notice("host_draining", {"host": "HOST.example"})]
    assert health["malformed"] == len(bad)


async def talk_health(endpoint):
    """What /healthz says."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{endpoint.http_url}/healthz") as answer:
            return await answer.json()


@asynchronous
async def test_the_others_are_told_of_a_trainer_that_was_killed(tmp_path):
    """A replica that ends with -9 is told to those of its job that asked for it."""
    async with serving(tmp_path / "home") as service, talking(service.endpoint) as talk:
        names = {
            "WEAVELET_NATS_URL": service.endpoint.nats_url,
            "WEAVELET_RUN": "train",
            "WEAVELET_JOB": "j1",
            "WEAVELET_SIDECAR_LOG": str(tmp_path / "sidecar.log"),
        }
        with (
            training(WATCHFUL, "rank-0", **names) as doomed,
            training(WATCHFUL, "rank-1", **names) as other,
        ):
            await talk.rows(lambda rows: [row["state"] for row in rows.values()] == ["running"] * 2)
            doomed.kill()
            said = await asyncio.to_thread(other.event, "notice")
    assert said["notice"] == "replica_failed"
    assert said["detail"]["replicas"] == ["rank-0"]
    assert said["detail"]["cause"] == "crashed"


@asynchronous
async def test_a_job_that_one_weaver_removes_leaves_the_other_one_too(nats, tmp_path):
    """What was removed by one weaver is soon not shown by another one either; the rest stays."""
    async with connected_bus(nats) as bus:
        for job in ("j1", "j2"):
            replica = FakeReplica(bus, job=job)
            await join(replica)
            await replica.end()
        async with (
            serving(tmp_path / "one", nats_url=nats.url) as first,
            serving(tmp_path / "two", nats_url=nats.url) as second,
            talking(first.endpoint) as one,
            talking(second.endpoint) as two,
        ):
            await two.send("subscribe")
            snapshot = await two.until(lambda message: message["type"] == "snapshot")
            assert {job["job"] for job in snapshot["jobs"]} == {"j1", "j2"}
            removed = await one.ask("remove", run="train", job="j1")
            assert removed["jobs"] == ["j1"]
            news = await two.until(lambda message: message.get("removed"))
            left = await two.ask("subscribe")
    assert news["removed"] == [["train", "j1"]]
    assert [job["job"] for job in left["jobs"]] == ["j2"]
