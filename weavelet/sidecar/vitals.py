"""What the trainer's host, process and devices are at: psutil and NVML."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

import psutil

from weavelet.settings import slugify


class Vitals:
    """Read every few seconds; each reading is a few system calls.

    Units are in the names: bytes, percent (of one core for the process), celsius, watts.
    """

    def __init__(self, pid: int, local_rank: int | None) -> None:
        self._process = _process(pid)
        self._devices = _devices(local_rank, os.environ)
        self.device = self._name()

    def read(self) -> dict[str, float]:
        """The present numbers; what cannot be read is left out."""
        numbers = {
            "host_cpu_percent": psutil.cpu_percent(),
            "host_memory_percent": psutil.virtual_memory().percent,
        }
        if self._process is not None:
            numbers.update(_usage(self._process))
        for at, device in enumerate(self._devices):
            prefix = "gpu" if len(self._devices) == 1 else f"gpu{at}"
            numbers.update({f"{prefix}_{name}": value for name, value in _gpu(device).items()})
        return numbers

    def _name(self) -> str:
        if not self._devices:
            return f"cpu-{slugify(socket.gethostname())}"
        import pynvml  # noqa: PLC0415  loaded by _devices

        return ",".join(str(pynvml.nvmlDeviceGetUUID(device)) for device in self._devices)


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


def _devices(local_rank: int | None, environ: Mapping[str, str]) -> list[Any]:
    """NVML handles of the devices that this trainer can be expected to use, [] without NVIDIA.

    Under a launcher the one of its local rank, else the first of those visible to it.
    """
    import pynvml  # noqa: PLC0415  a few MB, of no use without a driver

    try:
        pynvml.nvmlInit()
        visible = environ.get("CUDA_VISIBLE_DEVICES")
        if visible is None:
            names = [str(at) for at in range(pynvml.nvmlDeviceGetCount())]
        else:
            names = [name.strip() for name in visible.split(",") if name.strip()]
        at = local_rank or 0
        return [_handle(pynvml, names[at])] if at < len(names) else []
    except pynvml.NVMLError:
        return []


def _handle(pynvml: Any, name: str) -> Any:
    if name.isdigit():
        return pynvml.nvmlDeviceGetHandleByIndex(int(name))
    return pynvml.nvmlDeviceGetHandleByUUID(name)


def _gpu(device: Any) -> dict[str, float]:
    import pynvml  # noqa: PLC0415  loaded by _devices

    readings: dict[str, Callable[[], Any]] = {
        "utilization_percent": lambda: pynvml.nvmlDeviceGetUtilizationRates(device).gpu,
        "memory_used_bytes": lambda: pynvml.nvmlDeviceGetMemoryInfo(device).used,
        "memory_total_bytes": lambda: pynvml.nvmlDeviceGetMemoryInfo(device).total,
        "temperature_celsius": lambda: pynvml.nvmlDeviceGetTemperature(
            device, pynvml.NVML_TEMPERATURE_GPU
        ),
        "power_watts": lambda: pynvml.nvmlDeviceGetPowerUsage(device) / 1000,
    }
    numbers: dict[str, float] = {}
    for name, read in readings.items():
        try:
            numbers[name] = float(read())
        except pynvml.NVMLError:
            # Not every device can tell everything; MIG slices tell least.
            continue
    return numbers
