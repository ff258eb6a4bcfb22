"""Events of monitoring systems, reported by a client in Node.js, come to the right replicas."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from harness.nats import asynchronous, within
from harness.node import NodeClient
from harness.nvml import interpreter
from harness.trainers import LOOP, training
from harness.weaver import serving, talking

WATCHFUL = (
    LOOP
    + """
import sys
name, *kinds = sys.argv[1:]

with weavelet.session(name) as w:
    declare(w)

    def told(notice):
        say(notice=notice.kind, detail=notice.detail)
        return f"{name} heard"

    for kind in kinds:
        w.on_notice(kind)(told)

    if "broken" in kinds:
        @w.on_notice("host_draining")
        def broken(notice):
            raise RuntimeError("no way to drain")

    train(w)
"""
)


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """The client in Node.js, installed."""
    return NodeClient(tmp_path_factory.mktemp("node"))


class Scene:
    """Trainers on hosts with GPUs, under one weaver."""

    def __init__(self, service, folder, stack):
        self.service = service
        self.folder = folder
        self._stack = stack

    def trainer(self, name, *kinds, gpu, job="j1"):
        """Start a trainer that computes on one GPU and has functions for these kinds."""
        folder = self.folder / f"{job}-{name}"
        folder.mkdir()
        devices = [{"uuid": gpu, "pids": ["trainer"]}]
        return self._stack.enter_context(
            training(
                WATCHFUL,
                name,
                *kinds,
                WEAVELET_NATS_URL=self.service.endpoint.nats_url,
                WEAVELET_RUN="train",
                WEAVELET_JOB=job,
                WEAVELET_PYTHON=interpreter(folder, devices),
                WEAVELET_SIDECAR_LOG=str(folder / "sidecar.log"),
            )
        )


def devices_of(message):
    """How many replicas each device has, from a message to a client."""
    devices = message.get("devices") or ()
    return {device["id"]: len(device.get("replicas", ())) for device in devices}


async def settled(talk, kind):
    """The end of a notice's life, as clients are told."""
    return await talk.until(
        lambda message: (
            message["type"] == "entry"
            and message["settled"]
            and message["entry"]["body"].get("kind") == kind
        )
    )


def outcomes(message):
    """What became of an entry, by replica."""
    return {outcome["replica"]: outcome["outcome"] for outcome in message["outcomes"]}


@asynchronous
async def test_a_failed_device_is_told_to_the_replica_on_it_and_to_the_others(tmp_path, node):
    """The handler of the replica on the device runs, and `replica_failed` on those that have one.

    A replica on another device without a handler, and another job, are told nothing.
    """
    with ExitStack() as stack:
        async with serving(tmp_path / "home") as service, talking(service.endpoint) as talk:
            scene = Scene(service, tmp_path, stack)
            hit = scene.trainer("rank-0", "device_failed", gpu="GPU-a")
            other = scene.trainer("rank-1", "replica_failed", gpu="GPU-b")
            scene.trainer("rank-2", gpu="GPU-c")
            await talk.send("subscribe")
            await talk.until(lambda message: len(devices_of(message)) == 3)
            answer = await asyncio.to_thread(
                node.report,
                service.nats,
                "dcgm",
                kind="device_failed",
                device="GPU-a",
                detail={"xid": 79, "since": [1.5, None], "fatal": True},
            )
            assert answer["stream"] == "WEAVELET_EXTERNAL"
            said = await asyncio.to_thread(hit.event, "notice")
            detail = {"device": "GPU-a", "xid": 79, "since": [1.5, None], "fatal": True}
            assert (said["notice"], said["detail"]) == ("device_failed", detail)
            said = await asyncio.to_thread(other.event, "notice")
            assert said["notice"] == "replica_failed"
            assert said["detail"] == {**detail, "replicas": ["rank-0"], "cause": "device_failed"}
            log = await talk.ask("read_log", run="train")
    notices = [one["entry"] for one in log["entries"] if one["entry"]["kind"] == "notice"]
    assert [(one["author"], one["addressed"]) for one in notices] == [
        ("external.dcgm", ["rank-0"]),
        ("external.dcgm", ["rank-1"]),
    ]


@asynchronous
async def test_every_replica_of_a_draining_host_says_what_became_of_it(tmp_path, node):
    """Applied with its result, failed with its traceback, or skipped without a handler."""
    with ExitStack() as stack:
        async with serving(tmp_path / "home") as service, talking(service.endpoint) as talk:
            scene = Scene(service, tmp_path, stack)
            scene.trainer("rank-0", "host_draining", gpu="GPU-a")
            scene.trainer("rank-1", "broken", gpu="GPU-b")
            scene.trainer("rank-2", gpu="GPU-c")
            await talk.send("subscribe")
            rows = await talk.rows(lambda rows: len(rows) == 3)
            await talk.until(lambda message: len(devices_of(message)) == 3)
            host = rows["rank-0"]["host"].partition(".")[0]
            await asyncio.to_thread(
                node.report, service.nats, "slurm", kind="host_draining", host=host
            )
            message = await within(settled(talk, "host_draining"), 40)
    assert outcomes(message) == {"rank-0": "applied", "rank-1": "failed", "rank-2": "skipped"}
    by_replica = {one["replica"]: one for one in message["outcomes"]}
    assert by_replica["rank-0"]["result"] == "rank-0 heard"
    assert "no way to drain" in by_replica["rank-1"]["traceback"]
