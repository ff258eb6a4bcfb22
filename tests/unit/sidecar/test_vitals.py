"""What host, process and devices are at, with NVIDIA's library faked below the real pynvml."""

import os

import pytest

from harness.nvml import nvml
from weavelet.sidecar.vitals import Vitals

A = {
    "uuid": "GPU-aaaa",
    "utilization": 93,
    "temperature": 71,
    "milliwatts": 412_500,
    "memory": (60 << 30, 80 << 30),
}
B = {"uuid": "GPU-bbbb", "utilization": 5}
C = {"uuid": "GPU-cccc"}


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def used(devices, local_rank=None, pid=None):
    """The ids of the devices that a trainer is said to use."""
    with nvml(devices):
        reading = Vitals(pid or os.getpid(), local_rank).read()
    return [device.id for device in reading.devices]


def test_a_gpu_tells_what_it_is_at():
    """Utilisation, temperature, memory and power come from NVML, in the units of their names."""
    with nvml([A]):
        (device,) = Vitals(os.getpid(), None).read().devices
    assert (device.id, device.kind) == ("GPU-aaaa", "gpu")
    assert (device.utilization_percent, device.temperature_celsius) == (93.0, 71.0)
    assert (device.memory_used_bytes, device.memory_total_bytes) == (60 << 30, 80 << 30)
    assert device.power_watts == 412.5


def test_what_a_gpu_cannot_tell_is_left_out():
    """A device that supports only some readings is shown with these."""
    with nvml([B]):
        (device,) = Vitals(os.getpid(), None).read().devices
    assert (device.utilization_percent, device.temperature_celsius) == (5.0, None)
    assert device.power_watts is device.memory_used_bytes is None


@pytest.mark.parametrize("devices", [None, []], ids=["no driver", "no device"])
def test_without_a_gpu_it_is_the_hosts_processor(devices):
    """A host without NVIDIA has one device, with its load and its memory."""
    with nvml(devices):
        reading = Vitals(os.getpid(), 3).read()
    (device,) = reading.devices
    assert device.kind == "cpu"
    assert device.id.startswith("cpu-")
    assert 0 < device.memory_used_bytes < device.memory_total_bytes
    assert device.utilization_percent == reading.numbers["host_cpu_percent"]


def test_a_trainer_has_all_devices_that_it_computes_on():
    """A process on several devices is shown on each of them, and on no other."""
    mine = {"pids": [1, os.getpid()]}
    assert used([{**A, **mine}, {**B, "pids": [1]}, {**C, **mine}]) == ["GPU-aaaa", "GPU-cccc"]


def test_two_trainers_can_share_a_device():
    """A device with several processes is that of each."""
    shared = {**B, "pids": [os.getpid(), os.getppid()]}
    assert used([A, shared]) == used([A, shared], pid=os.getppid()) == ["GPU-bbbb"]


@pytest.mark.parametrize(
    ("visible", "local_rank", "expected"),
    [
        (None, None, ["GPU-aaaa"]),
        (None, 1, ["GPU-bbbb"]),
        ("2,1", 0, ["GPU-cccc"]),
        ("2,1", None, ["GPU-cccc"]),
        (" 1 ", 5, ["GPU-bbbb"]),
        ("GPU-c", 0, ["GPU-cccc"]),
        ("0,1", 3, ["GPU-bbbb"]),
    ],
)
def test_before_it_computes_it_has_the_one_to_be_expected(
    monkeypatch, visible, local_rank, expected
):
    """The one of its local rank among those visible to it, by number or by NVML's name."""
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert used([A, B, C], local_rank) == expected


@pytest.mark.parametrize("visible", ["", "-1", "9", "GPU-nowhere", "nonsense,7"])
def test_a_choice_that_names_no_device_leaves_the_processor(monkeypatch, visible):
    """A trainer that was given no device, or one that is not there, is on the processor."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (name,) = used([A, B], 0)
    assert name.startswith("cpu-")


def test_a_lost_device_does_not_hide_the_others():
    """A device that fell off the bus is passed over in the search; the rest is told."""
    assert used([{**A, "lost": True}, {**B, "pids": [os.getpid()]}]) == ["GPU-bbbb"]
    with nvml([{**A, "lost": True}]):
        (device,) = Vitals(os.getpid(), None).read().devices
    assert (device.id, device.utilization_percent) == ("GPU-aaaa", None)


def test_a_driver_that_breaks_later_leaves_the_processor():
    """When NVML stops to answer, the numbers of the host still come."""
    with nvml([A]) as library:
        vitals = Vitals(os.getpid(), None)
        assert vitals.read().devices[0].id == "GPU-aaaa"
        library.broken = True
        reading = vitals.read()
    assert reading.devices[0].kind == "cpu"
    assert reading.numbers["process_rss_bytes"] > 0


def test_a_process_that_is_gone_leaves_the_host():
    """What cannot be read of the process is left out."""
    with nvml(None):
        assert set(Vitals(2**30, None).read().numbers) == {
            "host_cpu_percent",
            "host_memory_percent",
        }
