"""Garbage at every door of the running processes: counted, said once, and life goes on."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import random
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import aiohttp
import msgspec

from harness import mutation, samples
from harness.faults import sidecar_of
from harness.nats import connected_bus
from harness.stage import staged
from harness.trainers import PLAIN, training
from harness.watching import watching
from harness.weaver import talking
from weavelet.exceptions import MalformedError
from weavelet.messages import FromTrainer
from weavelet.weaver import protocol
from weavelet.wire import envelope, subjects

REPLICA = ("train", "job-1", "trainer-0")

GARBLING = """
import base64
""" + PLAIN.replace(
    "    train(w)\n",
    """
    w.poll(0)
    w._end._socket.setblocking(True)
    for line in sys.stdin:
        w._end._socket.sendall(base64.b64decode(line))
    w._end._socket.setblocking(False)
    train(w)
""",
)


def hostile(seeds, mutate, count, seed=4):
    """So many broken messages, and some large and deep ones."""
    chance = random.Random(seed)
    for _ in range(count):
        yield mutate(chance.choice(seeds), chance)
    yield b""
    yield b"\xff" * 900_000
    yield nested_entry(2_000)


def nested_entry(depth):
    value = b""
    for _ in range(depth):
        value = mutation.nested(1, value)
    return mutation.nested(1, mutation.nested(11, mutation.nested(1, mutation.nested(2, value))))


def malformed_only(messages):
    """Those that no decoder takes for a message."""
    for data in messages:
        try:
            envelope.decode(data)
        except MalformedError:
            yield data


def test_garbage_on_every_subject_is_counted_and_survived(tmp_path, sized):
    """Weaver and sidecar say it once each, count all of it, and the next command is applied."""
    seeds = [envelope.encode(message) for message in samples.ON_THE_BUS]
    garbage = list(malformed_only(hostile(seeds, mutation.mutated_protobuf, sized(60, 2_000))))
    with scene(tmp_path) as (stage, trainer, client):
        sidecar = sidecar_of(trainer.pid)
        asyncio.run(publish(stage.nats, garbage))
        result = client.set("train", {"lr": 0.5})
        assert result.state == "applied"
        health = healthz(stage.weaver)
        assert sidecar_of(trainer.pid) == sidecar
        assert stage.weaver.process.poll() is None
        warnings = stage.weaver.log.read_text().count("more of these are only counted")
        said = stage.sidecar_log.read_text().count("left out what cannot be read")
    assert len(garbage) > 20
    assert health["status"] == "ok"
    # Four subjects, each with all of it; reports and heartbeats may be lost on their way.
    assert 2 * len(garbage) <= health["malformed"] <= 4 * len(garbage)
    assert warnings == 4
    assert said == 1


async def publish(nats, garbage):
    """All of it to the log, the outcomes, the heartbeats and the reports of one replica."""
    run, job, replica = REPLICA
    async with connected_bus(nats, streams=False) as bus:
        for number, data in enumerate(garbage):
            await bus.publish(subjects.heartbeat(run, job, replica), data)
            for name, subject in (
                ("c", subjects.control(run, job)),
                ("o", subjects.outcome(run, job, replica)),
                ("r", subjects.report(run, job, replica)),
            ):
                await bus.append(subject, data, message_id=f"{name}{number}")


def test_garbage_on_the_websocket_is_answered_and_survived(tmp_path, sized):
    """Each text gets an error with its reason; the connection and all others live on."""
    texts = [msgspec.json.encode(message) for message in samples.FROM_CLIENT[:1]]
    broken = []
    for data in hostile(texts, mutation.mutated_json, sized(100, 5_000)):
        text = data.decode(errors="replace")
        try:
            msgspec.json.decode(text, type=protocol.ClientMessage)
        except (msgspec.DecodeError, RecursionError):
            if len(data) < 60_000:
                broken.append(text)
    broken += ["[" * 30_000, '{"type": "subscribe", "id": ' + "[" * 5_000 + "]" * 5_000 + "}"]

    async def talk(stage):
        async with talking(stage.weaver.endpoint) as first:
            answers = []
            for text in broken:
                await first.socket.send_str(text)
                answers.append(await first.next())
            await first.socket.send_bytes(b"\0" * 1_000)
            answers.append(await first.next())
            assert {answer["type"] for answer in answers} == {"error"}
            assert {answer["code"] for answer in answers} == {"malformed"}
            snapshot = await first.ask("subscribe")
            assert snapshot["type"] == "snapshot"
            async with talking(stage.weaver.endpoint) as second:
                with contextlib.suppress(ConnectionError):
                    await second.socket.send_str("x" * (10 << 20))
                message = await asyncio.wait_for(second.socket.receive(), 20)
                assert message.type is not aiohttp.WSMsgType.TEXT
            assert (await first.ask("subscribe"))["type"] == "snapshot"

    with scene(tmp_path) as (stage, _, client):
        asyncio.run(talk(stage))
        assert client.set("train", {"lr": 0.5}).state == "applied"
        health = healthz(stage.weaver)
        warnings = stage.weaver.log.read_text().count("more of these are only counted")
    assert health["malformed"] >= len(broken) + 1
    assert warnings == 1


def test_garbage_over_http_and_nats_is_refused_and_survived(tmp_path):
    """Bodies of a log-in, ten megabytes for the NATS server: refused, and the rest goes on."""
    with scene(tmp_path) as (stage, _, client):
        for body in (b"", b"\xff\xfe", b"[" * 4_000, b'{"token": 7}', b"x" * (10 << 20)):
            assert 400 <= posted(stage.weaver, body) < 500
        flood(stage.nats)
        assert client.set("train", {"lr": 0.5}).state == "applied"
        assert healthz(stage.weaver)["status"] == "ok"


def test_garbage_on_the_channel_is_said_once_and_survived(tmp_path, sized):
    """Frames that the sidecar cannot read cost themselves; the next command is applied."""
    chance = random.Random(6)
    bodies = [msgspec.msgpack.encode(message) for message in samples.FROM_TRAINER[1:]]
    frames = [b"\x91" * 3_000, b"", b"\xc1", b"\x93" * (2 << 20)]
    for _ in range(sized(100, 2_000)):
        body = mutation.mutated_msgpack(chance.choice(bodies), chance)
        try:
            msgspec.msgpack.decode(body, type=FromTrainer)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            frames.append(body)
    with (
        staged(tmp_path) as stage,
        training(GARBLING, stdin=True, **stage.names("train", "job-1")) as trainer,
        watching(stage) as watcher,
        stage.client() as client,
    ):
        watcher.until(lambda row: row.state == "running")
        sidecar = sidecar_of(trainer.pid)
        for body in frames:
            trainer.say(base64.b64encode(len(body).to_bytes(4, "big") + body).decode())
        trainer.process.stdin.close()
        watcher.until(lambda row: row.step is not None and row.step > 10)
        assert client.set("train", {"lr": 0.5}).state == "applied"
        assert sidecar_of(trainer.pid) == sidecar
        assert stage.sidecar_log.read_text().count("left out a frame") == 1
        assert "Traceback" not in stage.sidecar_log.read_text() + trainer.errors


@contextlib.contextmanager
def scene(folder):
    """A stage, a trainer on it that can be steered, and a client."""
    with (
        staged(folder) as stage,
        training(PLAIN, **stage.names("train", "job-1")) as trainer,
        watching(stage) as watcher,
        stage.client() as client,
    ):
        watcher.until(lambda row: row.state == "running" and row.controls)
        yield stage, trainer, client


def healthz(weaver):
    with urllib.request.urlopen(f"{weaver.endpoint.http_url}/healthz", timeout=10) as answer:
        return json.loads(answer.read())


def posted(weaver, body):
    """The status with which a log-in with this body is answered."""
    request = urllib.request.Request(f"{weaver.endpoint.http_url}/session", body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        # It hangs up on a body that it does not want to read.
        return 413


def flood(nats):
    """A client that announces and sends ten megabytes, and one that speaks no NATS at all."""
    where = urlsplit(nats.url)
    login = json.dumps({"user": where.username, "pass": where.password, "verbose": False})
    for said in (
        f"CONNECT {login}\r\nPUB weavelet.train.job-1.control {10 << 20}\r\n".encode(),
        b"\x16\x03\x01" + bytes(range(256)) * 40,
    ):
        with socket.create_connection((where.hostname, where.port), 10) as end:
            try:
                end.sendall(said + b"x" * (10 << 20))
                while end.recv(1 << 16):
                    pass
            except OSError:
                continue
