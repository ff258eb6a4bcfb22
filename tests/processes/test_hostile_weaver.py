"""What would stop the weaver for all, or a client for good, and must not."""

from __future__ import annotations

from harness.nats import asynchronous, running_bus, within
from harness.weaver import living, serving, set_entry, talking
from weavelet.weaver import clients
from weavelet.wire import envelope, subjects
from weavelet.wire.bus import Server


@asynchronous
async def test_an_answer_beyond_the_limit_is_no_reason_to_cut(tmp_path, monkeypatch):
    """One message may be larger than what a client that keeps up may have waiting."""
    monkeypatch.setattr(clients, "MAX_WAITING_BYTES", 16)
    async with serving(tmp_path) as service, talking(service.endpoint) as talk:
        for _ in range(3):
            assert (await talk.ask("subscribe"))["type"] == "snapshot"


@asynchronous
async def test_an_entry_that_cannot_be_settled_holds_up_no_other(tmp_path):
    """A Settled too large for any message is told to clients and left out of the log."""
    async with (
        serving(tmp_path) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
    ):
        await within(bus.wait_connected())
        async with living(bus), talking(service.endpoint) as talk:
            await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
            monster = envelope.encode(set_entry("x" * 900_000))
            await bus.append(subjects.control("train", "j1"), monster, message_id="monster")
            settled = await talk.until(
                lambda message: message["type"] == "entry" and message["settled"]
            )
            assert settled["entry"]["id"] == "x" * 900_000
            answer = await talk.command("update_config", run="train", values={"lr": 0.25})
            assert answer["state"] == "applied"
