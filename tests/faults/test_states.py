"""What is frozen, hung, busy or cut off is shown as that, and never as dead."""

from __future__ import annotations

import signal
import time

from harness.faults import go_on, kill, lasting, sidecar_of, stop
from harness.stage import staged
from harness.trainers import training
from harness.watching import watching

SCRIPT = """
import os, sys, threading, time
import weavelet

orders = []
threading.Thread(target=lambda: orders.extend(iter(sys.stdin.readline, "")), daemon=True).start()

def obey():
    if not orders:
        return
    order = orders.pop(0).strip()
    if order == "hang":
        while not orders:
            time.sleep(0.01)
    elif order == "section":
        with w.section("checkpoint"):
            while not orders:
                time.sleep(0.01)

with weavelet.session("trainer-0") as w:
    step = 0
    while True:
        w.poll(step)
        w.report(step, loss=1.0)
        obey()
        step += 1
        time.sleep(0.002)
"""

STALL_SECONDS = 1.5
HEARTBEATS = 3.0


def test_frozen_hung_busy_and_cut_off_are_told_apart(tmp_path, sized):
    """`stopped`, `in-section`, `stalled` and `unknown`, each as long as it lasts; never dead."""
    seconds = sized(STALL_SECONDS, 30.0)
    with (
        staged(tmp_path) as stage,
        training(
            SCRIPT,
            stdin=True,
            WEAVELET_STALL_SECONDS=str(seconds),
            **stage.names("train", "job-1"),
        ) as trainer,
        watching(stage) as watcher,
    ):
        watcher.state("running")

        began = time.monotonic()
        trainer.signal(signal.SIGSTOP)
        watcher.state("stopped", since=began, seconds=HEARTBEATS)
        # Longer than a hang takes to be one.
        shown_only(watcher, {"stopped"}, seconds + 1.5)
        back(watcher, lambda: trainer.signal(signal.SIGCONT))

        began = time.monotonic()
        trainer.say("section")
        watcher.state("in-section", since=began, seconds=HEARTBEATS)
        shown_only(watcher, {"in-section"}, seconds + 1.5)
        back(watcher, lambda: trainer.say("done"))

        began = time.monotonic()
        trainer.say("hang")
        moment, _ = watcher.state("stalled", since=began, seconds=seconds + 10)
        assert moment - began > seconds - 1
        back(watcher, lambda: trainer.say("done"))

        began = time.monotonic()
        stage.proxy.cut()
        moment, _ = watcher.state("unknown", since=began, seconds=10)
        assert moment - began > 4
        back(watcher, stage.proxy.heal)

        began = time.monotonic()
        sidecar = sidecar_of(trainer.pid)
        stop(sidecar)
        watcher.state("unknown", since=began, seconds=10)
        back(watcher, lambda: go_on(sidecar))

        # Nobody is left to tell, and nobody can say that it is dead.
        stop(sidecar)
        trainer.kill()
        kill(sidecar)
        began = time.monotonic()
        moment, _ = watcher.state("unknown", since=began, seconds=10)
        assert moment - began < 6.5

        assert watcher.states() <= {
            "starting", "running", "stopped", "in-section", "stalled", "unknown",
        }  # fmt: skip


def shown_only(watcher, states, seconds):
    """For so long nothing but these is shown; the time itself is what is waited for."""
    began = time.monotonic()
    lasting(seconds)
    assert watcher.states(since=began) <= states


def back(watcher, heal):
    """Undo the fault; the replica is shown running within a few heartbeats."""
    began = time.monotonic()
    heal()
    watcher.state("running", since=began, seconds=10)
