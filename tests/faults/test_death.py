"""kill -9 of trainers with whatever they have started: known at once, and nothing is left."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import time

from harness.faults import holds, percentile
from harness.stage import staged
from harness.trainers import children_of, is_alive, is_sidecar, training
from harness.watching import watching

NURSERY = """
import json, os, signal, sys, threading, time
import weavelet
try:
    import torch
except ImportError:
    torch = None

def say(**event):
    os.write(1, (json.dumps(event) + "\\n").encode())

class Numbers:
    def __len__(self):
        return 1 << 20
    def __getitem__(self, at):
        return float(at)

def batches(kind):
    if kind == "loader":
        loader = torch.utils.data.DataLoader(Numbers(), batch_size=4, num_workers=2)
        return iter(loader)
    if kind == "forked":
        for _ in range(2):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
    return iter(range(1 << 30))

def started(job, in_thread):
    w = weavelet.session("trainer-0", job=job)
    if not in_thread:
        return w.start()
    # The thread that has started the sidecar is over before training begins.
    thread = threading.Thread(target=w.start)
    thread.start()
    thread.join()
    return w

def train(job, kind, in_thread):
    w = started(job, in_thread)
    loader = batches(kind)
    for step, batch in enumerate(loader):
        w.poll(step)
        w.report(step, loss=1.0)
        if step == 10:
            say(job=job, born=os.getpid())
        time.sleep(0.001)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
say(ready=torch is not None)
# Torch is loaded once: each trainer is a fork of this process, which has no session.
for line in iter(sys.stdin.readline, ""):
    job, kind, in_thread = json.loads(line)
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        train(job, kind, in_thread)
"""

KNOWN_SECONDS = 0.5
ORPHAN_SECONDS = 2.0
SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT)
KINDS = [
    ("alone", False),
    ("alone", True),
    ("forked", False),
    ("forked", True),
    ("loader", False),
    ("loader", True),
]


def test_a_killed_trainer_is_known_at_once_and_leaves_no_sidecar(tmp_path, sized, figure):
    """`crashed` at a connected client, whoever holds its descriptors; no sidecar after 2 s."""
    have_torch = importlib.util.find_spec("torch") is not None
    kinds = [kind for kind in KINDS if have_torch or kind[0] != "loader"]
    count = sized(len(kinds), 204)
    latencies, orphans, reasons = {kind: [] for kind, _ in kinds}, 0, []
    with (
        staged(tmp_path) as stage,
        training(NURSERY, stdin=True, **stage.names("train", "unused")) as nursery,
        watching(stage, ["train"]) as watcher,
    ):
        nursery.event("ready", 60)
        for at in range(count):
            kind, in_thread = kinds[at % len(kinds)]
            job = f"job-{at}"
            nursery.say(f'["{job}", "{kind}", {str(in_thread).lower()}]')
            pid = nursery.event("born")["born"]
            watcher.until(lambda row, job=job: row.job == job and row.state == "running")
            # Now and then by another hand than the operator's.
            number = SIGNALS[at % len(SIGNALS)] if kind == "alone" else SIGNALS[0]
            seconds, left, row = death_of(pid, number, job, watcher)
            latencies[kind].append(seconds)
            orphans += left
            reasons.append(row.reason)
            assert row.step >= 10
    for kind, seconds in latencies.items():
        figure(
            f"{kind}: {len(seconds)} trainers, known after p50 {percentile(seconds, 0.5):.3f} s, "
            f"at most {max(seconds):.3f} s"
        )
    assert orphans == 0
    assert set(reasons) == {"the process ended without saying goodbye"}
    worst = max(max(seconds) for seconds in latencies.values())
    assert worst < KNOWN_SECONDS, latencies


def death_of(pid, number, job, watcher):
    """Seconds until a client knew of it, how many sidecars it has left, and what was shown."""
    children = children_of(pid)
    sidecars = [child for child in children if is_sidecar(child)]
    assert len(sidecars) == 1
    began = time.monotonic()
    os.kill(pid, number)
    try:
        seen, row = watcher.until(
            lambda row: row.job == job and row.state == "crashed", since=began
        )
        left = ORPHAN_SECONDS - (time.monotonic() - began)
        with contextlib.suppress(AssertionError):
            holds(lambda: not is_alive(sidecars[0]), left)
        return seen - began, int(is_alive(sidecars[0])), row
    finally:
        # DataLoader workers notice by themselves, after some seconds.
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
