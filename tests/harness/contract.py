"""What every adapter does alike, shown with real processes: one contract, run for each of them.

A test file gives the contract a trainer script and inherits the tests:

    from harness.contract import PRELUDE, Contract

    SCRIPT = PRELUDE + '''
    ...
    '''

    class TestMyFramework(Contract):
        script = SCRIPT

The script trains `network()` on `examples()` by SGD with learning rate LR and no end, until it is
told to stop, and it

* gives its session `controls=[probe]`, and offers `lr` and an action `checkpoint`, which returns
  the path of what it wrote under FOLDER, or writes before the next step;
* goes on from RESUME where that is not None: a path that `checkpoint` returned;
* reports `loss` and `lr`;
* calls `say(ended=steps.taken)` where its framework says that training has ended;
* under torchrun (WORLD is 2) trains with DDP over gloo.

It does not pause itself: `steps`, a hook of all optimizers, sets the pace, counts what really
happened and tells at which step an optimizer first had a learning rate. Accumulate gradients where
the framework can: it must make no difference.

A step is what the plain loop has: the step of an outcome is the number of optimizer steps taken
before it, so that a change at step 7 is in the optimizer when it steps for the eighth time.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from harness.faults import holds
from harness.trainers import training
from harness.watching import Watcher
from weavelet.exceptions import CommandError

SECONDS = 120.0
WANTED = ("lr", "gain", "count", "checkpoint")

PRELUDE = '''
import json
import os
import sys
import time
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

import weavelet

torch.set_num_threads(1)
torch.manual_seed(0)

FOLDER = Path(sys.argv[1])
RESUME = sys.argv[2] if len(sys.argv) > 2 else None
RANK = int(os.environ.get("RANK", "0"))
WORLD = int(os.environ.get("WORLD_SIZE", "1"))
LR = 0.1


def say(**event):
    # One write, newline and all: the ranks share a pipe.
    sys.stdout.write(json.dumps({"rank": RANK, **event}) + "\\n")
    sys.stdout.flush()


class Steps:
    """What the optimizers of this process do."""

    taken = 0
    rate = None

    def __call__(self, optimizer, *_):
        rate = optimizer.param_groups[0]["lr"]
        if rate != self.rate:
            say(rate=rate, at=self.taken)
        self.rate = rate
        self.taken += 1
        time.sleep(0.005)


steps = Steps()
register_optimizer_step_pre_hook(steps)


class Probe:
    """A control and an action that tell each use."""

    def __init__(self):
        self.value = 1.0
        self.counted = 0

    @weavelet.handler("gain", get=lambda self: self.value)
    def set_gain(self, value: float) -> None:
        """Nothing depends on it."""
        if value < 0:
            raise RuntimeError("no gain below zero")
        say(gain=value, at=steps.taken)
        self.value = value

    @weavelet.action
    def count(self) -> int:
        """How often it was asked for."""
        self.counted += 1
        say(counted=self.counted, at=steps.taken)
        return self.counted


probe = Probe()


def network():
    return torch.nn.Linear(4, 1)


def examples():
    x = torch.randn(256, 4, generator=torch.Generator().manual_seed(1))
    return torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True))
'''


class Life:
    """One life of a job: its processes, what they said, and a client that steers it."""

    def __init__(self, trainer, client, watcher, run, job, ranks):
        self.trainer = trainer
        self.ranks = ranks
        self.said = []
        self._client = client
        self._watcher = watcher
        self._run = run
        self._job = job

    def until(self, condition, *, alive=False):
        """The first row of a replica of this job that meets a condition.

        With `alive` the processes must live until then.
        """

        def fits(row):
            mine = row.run == self._run and self._job in {None, row.job}
            return mine and condition(row)

        until = time.monotonic() + SECONDS
        while True:
            try:
                return self._watcher.until(fits, 2.0)[1]
            except AssertionError as error:
                ended = self.trainer.process.poll()
                if time.monotonic() > until or (alive and ended is not None):
                    msg = f"{error}; exit code {ended}\n{self.trainer.errors}"
                    raise AssertionError(msg) from None

    def until_steerable(self, wanted):
        """Wait until every rank polls and these are registered."""
        for rank in range(self.ranks):
            self.until(
                lambda row, rank=rank: (
                    row.replica == f"rank-{rank}"
                    and row.state == "running"
                    and row.step is not None
                    and set(wanted) <= {control.name for control in row.controls}
                ),
                alive=True,
            )

    def set(self, **values):
        return self.told(self._client.set(self._run, values, job=self._job))

    def act(self, name, **arguments):
        return self.told(self._client.act(self._run, name, arguments, job=self._job))

    def checkpoint(self):
        """The outcome, once there is what its result names."""
        told = self.act("checkpoint")
        holds(Path(told.result).exists, SECONDS, f"{told.result}:")
        return told

    def pause(self):
        return self.told(self._client.pause(self._run, job=self._job))

    def resume(self):
        return self.told(self._client.resume(self._run, job=self._job))

    def stop(self):
        return self.told(self.ask_to_stop())

    def ask_to_stop(self):
        """The result, which may differ from rank to rank."""
        return self._client.stop(self._run, job=self._job)

    def refused(self, **values):
        """The result of a Set that must not be applied anywhere."""
        try:
            result = self._client.set(self._run, values, job=self._job)
        except CommandError as error:
            return str(error)
        assert result.state != "applied", result
        return " ".join(str(outcome.reason) for outcome in result.outcomes)

    def told(self, result):
        """The outcome on all ranks: the same one, applied."""
        assert result.ok, f"{result}\n{self.trainer.errors}"
        outcomes = [outcome for outcome in result.outcomes if not outcome.adopted]
        assert {outcome.replica for outcome in outcomes} == {
            f"rank-{rank}" for rank in range(self.ranks)
        }
        first = outcomes[0]
        for other in outcomes:
            assert (other.step, other.changes, other.result) == (
                first.step,
                first.changes,
                first.result,
            )
        return first

    def log(self):
        """[(kind, [(replica, outcome, step, adopted)])] of all entries."""
        return [
            (
                each.entry.kind,
                [(o.replica, o.outcome, o.step, o.adopted) for o in each.outcomes],
            )
            for each in self._client.log(self._run, self._job)
        ]

    def heard(self, key, value):
        """What each rank said first with this value of a key, by rank."""
        found = {}
        at = 0
        while len(found) < self.ranks:
            while at == len(self.said):
                self._listen()
            event = dict(self.said[at])
            rank = event.pop("rank")
            if event.get(key) == value:
                found.setdefault(rank, event)
            at += 1
        return found

    def ended(self):
        """The optimizer steps that each rank had taken at its end; the exit code is 0."""
        found = {}
        while len(found) < self.ranks:
            self._listen()
            found = {each["rank"]: each["ended"] for each in self.said if "ended" in each}
        assert self.trainer.wait(SECONDS) == 0, self.trainer.errors
        return found

    def _listen(self):
        self.said.append(self.trainer.event("rank", SECONDS))


@contextmanager
def living(
    weaver,
    script,
    folder,
    *,
    job,
    ranks=1,
    resume=None,
    launcher=None,
    wanted=WANTED,
    **environment,
):
    """A job on a running weaver. `folder` is where its script and its checkpoints lie.

    Without a name the job is what the processes take it for; `launcher` are options of Python,
    torchrun's for several ranks; `wanted` are the controls and actions to wait for.
    """
    run = "contract" if job else "nameless"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "train.py"
    path.write_text(script)
    if launcher is None:
        launcher = () if ranks == 1 else torchrun(ranks)
    arguments = [str(folder)] if resume is None else [str(folder), str(resume)]
    names = {
        "WEAVELET_HOME": str(weaver.home),
        "WEAVELET_RUN": run,
        **({"WEAVELET_JOB": job} if job else {}),
        **({"WEAVELET_REPLICA": "rank-0"} if ranks == 1 else {}),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    with ExitStack() as stack:
        client = stack.enter_context(weaver.client())
        watcher = Watcher(weaver.client(), [run])
        stack.callback(watcher.close)
        trainer = stack.enter_context(
            training(path, *arguments, cwd=folder, python=launcher, **names)
        )
        life = Life(trainer, client, watcher, run, job, ranks)
        life.until_steerable(wanted)
        yield life


def torchrun(ranks):
    """Options of Python for a launcher of so many processes on this machine."""
    return (
        "-m",
        "torch.distributed.run",
        f"--nproc-per-node={ranks}",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:0",
    )


def accelerate_launch(ranks):
    """The same for Accelerate's launcher; `--multi_gpu`, since without it there is one process."""
    return (
        "-m",
        "accelerate.commands.launch",
        "--multi_gpu",
        f"--num_processes={ranks}",
        "--num_machines=1",
        "--mixed_precision=no",
        "--dynamo_backend=no",
        "--main_process_port=0",
    )


@pytest.mark.timeout(900)
class Contract:
    """Inherit, and give a `script`. `environment` is what its processes need besides.

    `launcher` is as in `living`, for the test of two ranks.
    """

    script: str
    environment: ClassVar[dict[str, str]] = {}
    launcher: ClassVar[tuple[str, ...] | None] = None

    def test_a_change_is_in_the_optimizer_at_the_step_that_is_told(self, life):
        """Set lr: the outcome's step is the one that the optimizer makes with it."""
        told = life.set(lr=0.05)
        assert [change.new for change in told.changes] == [0.05]
        assert life.heard("rate", 0.05) == {0: {"rate": 0.05, "at": told.step}}

    def test_pause_holds_the_step(self, life):
        """While paused no step is made: what is set then is there for the very next one."""
        held = life.pause()
        shown = life.until(lambda row: row.state == "paused")
        assert shown.step == held.step
        assert life.set(lr=0.03).step == held.step
        assert life.resume().step == held.step
        assert life.heard("rate", 0.03) == {0: {"rate": 0.03, "at": held.step}}
        life.until(lambda row: row.state == "running" and row.step > held.step)

    def test_controls_and_actions_that_are_handed_in_work(self, life):
        """An object's marked methods run once a command, at the step that is told."""
        told = life.set(gain=2.0)
        assert life.heard("gain", 2.0) == {0: {"gain": 2.0, "at": told.step}}
        told = life.act("count")
        assert life.heard("counted", told.result) == {0: {"counted": told.result, "at": told.step}}
        assert "no gain below zero" in life.refused(gain=-1.0)
        assert life.set(gain=3.0).changes[0].old == 2.0

    def test_reports_arrive(self, life):
        """Loss and the learning rate that is in use are shown."""
        life.set(lr=0.04)
        shown = life.until(lambda row: row.metrics.get("lr") == pytest.approx(0.04))
        life.until(lambda row: "loss" in row.metrics and (row.step or 0) >= shown.step)

    def test_stop_ends_it_by_the_framework(self, weaver, tmp_path):
        """No step after the stop's; the framework's own end runs, and the exit code is 0."""
        with living(
            weaver, self.script, tmp_path, job=f"stop-{type(self).__name__}", **self.environment
        ) as life:
            told = life.stop()
            assert life.ended() == {0: told.step}
            assert life.until(lambda row: row.state == "exited").reason == "stopped by command"

    def test_a_resumed_job_applies_nothing_twice(self, weaver, tmp_path):
        """It begins at the checkpoint's step with its values, and adopts what came after."""
        options = {"job": f"resumed-{type(self).__name__}", **self.environment}
        with living(weaver, self.script, tmp_path, **options) as life:
            life.set(gain=2.0)
            life.set(lr=0.05)
            life.act("count")
            saved = life.checkpoint()
            life.set(gain=3.0)
            life.trainer.kill()
            life.until(lambda row: row.state == "crashed")
            before = life.log()
        with living(weaver, self.script, tmp_path, resume=saved.result, **options) as life:
            told = life.set(lr=0.02)
            assert told.changes[0].old == pytest.approx(0.05)
            assert life.heard("rate", 0.02)[0]["at"] == told.step - saved.step
            assert life.set(gain=4.0).changes[0].old == 3.0
            life.stop()
            life.ended()
            after = life.log()
        assert not any("counted" in event for event in life.said)
        gains = [event["gain"] for event in life.said if "gain" in event]
        assert gains in ([3.0, 4.0], [2.0, 3.0, 4.0])
        assert [kind for kind, _ in after] == [*(kind for kind, _ in before), "set", "set", "stop"]
        for (kind, old), (_, new) in zip(before, after, strict=False):
            assert [o for o in new if not o[3]] == old, kind
        adopted = [kind for kind, outcomes in after if any(o[3] for o in outcomes)]
        assert adopted == ["set"]

    def test_two_ranks_do_the_same_at_the_same_step(self, weaver, tmp_path):
        """Set, failure, pause, action, checkpoint and stop under torchrun: one list of both."""
        options = {
            "job": f"ranks-{type(self).__name__}",
            "ranks": 2,
            "launcher": self.launcher,
            **self.environment,
        }
        with living(weaver, self.script, tmp_path, **options) as life:
            told = life.set(lr=0.05)
            event = {"rate": 0.05, "at": told.step}
            assert life.heard("rate", 0.05) == {0: event, 1: event}
            told = life.set(lr=0.03, gain=2.0)
            event = {"gain": 2.0, "at": told.step}
            assert life.heard("gain", 2.0) == {0: event, 1: event}
            event = {"rate": 0.03, "at": told.step}
            assert life.heard("rate", 0.03) == {0: event, 1: event}
            assert "no gain below zero" in life.refused(lr=0.5, gain=-1.0)
            held = life.pause()
            assert life.set(lr=0.02).step == held.step
            life.resume()
            event = {"rate": 0.02, "at": held.step}
            assert life.heard("rate", 0.02) == {0: event, 1: event}
            life.checkpoint()
            told = life.stop()
            assert life.ended() == {0: told.step, 1: told.step}
