"""What would stop the weaver for all, or a client for good, and must not."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest
from msgspec.structs import replace

from harness.faults import holds
from harness.nats import asynchronous, running_bus, running_nats, within
from harness.shell import Shell
from harness.stage import weaving
from harness.weaver import LR, FakeReplica, living, serving, set_entry, talking
from weavelet.settings import read_endpoint
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


JUNK = (
    b"\x16\x03\x01\x02\x00\x01\xff\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000 + b"\r\n\r\n",
    b"POST /session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n" + b'{"token": "x"}',
    b"POST /session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5000,
)


def test_what_is_no_http_does_not_fill_the_log(tmp_path):
    """Without a token anybody on this machine can send it, as often as they like."""
    with weaving(tmp_path / "home") as weaver:
        address = urlsplit(weaver.endpoint.http_url)
        before = len(weaver.log.read_text().splitlines())
        for junk in JUNK * 20:
            with socket.create_connection((address.hostname, address.port), 20) as connection:
                connection.sendall(junk)
                assert connection.recv(12)[9:] in (b"400", b"401", b"413")
        with weaver.client() as client:
            assert client.jobs() == []
        assert len(weaver.log.read_text().splitlines()) - before <= len(JUNK)


def test_who_holds_all_its_files_does_not_end_it(tmp_path):
    """Others connect meanwhile, its log stays short, and its NATS server comes back afterwards."""
    with weaving(tmp_path / "home") as weaver, ExitStack() as held:
        process, address = psutil.Process(weaver.pid), urlsplit(weaver.endpoint.http_url)
        server = next(one for one in process.children() if "nats" in one.name())
        before = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 8, before[1]))
        for _ in range(100):
            held.enter_context(socket.create_connection((address.hostname, address.port), 20))
        with weaver.client() as client:
            assert client.jobs() == []
        process.rlimit(psutil.RLIMIT_NOFILE, (8, before[1]))
        server.kill()
        holds(lambda: "trying again until it works" in weaver.log.read_text(), 30, "a line")
        process.rlimit(psutil.RLIMIT_NOFILE, before)
        holds(lambda: weaver.log.read_text().count("connected") > 1, 30, "a server")
        assert weaver.process.poll() is None
        assert len(weaver.log.read_text().splitlines()) < 100


def test_a_password_stands_on_no_command_line(tmp_path):
    """That of another NATS server comes in by a variable, and goes on to the background in one."""
    with running_nats(tmp_path / "nats") as nats:
        shell = Shell(tmp_path / "home")
        shell.environment["WEAVELET_UP_NATS_URL"] = nats.url
        done = shell("up", "--port", "0", "--detach")
        try:
            assert done.returncode == 0, done.stderr
            endpoint = read_endpoint(shell.home)
            assert endpoint.nats_url == nats.url
            lines = [
                one.read_bytes() for one in Path("/proc").glob("[0-9]*/cmdline") if one.exists()
            ]
            password = urlsplit(nats.url).password.encode()
            assert not [line for line in lines if password in line]
        finally:
            shell("down")


@asynchronous
async def test_every_command_leaves_a_line(tmp_path, caplog):
    """Who, from where, in which role, what, and the entry or why there is none."""
    caplog.set_level(logging.INFO, "weavelet.weaver")
    async with (
        serving(tmp_path) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus),
        talking(service.endpoint, headers={"X-Weavelet-Author": "ann@desk"}) as talk,
    ):
        await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
        done = await talk.command("update_config", run="train", values={"lr": 0.25})
        who = "ann@desk (operator, 127.0.0.1)"
        what = "UpdateConfig {'run': 'train', 'values': {'lr': 0.25}}"
        assert f"{who}: {what} (entry {done['entry']['id']})" in caplog.text
        await talk.command("update_config", run="train", values={"lr": 7})
        assert f"{who}: refused UpdateConfig" in caplog.text
        await talk.command("remove", run="train")
        assert f"{who}: refused Remove {{'run': 'train'}}: run 'train' still lives" in caplog.text


@asynchronous
async def test_what_a_viewer_may_not_do_leaves_a_line_too(tmp_path, caplog):
    """Whoever tries to command with a viewer's token is in the log, with what it was."""
    caplog.set_level(logging.INFO, "weavelet.weaver")
    async with serving(tmp_path) as service:
        token = service.endpoint.viewer_token
        async with talking(service.endpoint, token=token) as talk:
            assert (await talk.command("stop", run="train"))["code"] == "forbidden"
    assert "(viewer, 127.0.0.1): refused Stop {'run': 'train'}: a viewer's token" in caplog.text


@asynchronous
async def test_a_line_of_the_log_is_never_long(tmp_path, caplog):
    """Whatever was asked for, and however long the error is that says so."""
    caplog.set_level(logging.INFO, "weavelet.weaver")
    async with serving(tmp_path) as service, talking(service.endpoint) as talk:
        refused = await talk.command("stop", run="x" * 60_000)
        assert refused["code"] == "unknown_run"
    assert max(len(record.getMessage()) for record in caplog.records) < 1500


@asynchronous
async def test_nobody_signs_as_a_rule_or_the_weaver(tmp_path):
    """What stands in the log under these names is theirs."""
    async with (
        serving(tmp_path) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus),
    ):
        for name in ("weaver", "rule:pause_on_bad_loss"):
            headers = {"X-Weavelet-Author": name}
            async with talking(service.endpoint, headers=headers) as talk:
                await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
                done = await talk.command("resume", run="train")
                assert done["entry"]["author"] == "operator@127.0.0.1"


@asynchronous
async def test_a_token_of_before_is_none(tmp_path):
    """Whoever removes secrets.json has locked out every link and cookie there was."""
    async with serving(tmp_path) as service:
        old = service.endpoint
    (tmp_path / "secrets.json").unlink()
    async with serving(tmp_path) as service:
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            async with talking(service.endpoint, token=old.token):
                pass


@asynchronous
async def test_prometheus_reads_a_weaver_that_serves(tmp_path):
    """With the viewer's token; what a live replica reports is there by name."""
    async with (
        serving(tmp_path) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus) as (replica,),
        talking(service.endpoint) as talk,
        aiohttp.ClientSession() as session,
    ):
        await talk.rows(lambda rows: rows)
        await replica.report(loss=0.5)
        await talk.rows(lambda rows: rows["rank-0"]["metrics"])
        headers = {"Authorization": f"Bearer {service.endpoint.viewer_token}"}
        async with session.get(f"{service.endpoint.http_url}/metrics", headers=headers) as answer:
            text = await answer.text()
    wanted = 'weavelet_reported{job="j1",metric="loss",replica="rank-0",run="train"} 0.5'
    assert wanted in text
    assert "process_resident_memory_bytes" in text


@asynchronous
async def test_a_registration_that_is_too_large_is_known_by_its_names(tmp_path):
    """Its controls are there without their words, and it is counted that something is missing."""
    async with (
        serving(tmp_path) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        talking(service.endpoint) as talk,
    ):
        await within(bus.wait_connected())
        await FakeReplica(bus).register(controls=[replace(LR, doc="x" * 900_000)])
        rows = await talk.rows(lambda rows: rows and rows["rank-0"]["controls"])
        (control,) = rows["rank-0"]["controls"]
        assert control["name"] == "lr"
        assert not control.get("doc")
        assert not control.get("schema")
        headers = {"Authorization": f"Bearer {service.endpoint.token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{service.endpoint.http_url}/metrics", headers=headers) as answer,
        ):
            assert "weavelet_left_out 1.0" in await answer.text()
