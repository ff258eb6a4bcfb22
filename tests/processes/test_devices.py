"""Devices from the sidecar to a client, with NVIDIA's library faked below the real pynvml."""

from __future__ import annotations

from harness.faults import holds
from harness.nats import asynchronous
from harness.nvml import interpreter
from harness.trainers import PLAIN, is_alive, training
from harness.weaver import serving, talking

DEVICES = [
    {"uuid": "GPU-aaaa", "utilization": 93, "temperature": 71, "milliwatts": 412_500},
    {"uuid": "GPU-bbbb", "pids": ["trainer"], "utilization": 50, "memory": [1024, 4096]},
    {"uuid": "GPU-cccc", "pids": ["trainer", 1], "utilization": 7},
]


def names(service, tmp_path, **more):
    """The environment of a trainer that reports to this weaver."""
    return {
        "WEAVELET_NATS_URL": service.endpoint.nats_url,
        "WEAVELET_RUN": "train",
        "WEAVELET_JOB": "j1",
        "WEAVELET_SIDECAR_LOG": str(tmp_path / "sidecar.log"),
        **more,
    }


def newest_devices(message):
    """The devices that a snapshot or an update tells of, by id; empty if it tells of none."""
    if message["type"] not in ("snapshot", "status_update"):
        return {}
    return {device["id"]: device for device in message.get("devices") or ()}


@asynchronous
async def test_a_client_sees_the_devices_of_a_trainer(tmp_path):
    """Which of the host's GPUs a trainer computes on, and what they are at, comes to a client."""
    async with serving(tmp_path / "home") as service, talking(service.endpoint) as talk:
        python = interpreter(tmp_path, DEVICES)
        with training(PLAIN, **names(service, tmp_path, WEAVELET_PYTHON=python)):
            await talk.send("subscribe")
            message = await talk.until(lambda message: len(newest_devices(message)) == 2)
            rows = await talk.rows(lambda rows: rows.get("trainer-0", {}).get("devices"))
    found = newest_devices(message)
    assert rows["trainer-0"]["devices"] == ["GPU-bbbb", "GPU-cccc"] == sorted(found)
    device = found["GPU-bbbb"]
    assert device["replicas"] == [["train", "j1", "trainer-0"]]
    assert (device["kind"], device["utilization_percent"]) == ("gpu", 50.0)
    assert (device["memory_used_bytes"], device["memory_total_bytes"]) == (1024.0, 4096.0)
    assert "temperature_celsius" not in device
    assert device["host"] == rows["trainer-0"]["host"]


@asynchronous
async def test_devices_leave_when_their_trainer_is_gone(tmp_path):
    """On a host without a GPU it is the processor; it is not shown once nobody uses it."""
    async with serving(tmp_path / "home") as service, talking(service.endpoint) as talk:
        await talk.send("subscribe")
        with training(PLAIN, **names(service, tmp_path)) as trainer:
            message = await talk.until(newest_devices)
            (device,) = newest_devices(message).values()
            assert device["kind"] == "cpu"
            assert device["id"].startswith("cpu-")
            assert device["memory_total_bytes"] > 0
            trainer.kill()
            await talk.until(lambda message: message.get("devices") == [])


@asynchronous
async def test_a_driver_that_does_not_answer_stops_nothing(tmp_path):
    """With NVML stuck in a call, heartbeats go on, and the sidecar ends with its trainer."""
    async with serving(tmp_path / "home") as service, talking(service.endpoint) as talk:
        python = interpreter(tmp_path, [{"uuid": "GPU-stuck", "hangs": True}])
        script = PLAIN.replace("say(started=w.incarnation)", "say(sidecar=w.sidecar_pid)")
        with training(script, **names(service, tmp_path, WEAVELET_PYTHON=python)) as trainer:
            sidecar = trainer.event("sidecar")["sidecar"]
            rows = await talk.rows(lambda rows: rows.get("trainer-0", {}).get("step"))
            step = rows["trainer-0"]["step"]
            rows = await talk.rows(lambda rows: rows["trainer-0"]["step"] > step)
            assert rows["trainer-0"]["state"] == "running"
            assert rows["trainer-0"]["devices"] == []
            trainer.kill()
            await talk.rows(lambda rows: rows["trainer-0"]["state"] == "crashed")
            holds(lambda: not is_alive(sidecar), 20, "the end of the sidecar")
