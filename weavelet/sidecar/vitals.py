"""What the trainer's host, process and devices are at: psutil, and NVML where there is a GPU."""

from __future__ import annotations

import socket
from typing import NamedTuple

import psutil

from weavelet.messages import Device
from weavelet.settings import slugify
from weavelet.sidecar.gpus import Gpus


class Reading(NamedTuple):
    """Numbers of host and process, and the devices that the process uses.

    Units are in the names: bytes, percent (of one core for the process), celsius, watts.
    """

    numbers: dict[str, float]
    devices: tuple[Device, ...]


class Vitals:
    """Reads what can be read; the rest is left out."""

    def __init__(self, pid: int, local_rank: int | None) -> None:
        self._process = _process(pid)
        self._gpus = Gpus(pid, local_rank)

    def read(self) -> Reading:
        """The present state. Some system calls, and on a host with GPUs what NVML takes."""
        busy = psutil.cpu_percent()  # since the last call, so there must be only one
        memory = psutil.virtual_memory()
        numbers = {"host_cpu_percent": busy, "host_memory_percent": memory.percent}
        if self._process is not None:
            numbers.update(_usage(self._process))
        host = Device(
            id=f"cpu-{slugify(socket.gethostname())}",
            kind="cpu",
            utilization_percent=busy,
            memory_used_bytes=float(memory.used),
            memory_total_bytes=float(memory.total),
        )
        return Reading(numbers, self._gpus.read() or (host,))


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        # It lived for less than its sidecar took to start; what it has said is still to be told.
        return None


def _usage(process: psutil.Process) -> dict[str, float]:
    try:
        with process.oneshot():
            return {
                "process_cpu_percent": process.cpu_percent(),
                "process_rss_bytes": float(process.memory_info().rss),
            }
    except psutil.Error:
        return {}
