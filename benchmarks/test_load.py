"""The weaver under load: a thousand replicas, and fifty clients of which one does not read."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from measure import quantile

from harness.slow import never_reading
from harness.stage import weaving

HERE = Path(__file__).parent
WARM_SECONDS = 5.0
SECONDS = 20.0
TURN_SECONDS = 4.0
ROUNDS = 8


@contextmanager
def running(script, *arguments):
    """One of the scripts beside this file, with pipes."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


@contextmanager
def loaded(endpoint, count):
    """A weaver with so many replicas."""
    with running("loading.py", endpoint.nats_url, count) as load:
        assert load.stdout.readline() == "ready\n"
        yield


def take(listeners):
    """The delays since the last time."""
    listeners.stdin.write("\n")
    listeners.stdin.flush()
    return json.loads(listeners.stdout.readline())


def spent(process):
    """Seconds of CPU."""
    times = process.cpu_times()
    return times.user + times.system


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_replicas(figures, tmp_path, count):
    """CPU, memory and delay with replicas that beat and report once a second, and one client."""
    with weaving(tmp_path / "home") as weaver:
        endpoint = weaver.endpoint
        with (
            loaded(endpoint, count),
            running("listening.py", endpoint.http_url, endpoint.token, 1) as listener,
        ):
            time.sleep(WARM_SECONDS)
            process = psutil.Process(weaver.pid)
            nats = next(one for one in process.children(recursive=True) if "nats" in one.name())
            take(listener)
            began, cpu, nats_cpu = time.monotonic(), spent(process), spent(nats)
            time.sleep(SECONDS)
            wall = time.monotonic() - began
            delays = take(listener)
            cpu, nats_cpu = (spent(process) - cpu) / wall, (spent(nats) - nats_cpu) / wall
            memory = process.memory_info().rss / 1e6
    name = f"{count:,} replicas"
    full = count == 1000
    missing = 100 * max(0.0, 1 - len(delays) / (count * wall))
    figures.add(f"{name}: samples that did not come", missing, "%", at_most=2)
    figures.add(f"{name}: weaver, CPU", cpu, "cores", at_most=1 if full else None)
    figures.add(f"{name}: weaver, memory", memory, "MB", at_most=500 if full else None)
    figures.add(f"{name}: report -> client, p50", statistics.median(delays), "ms")
    figures.add(f"{name}: report -> client, p99", quantile(delays, 0.99), "ms")
    figures.add(f"{name}: nats-server, CPU", nats_cpu, "cores")


def test_a_client_that_does_not_read(figures, tmp_path):
    """The delays of 49 clients while a fiftieth takes nothing, and before and after it."""
    before, during, after = [], [], []
    with weaving(tmp_path / "home") as weaver:
        endpoint = weaver.endpoint
        with (
            loaded(endpoint, 20),
            running("listening.py", endpoint.http_url, endpoint.token, 49) as listeners,
        ):
            time.sleep(WARM_SECONDS)
            for _ in range(ROUNDS):
                before.append(middle_of_turn(listeners))
                with never_reading(endpoint) as deaf:
                    # Far more than what lies between two sockets: from here on it is full.
                    for _ in range(250):
                        deaf.ask("subscribe", metrics=True)
                    during.append(middle_of_turn(listeners))
                after.append(middle_of_turn(listeners))
    rounds = list(zip(before, during, after, strict=True))
    change = statistics.median(100 * (2 * b / (a + c) - 1) for a, b, c in rounds)
    again = statistics.median(100 * (c / a - 1) for a, _, c in rounds)
    figures.add("49 clients alone, p50", statistics.median(before + after), "ms")
    figures.add("49 clients and a deaf one, p50", statistics.median(during), "ms")
    note = f"A against A: {again:.1f} %"
    figures.add("49 clients, change by a deaf one", change, "%", at_most=10, note=note)


def middle_of_turn(listeners):
    """The median delay of some seconds from now."""
    take(listeners)
    time.sleep(TURN_SECONDS)
    return statistics.median(take(listeners))
