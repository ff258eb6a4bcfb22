"""The weaver with a real NATS server, real sockets, and replicas that speak the real protocol."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import jsonschema
import pytest

from harness.nats import asynchronous, running_bus, running_nats, until
from harness.weaver import FakeReplica, living, serving, talking
from weavelet.exceptions import CommandError
from weavelet.messages import Settled
from weavelet.settings import read_endpoint
from weavelet.weaver import clients, nats_server, scribe
from weavelet.weaver import service as module
from weavelet.weaver.home import AlreadyUpError, running
from weavelet.weaver.service import Options, Service
from weavelet.wire.bus import Server

ROOT = Path(__file__).parents[2]
SET = {"run": "train", "values": {"lr": 0.5}}


@asynccontextmanager
async def bus_of(endpoint):
    async with running_bus(lambda: Server(endpoint.nats_url)) as bus:
        await asyncio.wait_for(bus.wait_connected(), 20)
        yield bus


@asynccontextmanager
async def stage(home, *names, **options):
    """A weaver, replicas that live, and a client that sees them all."""
    async with (
        serving(home, **options) as service,
        bus_of(service.endpoint) as bus,
        living(bus, *names) as replicas,
        talking(service.endpoint) as talk,
    ):
        await talk.rows(lambda rows: len(rows) == len(replicas))
        yield service, replicas, talk


@asynchronous
async def test_a_replica_is_shown_with_its_controls_and_metrics(tmp_path):
    """What it registers, beats and reports reaches a subscribed client; NaN stays visible."""
    async with stage(tmp_path) as (_, (replica,), talk):
        replica.step = 7
        await replica.beat()
        await replica.report(loss=float("nan"), accuracy=0.5)
        rows = await talk.rows(lambda rows: rows and rows["rank-0"]["metrics"])
        row = rows["rank-0"]
        assert (row["state"], row["metrics"]) == ("running", {"loss": "NaN", "accuracy": 0.5})
        assert [control["name"] for control in row["controls"]] == ["lr", "save"]
        assert row["controls"][0]["schema"]["maximum"] == 1
        await talk.until(
            lambda message: any(row["step"] == 7 for row in message.get("replicas", ()))
        )


@asynchronous
async def test_samples_go_to_those_who_asked_for_them(tmp_path):
    """By column, with the names of non-finite floats."""
    async with stage(tmp_path) as (_, (replica,), talk):
        await talk.ask("subscribe", metrics=True)
        await replica.report(loss=float("inf"))
        message = await talk.until(lambda message: message["type"] == "metrics")
        assert (message["replica"], message["columns"]) == ("rank-0", {"loss": ["Infinity"]})


@asynchronous
async def test_all_that_is_said_fits_the_schema(tmp_path):
    """Each message of a real conversation is valid by docs/api.schema.json."""
    schema = json.loads((ROOT / "docs" / "api.schema.json").read_text("utf-8"))
    said = {"$ref": "#/$defs/ServerMessage", "$defs": schema["$defs"]}
    validator = jsonschema.Draft202012Validator(said)
    async with stage(tmp_path) as (_, (replica,), talk):
        await talk.ask("subscribe", metrics=True)
        await replica.report(loss=float("nan"), accuracy=0.5, text="x")
        await talk.until(lambda message: message["type"] == "metrics")
        await talk.command("update_config", **SET)
        await talk.command("action", run="train", name="save", arguments={"path": "x"})
        await talk.ask("update_config", run="train", values={"nothing": 1})
        await talk.ask("read_log", run="train")
        await talk.ask("read_history", run="train")
        await replica.end()
        await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "exited")
        await talk.ask("remove", run="train")
        assert {message["type"] for message in talk.heard} == set(
            schema["$defs"]["ServerMessage"]["discriminator"]["mapping"]
        )
        for message in talk.heard:
            validator.validate(message)


@asynchronous
async def test_a_command_ends_in_proven_outcomes(tmp_path):
    """Accepted, then what each replica made of it, then settled, in the log too."""
    async with stage(tmp_path, "rank-0", "rank-1") as (_, replicas, talk):
        replicas[1].step = 812
        answer = await talk.command("update_config", **SET)
        updates = [message for message in talk.heard if message.get("id") == answer["id"]]
        assert updates[0]["state"] == "accepted"
        assert (answer["state"], answer["settled"]) == ("applied", True)
        outcomes = {one["replica"]: one for one in answer["outcomes"]}
        assert outcomes["rank-1"]["step"] == 812
        assert outcomes["rank-0"]["changes"] == [{"name": "lr", "old": 0.1, "new": 0.5}]
        log = await talk.ask("read_log", run="train")
        assert [(one["entry"]["kind"], one["settled"]) for one in log["entries"]] == [
            ("begin", True),
            ("set", True),
        ]


@asynchronous
async def test_a_client_may_choose_the_id_of_an_entry(tmp_path):
    """The log holds the command under it; nothing else is taken under the same id."""
    async with stage(tmp_path) as (_, _, talk):
        settled = await talk.command("pause", run="train", entry="0123456789abcdef")
        log = await talk.ask("read_log", run="train")
        assert settled["entry"]["id"] == "0123456789abcdef"
        assert [one["entry"]["kind"] for one in log["entries"]] == ["begin", "pause"]
        assert log["entries"][1]["entry"] == settled["entry"]
        for entry in ("0123456789abcdef", "begin-0123456789", ""):
            refused = await talk.command("resume", run="train", entry=entry)
            assert refused["code"] == "invalid_value"


@asynchronous
async def test_every_kind_of_command_goes_round(tmp_path):
    """Each has its word in the log; a freeze stops all but stop and unfreeze."""
    async with stage(tmp_path) as (_, _, talk):
        for kind, more in (
            ("action", {"name": "save", "arguments": {"path": "x"}}),
            ("pause", {"lease": 5.0}),
            ("resume", {}),
            ("freeze", {"reason": "demo"}),
            ("unfreeze", {}),
            ("freeze", {}),
            ("stop", {"reason": "enough"}),
        ):
            answer = await talk.command(kind, run="train", **more)
            assert answer["state"] == "applied", answer
        answer = await talk.command("pause", run="train")
        assert answer["code"] == "frozen"
        log = await talk.ask("read_log", run="train")
        assert [one["entry"]["kind"] for one in log["entries"]] == [
            "begin", "act", "pause", "resume", "freeze", "unfreeze", "freeze", "stop",
        ]  # fmt: skip


@asynchronous
async def test_what_a_trainer_rejects_is_said_with_its_reason(tmp_path):
    """Nothing is reported as done that is not; replicas that differ make it mixed."""
    async with stage(tmp_path, "rank-0", "rank-1") as (_, replicas, talk):
        replicas[0].answers["lr"] = ("rejected", "a warm-up is on")
        answer = await talk.command("update_config", **SET)
        assert answer["state"] == "mixed"
        assert {one["replica"]: (one["outcome"], one["reason"]) for one in answer["outcomes"]} == {
            "rank-0": ("rejected", "a warm-up is on"),
            "rank-1": ("applied", None),
        }


@asynchronous
async def test_what_makes_no_sense_is_refused_at_once(tmp_path):
    """With what could have been named instead, and the request's id."""
    async with stage(tmp_path) as (_, _, talk):
        for fields, code, known in (
            ({"run": "tain", "values": {"lr": 1}}, "unknown_run", ["train"]),
            ({**SET, "job": "j9"}, "unknown_job", ["j1"]),
            ({**SET, "replicas": ["rank-9"]}, "unknown_replica", ["rank-0"]),
            ({"run": "train", "values": {"rl": 1}}, "unknown_control", ["lr"]),
            ({"run": "train", "values": {"lr": "banana"}}, "invalid_value", []),
        ):
            answer = await talk.ask("update_config", **fields)
            assert (answer["type"], answer["code"], answer["known"]) == ("error", code, known)
        assert answer["text"] == "lr: expected a number > 0 and <= 1, got 'banana'"


@asynchronous
async def test_silence_ends_as_unknown_and_a_late_answer_amends_it(tmp_path):
    """Deadline and five seconds more; then the truth, for whoever is subscribed."""
    async with stage(tmp_path) as (_, (replica,), talk):
        replica.mute = True
        answer = await talk.command("update_config", **SET, deadline=0.1)
        assert (answer["state"], answer["outcomes"][0]["reason"]) == (
            "unknown",
            "no answer within 5.1 s",
        )
        await replica.store(replica._outcome(replica.seen[1], answer["entry"]["sequence"]))
        amended = await talk.until(lambda message: message["type"] == "entry")
        assert (amended["id"], amended["state"]) == ("", "applied")


@asynchronous
async def test_results_too_large_for_one_message_are_settled_all_the_same(tmp_path):
    """The log keeps what became of it; the client gets the results, too."""
    async with stage(tmp_path, "rank-0", "rank-1") as (_, replicas, talk):
        for replica in replicas:
            replica.result = "x" * 600_000
        answer = await talk.command("action", run="train", name="save", arguments={"path": "x"})
        assert [len(one["result"]) for one in answer["outcomes"]] == [600_000, 600_000]
        settled = await replicas[0].saw(Settled)
        assert [one.result for one in settled.outcomes] == [None, None]


@asynchronous
async def test_a_replica_that_ends_without_an_answer_is_not_waited_for(tmp_path):
    """Unknown at once, with the reason, long before the deadline."""
    async with stage(tmp_path) as (_, (replica,), talk):
        replica.mute = True
        number = await talk.send("update_config", **SET)
        await talk.until(lambda message: message["type"] == "entry")
        await replica.end("crashed")
        answer = await talk.until(lambda m: m.get("id") == number and m.get("settled"))
        assert answer["outcomes"][0]["reason"] == "crashed before it answered"


@asynchronous
async def test_a_viewer_may_look_and_not_command(tmp_path):
    """Its token subscribes and reads logs; all else is forbidden."""
    async with (
        stage(tmp_path) as (service, _, _),
        talking(service.endpoint, token=service.endpoint.viewer_token) as talk,
    ):
        assert (await talk.ask("subscribe"))["role"] == "viewer"
        assert (await talk.ask("read_log", run="train"))["type"] == "log"
        for kind in ("pause", "stop", "freeze", "remove"):
            assert (await talk.ask(kind, run="train"))["code"] == "forbidden"


@asynchronous
async def test_malformed_messages_do_not_end_the_connection(tmp_path):
    """Each is answered with an error, and the next good one with an answer."""
    async with serving(tmp_path) as service, talking(service.endpoint) as talk:
        for text in (
            "{",
            "[]",
            '{"type": "nonsense", "id": "1"}',
            '{"type": "pause", "id": "2"}',
            '{"type": "pause", "id": "3", "run": "train", "extra": 1}',
            '{"type": "update_config", "id": "4", "run": "x", "values": {"a": NaN}}',
            '{"type": "update_config", "id": "5", "run": "x", "values": {"a": '
            + "[" * 20_000
            + "]" * 20_000
            + "}}",
        ):
            await talk.socket.send_str(text)
            answer = await talk.next()
            assert (answer["type"], answer["code"]) == ("error", "malformed")
        await talk.socket.send_bytes(b"\x00\xff")
        assert (await talk.next())["code"] == "malformed"
        assert (await talk.ask("subscribe"))["type"] == "snapshot"


@asynchronous
async def test_a_message_beyond_64_kib_closes_only_its_own_connection(tmp_path):
    """It is not read; others do not notice."""
    async with (
        serving(tmp_path) as service,
        talking(service.endpoint) as big,
        talking(service.endpoint) as other,
    ):
        await big.socket.send_str(json.dumps({"type": "stop", "id": "1", "run": "x" * 70_000}))
        message = await asyncio.wait_for(big.socket.receive(), 20)
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1009)
        assert (await other.ask("subscribe"))["type"] == "snapshot"


@asynchronous
async def test_a_client_that_does_not_read_is_cut_off(tmp_path, monkeypatch):
    """It costs bounded memory, and the others are served all the while."""
    monkeypatch.setattr(clients, "MAX_WAITING_BYTES", 1024 * 1024)
    async with (
        stage(tmp_path) as (service, _, talk),
        talking(service.endpoint) as deaf,
    ):
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await ask_without_end(deaf)
        assert (await talk.command("update_config", **SET))["state"] == "applied"


@asynchronous
async def test_malformed_envelopes_are_counted_and_skipped(tmp_path):
    """What follows them is read."""
    async with (
        serving(tmp_path) as service,
        bus_of(service.endpoint) as bus,
        talking(service.endpoint) as talk,
    ):
        for subject in ("weavelet.train.j1.outcome.rank-0", "weavelet.train.j1.control"):
            await bus.append(subject, b"\xff\xff\xff", message_id=subject)
        await bus.publish("weavelet.train.j1.heartbeat.rank-0", b"\xff\xff")
        async with living(bus):
            await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
            assert await health(service.endpoint) == (200, 3)
            assert (await talk.command("update_config", **SET))["state"] == "applied"


@asynchronous
async def test_the_author_is_in_the_log(tmp_path):
    """As the client names itself, if that can be printed; else its role and address."""
    async with stage(tmp_path) as (service, _, talk):
        assert (await talk.command("pause", run="train"))["entry"]["author"] == "operator@127.0.0.1"
        for given, expected in (
            ("ann@desk", "ann@desk"),
            ("x" * 129, "operator@127.0.0.1"),
            ("a\tb", "operator@127.0.0.1"),
            ("rule:mine", "operator@127.0.0.1"),
            ("external.dcgm", "operator@127.0.0.1"),
        ):
            headers = {"X-Weavelet-Author": given}
            async with talking(service.endpoint, headers=headers) as other:
                answer = await other.command("resume", run="train")
                assert answer["entry"]["author"] == expected


@asynchronous
async def test_a_run_is_forgotten_only_when_it_does_not_live(tmp_path):
    """Its log, outcomes and reports are gone from the streams; others stay."""
    async with stage(tmp_path) as (service, (replica,), talk):
        assert (await talk.ask("remove", run="train"))["code"] == "still_live"
        await replica.end()
        await talk.rows(lambda rows: rows["rank-0"]["state"] == "exited")
        assert (await talk.ask("remove", run="train"))["jobs"] == ["j1"]
        assert (await talk.ask("read_log", run="train"))["code"] == "unknown_run"
        await talk.until(lambda message: message.get("removed") == [["train", "j1"]])
        async with bus_of(service.endpoint) as bus:
            assert await bus.last("WEAVELET_CONTROL", "weavelet.*.*.control") is None


def test_two_weavers_at_once_tell_the_same(tmp_path):
    """Commands through either, interleaved: one log, one Begin, one Settled each."""
    with running_nats(tmp_path / "nats") as server:
        asyncio.run(_two_weavers(tmp_path, server.url))


async def _two_weavers(folder, url):
    async with (
        serving(folder / "a", nats_url=url) as first,
        serving(folder / "b", nats_url=url) as second,
        bus_of(first.endpoint) as bus,
        living(bus, "rank-0", "rank-1") as replicas,
        talking(first.endpoint) as one,
        talking(second.endpoint) as other,
    ):
        for talk in (one, other):
            await talk.rows(lambda rows: len(rows) == 2)

        async def push(talk):
            return [await talk.command("update_config", **SET) for _ in range(10)]

        answers = await asyncio.gather(push(one), push(other))
        assert {answer["state"] for talked in answers for answer in talked} == {"applied"}
        logs = [await talk.ask("read_log", run="train") for talk in (one, other)]
        entries = [[(e["entry"]["id"], e["state"]) for e in log["entries"]] for log in logs]
        assert entries[0] == entries[1]
        assert len(entries[0]) == 21

        def count(kind):
            return sum(type(entry.body).__name__ == kind for entry in replicas[0].seen)

        # A replica may read the last of them a little later than the client that was told.
        await until(lambda: count("Settled") >= 20)
        assert (count("Begin"), count("Settled")) == (1, 20)


UP = """
import asyncio, pathlib, sys
from weavelet.weaver.service import Options, serve
options = Options(home=pathlib.Path(sys.argv[1]), port=0)
asyncio.run(serve(options, started=lambda endpoint: print(endpoint.http_url, flush=True)))
"""


@asynccontextmanager
async def up(home):
    """A weaver in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", UP, str(home), stdout=subprocess.PIPE
    )
    try:
        assert await process.stdout.readline()
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@pytest.mark.smoke
@asynchronous
async def test_a_killed_weaver_leaves_nothing_out(tmp_path):
    """A new one in the same home shows the same, at the same place, with the same token."""
    async with up(tmp_path) as process:
        before = read_endpoint(tmp_path)
        assert running(tmp_path) == before
        async with bus_of(before) as bus, living(bus) as _, talking(before) as talk:
            await talk.rows(lambda rows: rows)
            await talk.command("update_config", **SET)
            log = await talk.ask("read_log", run="train")
            process.kill()
            await process.wait()
            assert running(tmp_path) is None
            async with up(tmp_path):
                after = read_endpoint(tmp_path)
                assert (after.http_url, after.nats_url) == (before.http_url, before.nats_url)
                async with talking(before) as again:
                    rows = await again.rows(
                        lambda rows: rows and rows["rank-0"]["state"] == "running"
                    )
                    assert [control["name"] for control in rows["rank-0"]["controls"]]
                    fresh = await again.ask("read_log", run="train")
                    assert fresh["entries"] == log["entries"]
                    assert (await again.command("update_config", **SET))["state"] == "applied"


@asynchronous
async def test_sigterm_leaves_nothing_behind(tmp_path):
    """endpoint.json is gone and the process has ended well."""
    async with up(tmp_path) as process:
        assert (tmp_path / "endpoint.json").stat().st_mode & 0o777 == 0o600
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert not (tmp_path / "endpoint.json").exists()


@asynchronous
async def test_a_home_has_one_weaver(tmp_path):
    """A second one learns where the first one is."""
    async with serving(tmp_path) as service:
        with pytest.raises(AlreadyUpError) as caught:
            await Service(Options(home=tmp_path, port=0)).start()
        assert caught.value.endpoint == service.endpoint
    assert running(tmp_path) is None


@asynchronous
async def test_a_taken_port_is_named(tmp_path):
    """With what to do about it; the home is free again afterwards."""
    async with serving(tmp_path / "a") as service:
        port = int(service.endpoint.http_url.rpartition(":")[2])
        with pytest.raises(CommandError, match=f"port {port} is taken, use --port 0"):
            await Service(Options(home=tmp_path / "b", port=port)).start()
    async with serving(tmp_path / "b"):
        pass


def test_a_nats_server_without_jetstream_is_named(tmp_path, monkeypatch):
    """`up` ends and says what that server lacks; it does not wait for it for ever."""
    monkeypatch.setattr(module, "_STREAMS_SECONDS", 0.5)
    complete = nats_server.configuration
    monkeypatch.setattr(
        nats_server,
        "configuration",
        lambda *given: re.sub(r"(?ms)jetstream \{.*?^\}", "", complete(*given)),
    )
    with running_nats(tmp_path / "nats") as server:
        with pytest.raises(CommandError, match=r"127\.0\.0\.1:\d+: .*without JetStream"):
            asyncio.run(Service(Options(home=tmp_path, port=0, nats_url=server.url)).start())


@asynchronous
async def test_other_addresses_need_tls_or_a_loud_word(tmp_path):
    """A token must not travel in the clear by accident."""
    with pytest.raises(CommandError, match="--insecure"):
        await Service(Options(home=tmp_path, port=0, host="0.0.0.0")).start()


@asynchronous
async def test_health_tells_of_a_lost_nats_server(tmp_path):
    """503 while it is away, 200 when it is back, which the weaver sees to itself."""
    async with serving(tmp_path) as service:
        assert await health(service.endpoint) == (200, 0)
        server = service.nats.process
        os.kill(server.pid, signal.SIGSTOP)
        await eventually(service.endpoint, 503)
        os.kill(server.pid, signal.SIGKILL)
        await eventually(service.endpoint, 200)


@asynchronous
async def test_a_wiped_store_is_begun_afresh(tmp_path):
    """What was in it is gone from sight; replicas that announce themselves again are shown."""
    async with serving(tmp_path) as service, talking(service.endpoint) as talk:
        async with bus_of(service.endpoint) as bus:
            await FakeReplica(bus).register()
            await talk.rows(lambda rows: "rank-0" in rows)
        shutil.rmtree(tmp_path / "nats" / "store")
        os.kill(service.nats.process.pid, signal.SIGKILL)
        await talk.until(lambda message: message.get("jobs") == [] and "version" in message)
        async with bus_of(service.endpoint) as bus, living(bus, "rank-1"):
            await talk.rows(lambda rows: list(rows) == ["rank-1"])
            assert (await talk.command("update_config", **SET))["state"] == "applied"


@asynchronous
async def test_a_nats_server_that_comes_back_on_another_port_is_found(tmp_path):
    """Its port was taken while it was down: weaver, endpoint.json and replicas follow it."""
    async with serving(tmp_path / "home") as service:
        before = service.endpoint.nats_url
        # In one go, so that the port is taken before the server is started again.
        os.kill(service.nats.process.pid, signal.SIGKILL)
        service.nats.process.wait()
        with socket.create_server(("127.0.0.1", service.nats.port)):
            await until(lambda: service.endpoint.nats_url != before)
            told = read_endpoint(tmp_path / "home")
            assert told.nats_url == service.nats.url != before
            async with (
                bus_of(told) as bus,
                living(bus, "rank-0"),
                talking(service.endpoint) as talk,
            ):
                await talk.rows(lambda rows: "rank-0" in rows)
                assert (await talk.command("update_config", **SET))["state"] == "applied"


@asynchronous
async def test_a_nats_server_that_does_not_stay_up_ends_the_weaver(tmp_path):
    """After the fourth end within a minute, with a clear error."""
    async with serving(tmp_path) as service:
        ended = asyncio.ensure_future(service.wait())
        killed = set()
        while not ended.done():
            process = service.nats.process
            if process.pid not in killed and process.poll() is None:
                killed.add(process.pid)
                process.kill()
            await asyncio.wait([ended], timeout=0.02)
        with pytest.raises(CommandError, match="ended 4 times within 60 s"):
            ended.result()
        assert len(killed) == 4


@asynchronous
async def test_commands_are_refused_while_the_nats_server_is_away(tmp_path, monkeypatch):
    """Clearly, and in good time; later ones go through."""
    monkeypatch.setattr(scribe, "APPEND_SECONDS", 0.5)
    async with stage(tmp_path) as (service, _, talk):
        server = service.nats.process.pid
        os.kill(server, signal.SIGSTOP)
        answer = await talk.command("update_config", **SET)
        assert (answer["type"], answer["code"]) == ("error", "unavailable")
        os.kill(server, signal.SIGCONT)
        await eventually(service.endpoint, 200)
        monkeypatch.setattr(scribe, "APPEND_SECONDS", 5.0)
        assert (await talk.command("update_config", **SET))["state"] == "applied"


async def ask_without_end(talk):
    while True:
        await talk.send("read_log", run="x" * 60_000)  # the answer repeats the name


async def health(endpoint):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{endpoint.http_url}/healthz") as answer,
    ):
        return answer.status, (await answer.json())["malformed"]


async def eventually(endpoint, wanted):
    async def look():
        status = 0
        while status != wanted:
            status, _ = await health(endpoint)

    await asyncio.wait_for(look(), 30)
