"""The bus against a real nats-server that is killed, frozen, wiped and moved."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace

import pytest

from harness.nats import asynchronous, connected_bus, kill, running_bus, until, wipe, within
from weavelet.exceptions import BusError
from weavelet.weaver import nats_server
from weavelet.weaver.nats_server import NatsServer
from weavelet.wire import store, streams, subjects
from weavelet.wire.bus import LostRace, Server, StoreChanged

LOG = subjects.control("run", "job")


async def collect(bus, into, *, subject=LOG, stream=subjects.CONTROL, after=0, epoch=None):
    epoch = epoch or await bus.epoch()
    async for stored in bus.follow(stream, subject, after, epoch=epoch):
        into.append(stored)


async def append_all(bus, count, last=0, start=0):
    for i in range(start, start + count):
        last = await bus.append(LOG, b"%d" % i, message_id=f"m{i}", expected_last=last)
    return last


@asynchronous
async def test_a_follower_reads_all_in_order(nats):
    """What was appended before and while following comes once each, in order, with its id."""
    async with connected_bus(nats) as bus:
        seen = []
        last = await append_all(bus, 600)
        task = asyncio.create_task(collect(bus, seen))
        await until(lambda: len(seen) == 600)
        await append_all(bus, 20, last, start=600)
        await until(lambda: len(seen) >= 620)
        task.cancel()
    assert [stored.data for stored in seen] == [b"%d" % i for i in range(620)]
    assert [stored.id for stored in seen] == [f"m{i}" for i in range(620)]


@asynchronous
async def test_a_wildcard_follows_all_jobs(nats):
    """One follower sees the logs of all jobs, each message with its own subject."""
    other = subjects.control("other", "job")
    async with connected_bus(nats) as bus:
        seen = []
        task = asyncio.create_task(collect(bus, seen, subject=subjects.ALL_CONTROL))
        await bus.append(LOG, b"a", message_id="a")
        await bus.append(other, b"b", message_id="b")
        await until(lambda: len(seen) == 2)
        task.cancel()
    assert [stored.subject for stored in seen] == [LOG, other]


@asynchronous
async def test_a_killed_server_loses_nothing(nats):
    """After kill -9 and a restart on the same store the follower goes on within 2 seconds."""
    async with connected_bus(nats) as bus:
        seen = []
        task = asyncio.create_task(collect(bus, seen))
        last = await append_all(bus, 50)
        kill(nats)
        await nats.start()
        began = time.monotonic()
        await append_all(bus, 50, last, start=50)
        await until(lambda: len(seen) == 100)
        assert time.monotonic() - began < 2.5
        task.cancel()
    assert [stored.data for stored in seen] == [b"%d" % i for i in range(100)]


@asynchronous
async def test_an_append_waits_out_an_absent_server(nats):
    """An append that begins while the server is down is stored once it is back."""
    async with connected_bus(nats) as bus:
        kill(nats)
        append = asyncio.create_task(bus.append(LOG, b"x", message_id="x", expected_last=0))
        await until(lambda: not bus.connected)
        assert bus.last_error
        await nats.start()
        assert await within(append) == 1


@asynchronous
async def test_writes_during_kills_are_stored_once(nats):
    """A writer that is cut off again and again stores each message exactly once, in order."""
    async with connected_bus(nats) as bus:
        writer = asyncio.create_task(append_all(bus, 300))
        for _ in range(3):
            generation = bus.generation
            kill(nats)
            await nats.start()
            await within(bus.wait_change(generation))
        await within(writer)
        stored = await read_all(bus)
    assert [message.data for message in stored] == [b"%d" % i for i in range(300)]


@asynchronous
async def test_a_wiped_store_is_noticed(nats):
    """A follower whose store was wiped and made anew raises StoreChanged with both epochs."""
    async with connected_bus(nats) as bus:
        await append_all(bus, 5)
        epoch = await bus.epoch()
        seen = []
        task = asyncio.create_task(collect(bus, seen, epoch=epoch))
        await until(lambda: len(seen) == 5)
        generation = bus.generation
        kill(nats)
        wipe(nats)
        await nats.start()
        await within(bus.wait_change(generation))
        assert await bus.epoch() is None
        await bus.create_streams()
        with pytest.raises(StoreChanged) as caught:
            await within(task)
        assert caught.value.expected == epoch
        assert caught.value.found == await bus.epoch() != epoch


@asynchronous
async def test_one_of_many_racing_writers_wins(nats):
    """Of twenty writers that expect the same last sequence one wins, the others are told."""
    async with connected_bus(nats) as bus:
        results = await asyncio.gather(
            *(bus.append(LOG, b"x", message_id=f"w{i}", expected_last=0) for i in range(20)),
            return_exceptions=True,
        )
        assert results.count(1) == 1
        lost = [result for result in results if isinstance(result, LostRace)]
        assert [error.last for error in lost] == [1] * 19
        assert len(await read_all(bus)) == 1


@pytest.mark.parametrize("expected_last", [0, None])
@asynchronous
async def test_a_write_that_timed_out_is_applied_once(nats, expected_last):
    """A write to a frozen server, which applies it when it thaws, is stored once, and confirmed."""
    async with connected_bus(nats) as bus:
        nats.process.send_signal(signal.SIGSTOP)
        append = asyncio.create_task(
            bus.append(LOG, b"x", message_id="x", expected_last=expected_last, timeout=30)
        )
        # Longer than a request waits: the write is in the server's socket, in doubt.
        await until(lambda: not bus.connected)
        nats.process.send_signal(signal.SIGCONT)
        assert await within(append) == 1
        assert [stored.data for stored in await read_all(bus)] == [b"x"]


@asynchronous
async def test_a_frozen_server_is_noticed(nats):
    """A server that does not answer, with bytes unsent, is given up within 5 seconds."""
    async with connected_bus(nats) as bus:
        nats.process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        subject = subjects.heartbeat("run", "job", "r")
        while bus.connected and time.monotonic() - began < 10:
            await bus.publish(subject, b"x" * 100_000)
            await asyncio.sleep(0.001)
        assert time.monotonic() - began < 5
        assert not await bus.publish(subject, b"x")
        nats.process.send_signal(signal.SIGCONT)
        await within(bus.wait_connected())


@asynchronous
async def test_a_request_under_way_fails_with_its_connection(nats):
    """A read in flight ends when the server is killed, not when its own time is over."""
    async with connected_bus(nats) as bus:
        nats.process.send_signal(signal.SIGSTOP)
        read = asyncio.create_task(bus.read(subjects.CONTROL, LOG, 0))
        await asyncio.sleep(0)
        kill(nats)
        began = time.monotonic()
        with pytest.raises(BusError):
            await within(read)
        assert time.monotonic() - began < 0.5


@asynchronous
async def test_a_callback_that_fails_is_logged_and_called_again(nats, caplog):
    """A subscriber's error is logged with its traceback; later messages still reach it."""
    subject = subjects.heartbeat("run", "job", "rank-0")
    seen = []

    def fail_once(_, data):
        seen.append(data)
        if len(seen) == 1:
            raise ZeroDivisionError

    async with connected_bus(nats) as bus:
        await bus.subscribe(subject, fail_once)
        await bus.publish(subject, b"a")
        await bus.publish(subject, b"b")
        await until(lambda: len(seen) == 2)
        assert bus.connected
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert record.exc_info[0] is ZeroDivisionError


@asynchronous
async def test_a_write_beyond_its_deadline_is_a_bus_error(nats):
    """An append to a server that stays away ends with a BusError that says why."""
    async with connected_bus(nats) as bus:
        kill(nats)
        with pytest.raises(BusError, match="not known to be stored"):
            await within(bus.append(LOG, b"x", message_id="x", timeout=0.3))


@asynchronous
async def test_a_repeated_write_is_the_first_one(nats):
    """The same message id again gives the same sequence, with and without compare-and-set."""
    async with connected_bus(nats) as bus:
        assert await bus.append(LOG, b"a", message_id="a", expected_last=0) == 1
        assert await bus.append(LOG, b"b", message_id="b", expected_last=1) == 2
        assert await bus.append(LOG, b"a", message_id="a", expected_last=0) == 1
        assert await bus.append(LOG, b"b", message_id="b") == 2


@asynchronous
async def test_a_server_that_moves_is_followed(tmp_path, nats):
    """When resolve() names a server on another port, with another password, the bus goes there."""
    current = nats
    async with running_bus(lambda: Server(current.url)) as bus:
        await within(bus.wait_connected())
        await bus.create_streams()
        seen = []
        task = asyncio.create_task(collect(bus, seen))
        last = await append_all(bus, 3)
        kill(nats)
        current = NatsServer(nats.folder)
        await current.start()
        try:
            await append_all(bus, 3, last, start=3)
            await until(lambda: len(seen) == 6)
        finally:
            task.cancel()
            await current.stop()


@asynchronous
async def test_a_server_may_come_later(tmp_path):
    """A bus that starts before its server says why, and connects once there is one."""
    server = None
    async with running_bus(lambda: server and Server(server.url)) as bus:
        await until(lambda: bus.last_error == "no NATS server is known yet")
        with pytest.raises(BusError, match="no NATS server is known yet"):
            await bus.last(subjects.CONTROL, LOG)
        starting = NatsServer(tmp_path / "nats")
        await starting.start()
        server = starting
        try:
            await within(bus.wait_connected())
            assert await bus.epoch() is None
        finally:
            await starting.stop()


@asynchronous
async def test_a_follower_waits_for_the_streams(nats):
    """A follower that is there before the streams reads them when the weaver has made them."""
    async with connected_bus(nats) as bus:
        epoch = await bus.epoch()
        generation = bus.generation
        folder = nats.folder / "store"
        kill(nats)
        folder.rename(nats.folder / "away")
        await nats.start()
        await within(bus.wait_change(generation))
        seen = []
        task = asyncio.create_task(collect(bus, seen, epoch=epoch))
        await until(lambda: bus.last_error and "do not exist yet" in bus.last_error)
        kill(nats)
        wipe(nats)
        (nats.folder / "away").rename(folder)
        await nats.start()
        await bus.append(LOG, b"x", message_id="x")
        await until(lambda: seen)
        task.cancel()


@asynchronous
async def test_a_wrong_password_is_told(nats):
    """A server that refuses the password is named in last_error, without the password."""
    wrong = nats.url.replace(nats.url.split(":")[2].split("@")[0], "hunter2")
    async with running_bus(lambda: Server(wrong)) as bus:
        await until(lambda: "refuses the user, the password" in (bus.last_error or ""))
        assert "hunter2" not in bus.last_error
        assert str(nats.port) in bus.last_error


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "nats://127.0.0.1:1"])
@asynchronous
async def test_a_useless_address_is_told(url):
    """A scheme that is not spoken and a port where nothing listens are named in last_error."""
    expected = "expected a server address" if url.startswith("ws") else "nothing listens at"
    async with running_bus(lambda: Server(url)) as bus:
        await until(lambda: expected in (bus.last_error or ""))


@asynchronous
async def test_a_bad_credentials_file_is_told(nats, tmp_path):
    """A credentials file that is not there is a reason not to be connected, and no crash."""
    missing = str(tmp_path / "missing.creds")
    async with running_bus(lambda: Server(nats.url, creds=missing)) as bus:
        await until(lambda: "missing.creds' cannot be read" in (bus.last_error or ""))
        assert not bus.connected


@asynchronous
async def test_a_message_that_is_too_large_costs_no_connection(nats):
    """One byte too many, headers counted, is refused here; the connection lives on."""
    async with connected_bus(nats) as bus:
        generation = bus.generation
        # Fits by its payload alone: only with its headers is it too large.
        with pytest.raises(BusError, match="the NATS server takes 1048576"):
            await bus.append(LOG, b"x" * 1_048_576, message_id="x")
        with pytest.raises(BusError, match="the NATS server takes 1048576"):
            await bus.publish(subjects.heartbeat("r", "j", "a"), b"x" * 1_048_577)
        headers = len(b"NATS/1.0\r\nNats-Msg-Id: y\r\n\r\n")
        assert await bus.append(LOG, b"x" * (1_048_576 - headers), message_id="y") == 1
        assert bus.generation == generation


@asynchronous
async def test_core_messages_reach_a_subscriber_again_after_a_restart(nats):
    """A core subscription is made anew on the next connection; a closed one is not."""
    subject = subjects.heartbeat("run", "job", "rank-0")
    async with connected_bus(nats) as bus:
        seen, unwanted = [], []
        await bus.subscribe(subjects.ALL_HEARTBEATS, lambda *message: seen.append(message))
        closed = await bus.subscribe(subject, lambda *message: unwanted.append(message))
        await closed.close()
        for round_number in range(2):
            assert await bus.publish(subject, b"%d" % round_number)
            await until(lambda: len(seen) == round_number + 1)  # noqa: B023  awaited at once
            generation = bus.generation
            kill(nats)
            await nats.start()
            await within(bus.wait_change(generation))
    assert seen == [(subject, b"0"), (subject, b"1")]
    assert not unwanted


@asynchronous
async def test_the_age_is_the_servers(nats, monkeypatch):
    """The age of a message grows with time, and a jump of this host's clock does not change it."""
    async with connected_bus(nats) as bus:
        await bus.append(LOG, b"x", message_id="x")
        stored = await bus.last(subjects.CONTROL, LOG)
        young = await bus.age(stored)
        monkeypatch.setattr(time, "time", lambda: 0.0)
        began = time.monotonic()
        await until(lambda: time.monotonic() > began + 0.2)
        old = await bus.age(stored)
    assert 0 <= young < 1
    assert 0.2 <= old - young < 1


@asynchronous
async def test_a_clock_that_was_set_back_makes_nothing_old(nats, monkeypatch):
    """What seems old is compared with the server's clock of now; a batch of it asks once."""
    async with connected_bus(nats) as bus:
        await bus.append(LOG, b"x", message_id="x")
        stored = await bus.last(subjects.CONTROL, LOG)
        await bus.age(stored)
        bus._facts = replace(bus._facts, ahead=bus._facts.ahead + 3600)
        (stored,) = await bus.read(subjects.CONTROL, LOG, 0)
        assert await bus.age(stored) < 60
        asked = []
        monkeypatch.setattr(store, "info", lambda *_: asked.append(1))
        ages = [await bus.age(old) for old in [replace(stored, time=stored.time - 900)] * 5]
    assert all(age > 800 for age in ages)
    assert not asked


@asynchronous
async def test_streams_are_created_once(nats):
    """Creating the streams again, by another weaver at once too, changes nothing."""
    async with connected_bus(nats, streams=False) as one, connected_bus(nats, streams=False) as two:
        assert await one.epoch() is None
        await asyncio.gather(one.create_streams(), two.create_streams())
        epoch = await one.epoch()
        await one.create_streams()
        assert epoch == await one.epoch() == await two.epoch()
        await one.append(LOG, b"x", message_id="x")
        await two.create_streams()
        assert len(await read_all(two)) == 1


@asynchronous
async def test_purging_a_job_leaves_the_others(nats):
    """purge() removes a job's messages from a stream, and no other's."""
    async with connected_bus(nats) as bus:
        await bus.append(LOG, b"x", message_id="x")
        kept = subjects.control("run", "kept")
        await bus.append(kept, b"y", message_id="y")
        for stream, subject in subjects.of_job("run", "job"):
            await bus.purge(stream, subject)
        assert await bus.last(subjects.CONTROL, LOG) is None
        assert (await bus.last(subjects.CONTROL, kept)).data == b"y"


@asynchronous
async def test_the_server_has_taken_the_streams_as_they_are_wanted(nats):
    """Nothing is left to update after creation, bounds and asynchronous reports included."""
    async with connected_bus(nats) as bus:
        for config in streams.wanted():
            found = await store.info(bus._now(), config["name"])
            assert streams.to_update(config, found["config"]) is None
        reports = await store.info(bus._now(), subjects.REPORT)
        assert reports["config"]["persist_mode"] == "async"
        assert reports["config"]["discard"] == "old"


@asynchronous
async def test_a_subject_that_is_not_permitted_is_an_error_at_once(nats, monkeypatch):
    """A write that the server does not permit is a BusError that names the subject, in no time."""
    plain = nats_server.configuration
    user = f'user: weavelet, password: "{nats._password}"'
    denied = f'{{{user}, permissions: {{publish: {{deny: ["{LOG}"]}}}}}}'

    def restricted(*arguments):
        return plain(*arguments).replace(user, f"users: [{denied}]")

    async with connected_bus(nats) as bus:
        generation = bus.generation
        kill(nats)
        monkeypatch.setattr(nats_server, "configuration", restricted)
        await nats.start()
        await within(bus.wait_change(generation))
        began = time.monotonic()
        with pytest.raises(BusError, match=f"does not permit.*{LOG}"):
            await bus.append(LOG, b"x", message_id="x")
        assert time.monotonic() - began < 0.9
        assert bus.connected
        assert await bus.append(subjects.control("run", "other"), b"x", message_id="y")


@asynchronous
async def test_a_full_control_log_keeps_what_it_has(nats):
    """A control log that is full refuses what is new with a reason, and keeps what it has."""
    async with connected_bus(nats) as bus:
        info = await store.info(bus._now(), subjects.CONTROL)
        await store.update(bus._now(), {**info["config"], "max_bytes": 300})
        assert await bus.append(LOG, b"x" * 100, message_id="a") == 1
        with pytest.raises(BusError, match="maximum bytes exceeded"):
            await bus.append(LOG, b"y" * 200, message_id="b")
        assert [stored.data for stored in await read_all(bus)] == [b"x" * 100]
        await bus.create_streams()
        assert await bus.append(LOG, b"y" * 200, message_id="b") == 2


async def read_all(bus):
    found, after = [], 0
    while batch := await bus.read(subjects.CONTROL, LOG, after):
        found += batch
        after = batch[-1].sequence
    return found
