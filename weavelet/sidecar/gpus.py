"""The GPUs that a trainer uses, and what they are at, by NVML."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from weavelet.messages import Device


class Gpus:
    """Which devices the process `pid` uses, found anew at each reading.

    A call of NVML may take long, or for ever where a device has failed: not for an event loop.
    """

    def __init__(self, pid: int, local_rank: int | None) -> None:
        self._pid = pid
        self._local_rank = local_rank or 0
        self._nvml = _load()

    def read(self) -> tuple[Device, ...]:
        """Those that the process computes on; before it does, the one that it can be expected to.

        Under a launcher that is the one of its local rank, else the first that is visible to it.
        Empty without one.
        """
        nvml = self._nvml
        if nvml is None:
            return ()
        try:
            handles = _used(nvml, self._pid) or _expected(nvml, self._local_rank, os.environ)
            return tuple(_gpu(nvml, handle) for handle in handles)
        except nvml.NVMLError:
            return ()


def _load() -> Any:
    """The initialised module, None without a driver."""
    import pynvml  # noqa: PLC0415  a few MB, of no use without a driver

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _used(nvml: Any, pid: int) -> list[Any]:
    """Handles of the devices on which NVML sees the process; it does not out of a container."""
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except nvml.NVMLError:
            # A failed device, or one that is not ours to look at.
            continue
        if any(process.pid == pid for process in processes):
            found.append(handle)
    return found


def _expected(nvml: Any, local_rank: int, environ: Mapping[str, str]) -> list[Any]:
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        names = [str(index) for index in range(nvml.nvmlDeviceGetCount())]
    else:
        names = [name.strip() for name in visible.split(",") if name.strip()]
    if not names:
        return []
    # A launcher may give each process a device of its own, or let several share one.
    name = names[local_rank % len(names)]
    if name.isdigit():
        return [nvml.nvmlDeviceGetHandleByIndex(int(name))]
    return [nvml.nvmlDeviceGetHandleByUUID(name)]


def _gpu(nvml: Any, handle: Any) -> Device:
    readings: dict[str, Callable[[], Any]] = {
        "utilization_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
        "temperature_celsius": lambda: nvml.nvmlDeviceGetTemperature(
            handle, nvml.NVML_TEMPERATURE_GPU
        ),
        "memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
        "memory_total_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
        "power_watts": lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000,
    }
    numbers: dict[str, float] = {}
    for name, read in readings.items():
        try:
            numbers[name] = float(read())
        except nvml.NVMLError:
            # Not every device can tell everything; MIG slices tell least.
            continue
    return Device(id=str(nvml.nvmlDeviceGetUUID(handle)), kind="gpu", **numbers)
