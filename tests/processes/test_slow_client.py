"""Clients that do not keep up: nobody else notices, and they are cut off in the end."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, asynccontextmanager

import pytest

from harness.nats import asynchronous, running_bus, until
from harness.slow import never_reading
from harness.weaver import living, serving, talking
from weavelet.weaver import api, clients
from weavelet.weaver.protocol import MAX_RUNS
from weavelet.wire.bus import Server

FILLING = 200
"""Snapshots, of some 60 kB each: more than lies between two sockets."""
NOTHING = {"jobs": [], "replicas": [], "removed": [], "devices": None, "rules": None}


@asynccontextmanager
async def crowded(folder):
    """A weaver, replicas with long rows, a client that keeps up and one that does not read."""
    async with (
        serving(folder) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus, *[f"rank-{number}" for number in range(8)]) as replicas,
        talking(service.endpoint) as talk,
    ):
        await talk.rows(lambda rows: len(rows) == len(replicas))
        for replica in replicas:
            await replica.report(**{f"metric-{number}": 0.5 for number in range(400)})
        await talk.rows(lambda rows: all(row["metrics"] for row in rows.values()))
        await talk.ask("subscribe", metrics=True)
        with ExitStack() as stack:
            # In a thread: the weaver runs in this one.
            connecting = never_reading(service.endpoint)
            deaf = await asyncio.to_thread(stack.enter_context, connecting)
            for _ in range(FILLING):
                await asyncio.to_thread(deaf.ask, "subscribe", metrics=True)
            yield talk, replicas[0], deaf


@asynchronous
async def test_a_real_socket_that_never_reads_is_cut(tmp_path, monkeypatch, caplog):
    """Its buffers full, it is given some time and then let go; the others get all their news."""
    monkeypatch.setattr(clients, "_SEND_SECONDS", 1.0)
    async with crowded(tmp_path) as (talk, replica, deaf):
        for number in range(20):
            replica.step = number
            await replica.report(loss=float(number))
            said = await talk.until(lambda message: "loss" in message.get("columns", ()))
            assert said["columns"]["loss"] == [float(number)]
        await until(lambda: "it took nothing for 1 s" in caplog.text)
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(deaf.read_to_end)
        assert (await talk.command("pause", run="train"))["state"] == "applied"


@asynchronous
async def test_news_for_a_slow_client_are_put_together(tmp_path):
    """When it reads again it gets the newest state of a row, not every state that there was."""
    async with crowded(tmp_path) as (talk, replica, deaf):
        for number in range(1, 31):
            replica.step = number
            await replica.beat()
            await talk.until(
                lambda said, step=number: (
                    any(row["step"] == step for row in said["replicas"])
                    if said["type"] == "status_update"
                    else False
                )
            )
        got = await asyncio.to_thread(deaf.read_until, b'"step":30')
        # Two may have been on their way when it stopped reading.
        assert got.count(b'"type":"status_update"') <= 3


@asynchronous
async def test_viewers_leave_room_for_operators(tmp_path, monkeypatch):
    """Looking on cannot take the last places; those who command get in."""
    monkeypatch.setattr(api, "_MAX_CLIENTS", 3)
    monkeypatch.setattr(api, "_MAX_VIEWERS", 2)
    async with serving(tmp_path) as service:
        viewer = service.endpoint.viewer_token
        async with (
            talking(service.endpoint, token=viewer),
            talking(service.endpoint, token=viewer),
        ):
            with pytest.raises(Exception, match="503"):
                async with talking(service.endpoint, token=viewer):
                    pass
            async with talking(service.endpoint) as operator:
                assert (await operator.ask("subscribe"))["type"] == "snapshot"
                with pytest.raises(Exception, match="503"):
                    async with talking(service.endpoint):
                        pass


def test_requests_have_a_rate():
    """Some at once, then so many a second; what was not used is not saved up without end."""
    allowance = clients.Allowance(3, 10.0)
    assert [allowance.wait(0.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    assert allowance.wait(100.0) == 0
    assert [allowance.wait(100.0) for _ in range(3)] == pytest.approx([0, 0, 0.1])


@asynchronous
async def test_a_client_that_asks_too_often_waits_alone(tmp_path, monkeypatch):
    """Its requests are all answered, one after the other; another client is answered at once."""
    monkeypatch.setattr(api, "_REQUESTS_AT_ONCE", 5)
    monkeypatch.setattr(api, "_REQUESTS_PER_SECOND", 2.0)
    async with (
        serving(tmp_path) as service,
        talking(service.endpoint) as hasty,
        talking(service.endpoint) as calm,
    ):
        asked = [await hasty.send("subscribe") for _ in range(8)]
        assert (await calm.ask("subscribe"))["type"] == "snapshot"
        answered = [(await hasty.next())["id"] for _ in range(5)]
        assert answered == asked[:5]
        last = await hasty.until(lambda said: said.get("id") == asked[-1])
        assert last["type"] == "snapshot"


def test_work_counts_as_requests():
    """Who has had long answers waits longer for the next one."""
    allowance = clients.Allowance(1, 10.0, price=1e6)
    with allowance.working():
        sorted(range(10_000), key=str)
    assert allowance.wait(0.0) > 1.0


@asynchronous
async def test_viewers_have_their_turns_in_the_order_in_which_they_asked():
    """One that asks over and over does not keep another one waiting."""
    allowance = clients.Allowance(1, 100.0)
    order = []

    async def ask(name, times):
        for _ in range(times):
            await allowance.turn()
            order.append(name)

    await asyncio.gather(ask("hasty", 5), ask("calm", 2))
    assert order[:4] == ["hasty", "calm", "hasty", "calm"]


@asynchronous
async def test_viewers_share_one_allowance_and_keep_no_operator_waiting(tmp_path, monkeypatch):
    """What one viewer has used up no other has; an operator's command is answered all the same."""
    monkeypatch.setattr(api, "_WORK_PRICE", 1e9)
    async with (
        serving(tmp_path) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus),
        talking(service.endpoint) as operator,
        talking(service.endpoint, token=service.endpoint.viewer_token) as first,
        talking(service.endpoint, token=service.endpoint.viewer_token) as second,
    ):
        await operator.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
        assert (await first.ask("read_log", run="train"))["type"] == "log"
        waiting = asyncio.ensure_future(second.ask("read_log", run="train"))
        done = await operator.command("update_config", run="train", values={"lr": 0.25})
        assert done["state"] == "applied"
        assert not waiting.done()
        waiting.cancel()


@asynchronous
async def test_a_subscription_names_a_bounded_number_of_runs(tmp_path):
    """Beyond it is refused with what to do instead, and the connection lives on."""
    async with serving(tmp_path) as service, talking(service.endpoint) as talk:
        runs = [f"run-{number}" for number in range(MAX_RUNS + 1)]
        refused = await talk.ask("subscribe", runs=runs)
        assert (refused["code"], "at most 100" in refused["text"]) == ("invalid_value", True)
        assert (await talk.ask("subscribe", runs=runs[1:]))["type"] == "snapshot"


@asynchronous
async def test_a_subscriber_hears_something_every_other_second(tmp_path):
    """Where nothing happens it is told so: silence means that the connection leads nowhere."""
    async with serving(tmp_path) as service, talking(service.endpoint) as talk:
        await talk.ask("subscribe", runs=["none"])
        for _ in range(2):
            said = await asyncio.wait_for(talk.next(), 5)
            assert said == {**NOTHING, "type": "status_update"}
