"""Training under random faults: the same bits, no exception, no late step."""

from __future__ import annotations

import array
import contextlib
import importlib.util
import random
import time

import pytest

from harness.faults import (
    fill,
    go_on,
    kill,
    lasting,
    percentile,
    sidecar_of,
    small_filesystem,
    stop,
)
from harness.stage import insist, staged
from harness.trainers import training

TORCH = """
import torch
torch.set_num_threads(1)

class Model:
    def __init__(self):
        torch.manual_seed(7)
        layers = torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)
        self.net = torch.nn.Sequential(*layers)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)

    def step(self, lr):
        self.optimizer.param_groups[0]["lr"] = lr
        x = torch.randn(4, 8)
        loss = ((self.net(x) - x.sum(1, keepdim=True)) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss

    def bits(self):
        raw = (each.detach().view(torch.uint8).flatten() for each in self.net.parameters())
        return b"".join(bytes(each.tolist()) for each in raw)
"""

PLAIN = """
import array, random

class Model:
    def __init__(self):
        self.chance = random.Random(7)
        self.weights = [self.chance.gauss(0, 1) for _ in range(32)]

    def step(self, lr):
        x = [self.chance.gauss(0, 1) for _ in self.weights]
        error = sum(w * v for w, v in zip(self.weights, x)) - sum(x)
        self.weights = [w - lr * error * v / 32 for w, v in zip(self.weights, x)]
        return error * error

    def bits(self):
        return array.array("d", self.weights).tobytes()
"""

LOOP = """
import array, hashlib, json, sys, threading, time
import weavelet

def say(**event):
    print(json.dumps(event), flush=True)

raised = []
sys.excepthook = lambda kind, error, trace: raised.append(repr(error))
threading.excepthook = lambda args: raised.append(repr(args.exc_value))
sys.unraisablehook = lambda args: raised.append(repr(args.exc_value))

enough = threading.Event()
lines = iter(sys.stdin.readline, "")

def listen():
    for line in lines:
        enough.set()

threading.Thread(target=listen, daemon=True).start()
PAUSE = 0.001

def disturbed(path):
    model, changes, times, lr = Model(), {}, array.array("q"), 0.01
    with weavelet.session("trainer-0", job=path.rpartition("/")[2]) as w:
        @w.handler("lr", get=lambda: lr)
        def set_lr(value: float) -> None:
            nonlocal lr
            lr = value
        say(training=path, pid=0)
        step = 0
        while not enough.is_set():
            t0 = time.perf_counter_ns()
            changed = w.poll(step)
            t1 = time.perf_counter_ns()
            for change in changed:
                changes[step] = change.new
            loss = model.step(lr)
            t2 = time.perf_counter_ns()
            w.report(step, loss=loss, lr=lr, note="x")
            t3 = time.perf_counter_ns()
            times.extend((t0, t1 - t0, t3 - t2))
            step += 1
            time.sleep(PAUSE)
    with open(path, "wb") as file:
        times.tofile(file)
    return model, step, changes

def undisturbed(steps, changes):
    model, lr = Model(), 0.01
    for step in range(steps):
        lr = changes.get(step, lr)
        model.step(lr)
    return model

for path in sys.argv[1:]:
    enough.clear()
    model, steps, changes = disturbed(path)
    same = undisturbed(steps, changes).bits() == model.bits()
    last = repr(getattr(sys, "last_value", None))
    say(same=same, steps=steps, changes=len(changes), raised=raised, last=last)
"""

HAVE_TORCH = importlib.util.find_spec("torch") is not None


@contextlib.contextmanager
def killed_sidecar(stage, trainer):
    kill(sidecar_of(trainer.pid))
    yield


@contextlib.contextmanager
def stopped_sidecar(stage, trainer):
    pid = sidecar_of(trainer.pid)
    stop(pid)
    yield
    go_on(pid)


@contextlib.contextmanager
def killed_server(stage, trainer):
    stage.kill_nats()
    yield
    stage.start_nats()


@contextlib.contextmanager
def stopped_server(stage, trainer):
    stage.stop_nats()
    yield
    stage.thaw_nats()


@contextlib.contextmanager
def killed_weaver(stage, trainer):
    stage.weaver.kill()
    yield
    stage.weaver.start()


@contextlib.contextmanager
def stopped_weaver(stage, trainer):
    stop(stage.weaver.pid)
    yield
    go_on(stage.weaver.pid)


@contextlib.contextmanager
def full_store(stage, trainer):
    filling = fill(stage.store)
    yield
    filling.unlink()
    # A server that is not kept by the weaver has to be started again by whoever runs it.
    stage.kill_nats()
    stage.start_nats()


@contextlib.contextmanager
def cut_network(stage, trainer):
    stage.proxy.cut()
    yield
    stage.proxy.heal()


@contextlib.contextmanager
def reset_network(stage, trainer):
    stage.proxy.refuse()
    yield
    stage.proxy.heal()


@contextlib.contextmanager
def slow_network(stage, trainer):
    stage.proxy.delay(0.2)
    yield
    stage.proxy.heal()


FAULTS = (
    killed_sidecar,
    stopped_sidecar,
    killed_server,
    stopped_server,
    killed_weaver,
    stopped_weaver,
    full_store,
    cut_network,
    reset_network,
    slow_network,
)


class Windows:
    """When which fault was on, on the clock that all processes of a host share."""

    def __init__(self):
        self.of = {fault.__name__: [] for fault in FAULTS}
        self.calls = {}

    @contextlib.contextmanager
    def note(self, fault):
        began = time.perf_counter_ns()
        yield
        self.of[fault.__name__].append((began, time.perf_counter_ns()))

    def sort(self, path):
        """Put the durations that a trainer has written under the fault that was on."""
        times = array.array("q")
        times.frombytes(path.read_bytes())
        for at in range(0, len(times), 3):
            began, polled, reported = times[at : at + 3]
            polls, reports = self.calls.setdefault(self._fault_at(began), ([], []))
            polls.append(polled)
            reports.append(reported)

    def _fault_at(self, moment):
        for name, windows in self.of.items():
            if any(began <= moment <= ended for began, ended in windows):
                return name
        return "undisturbed"


def schedules(faults, count, each, seed=11):
    """Random faults, `each` so many, for `count` trainings."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.sample(faults, min(each, len(faults)))


@pytest.mark.parametrize("model", ["torch", "plain"])
def test_faults_change_no_bit_and_delay_no_step(tmp_path, sized, figure, model):
    """Under every fault the parameters are those of the undisturbed run, with the same changes."""
    if model == "torch" and not HAVE_TORCH:
        pytest.skip("torch is not installed; the plain model covers its part")
    count, each = sized((1, len(FAULTS)), (70 if model == "torch" else 30, 6))
    windows, results = Windows(), []
    script = (TORCH if model == "torch" else PLAIN) + LOOP
    with contextlib.ExitStack() as stack:
        store, faults = tmp_path / "store", list(FAULTS)
        try:
            stack.enter_context(small_filesystem(store, 64))
        except pytest.skip.Exception as reason:
            faults.remove(full_store)
            figure(f"without a full store: {reason}")
        stage = stack.enter_context(staged(tmp_path, store=store))
        paths = [tmp_path / f"schedule-{at}" for at in range(count)]
        trainer = stack.enter_context(
            training(script, *map(str, paths), stdin=True, **stage.names("train", "unused"))
        )
        client = stack.enter_context(stage.client())
        for path, schedule in zip(paths, schedules(faults, count, each), strict=True):
            trainer.event("training")
            disturb(stage, trainer, client, path.name, schedule, windows)
            trainer.say("enough")
            results.append(trainer.event("same"))
            windows.sort(path)
        assert trainer.wait() == 0
    assert [result["raised"] for result in results] == [[]] * count
    assert {result["last"] for result in results} == {"None"}
    assert "Traceback" not in trainer.errors
    for name, (polls, reports) in sorted(windows.calls.items()):
        figure(f"{model}, {name}, {len(polls)} steps: poll {text(polls)}; report {text(reports)}")
    same = sum(result["same"] for result in results)
    changed = sum(result["changes"] for result in results)
    figure(f"{model}: {same} of {count} schedules bit-equal, with {changed} changes of lr in them")
    assert same == count
    assert changed >= count
    longest = max(max(*polls, *reports) for polls, reports in windows.calls.values())
    assert longest < 0.5e9, f"a call took {longest / 1e6:.0f} ms"


def disturb(stage, trainer, client, job, faults, windows):
    """One fault after another, each followed by a command that must come through."""
    chance = random.Random(job)
    for at, fault in enumerate(faults):
        with windows.note(fault), fault(stage, trainer):
            lasting(chance.uniform(0.1, 0.6))
        insist(client, "train", {"lr": 0.01 / (at + 2)}, job=job)


def text(nanoseconds):
    half, most = percentile(nanoseconds, 0.5), percentile(nanoseconds, 0.999)
    return (
        f"p50 {half / 1e3:.1f} us, p99.9 {most / 1e3:.0f} us, max {max(nanoseconds) / 1e3:.0f} us"
    )
