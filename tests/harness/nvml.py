"""A stand-in for NVIDIA's libnvidia-ml, below the real pynvml: for hosts without a GPU.

What is faked is the C library alone: its functions get what ctypes hands them, fill in the structs
that they are given, and return NVML's codes. What a real driver does beyond that is not shown.
"""

from __future__ import annotations

import ctypes
import json
import shlex
import stat
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pynvml

OK = pynvml.NVML_SUCCESS


class Library:
    """The C functions. A device is a dict; what it lacks is answered with "not supported".

    One that `hangs` does not answer at all, one that is `lost` fell off the bus.
    """

    def __init__(self, devices):
        self.devices = devices
        self.broken = False

    def nvmlInitWithFlags(self, flags):  # noqa: N802  NVML's own name, as those below
        return OK

    def nvmlDeviceGetCount_v2(self, count):  # noqa: N802
        if self.broken:
            return pynvml.NVML_ERROR_UNKNOWN
        count._obj.value = len(self.devices)
        return OK

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):  # noqa: N802
        if index.value >= len(self.devices):
            return pynvml.NVML_ERROR_INVALID_ARGUMENT
        return self._hand_out(handle, index.value)

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):  # noqa: N802
        for index, device in enumerate(self.devices):
            # Like the driver, by any unambiguous beginning.
            if device["uuid"].startswith(uuid.value.decode()):
                return self._hand_out(handle, index)
        return pynvml.NVML_ERROR_NOT_FOUND

    def nvmlDeviceGetUUID(self, handle, buffer, size):  # noqa: N802
        buffer.value = self._device(handle)["uuid"].encode()
        return OK

    def nvmlDeviceGetComputeRunningProcesses_v3(self, handle, count, rows):  # noqa: N802
        device = self._device(handle)
        if device.get("lost"):
            return pynvml.NVML_ERROR_GPU_IS_LOST
        pids = device.get("pids", [])
        room, count._obj.value = count._obj.value, len(pids)
        if len(pids) > room:
            return pynvml.NVML_ERROR_INSUFFICIENT_SIZE
        for row, pid in zip(rows or (), pids, strict=False):
            row.pid = pid
        return OK

    def nvmlDeviceGetUtilizationRates(self, handle, rates):  # noqa: N802
        return self._fill(handle, "utilization", lambda value: setattr(rates._obj, "gpu", value))

    def nvmlDeviceGetTemperature(self, handle, sensor, celsius):  # noqa: N802
        return self._fill(
            handle, "temperature", lambda value: setattr(celsius._obj, "value", value)
        )

    def nvmlDeviceGetPowerUsage(self, handle, milliwatts):  # noqa: N802
        return self._fill(
            handle, "milliwatts", lambda value: setattr(milliwatts._obj, "value", value)
        )

    def nvmlDeviceGetMemoryInfo(self, handle, memory):  # noqa: N802
        def fill(value):
            memory._obj.used, memory._obj.total = value

        return self._fill(handle, "memory", fill)

    def _device(self, handle):
        return self.devices[ctypes.cast(handle, ctypes.c_void_p).value - 1]

    def _fill(self, handle, name, fill):
        device = self._device(handle)
        if device.get("hangs"):
            threading.Event().wait()
        if device.get("lost"):
            return pynvml.NVML_ERROR_GPU_IS_LOST
        if name not in device:
            return pynvml.NVML_ERROR_NOT_SUPPORTED
        fill(device[name])
        return OK

    @staticmethod
    def _hand_out(handle, index):
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = index + 1
        return OK


@contextmanager
def nvml(devices):
    """The real pynvml on a fake library with these devices; on none at all where it is None."""
    library = None if devices is None else Library(devices)

    def load(name):
        if library is None:
            msg = f"{name}: cannot open shared object file"
            raise OSError(msg)
        return library

    with (
        mock.patch.object(pynvml, "CDLL", load),
        mock.patch.object(pynvml, "nvmlLib", None),
        mock.patch.object(pynvml, "_nvmlGetFunctionPointer_cache", {}),
    ):
        yield library


def interpreter(folder, devices):
    """A command for WEAVELET_PYTHON: this interpreter, on a host with these devices.

    The text "trainer" among a device's `pids` stands for the sidecar's trainer.
    """
    script = Path(folder) / "with_nvml.py"
    script.write_text(
        "import json, os, runpy, sys\n"
        f"sys.path.append({str(Path(__file__).parents[1])!r})\n"
        "from harness.nvml import nvml\n"
        f"devices = json.loads({json.dumps(devices)!r})\n"
        "for device in devices:\n"
        "    pids = device.get('pids', [])\n"
        "    device['pids'] = [os.getppid() if pid == 'trainer' else pid for pid in pids]\n"
        "sys.argv = sys.argv[2:]\n"
        "with nvml(devices):\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    command = Path(folder) / "python"
    command.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, str(script)])} "$@"\n')
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    return str(command)
