"""Trainer, sidecar, server and weaver in any order of commands and kills, as hypothesis likes it.

The model is the history of `harness.history`: what is in the log was applied, once, in its order,
and nobody was told a lie. It is checked at the end of every run of rules; after every rule the last
value that was proven to be applied must still be the one that the trainer has.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import tempfile
import time
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harness import history
from harness.faults import go_on, kill, sidecar_of, stop
from harness.history import NUMBERED, TESTS, History, violations
from harness.stage import Stage
from harness.trainers import training
from harness.watching import Watcher
from weavelet.exceptions import CommandError

RESTARTS = 3
"""Of a sidecar, by one trainer within a minute."""


class World(RuleBasedStateMachine):
    """One trainer on one stage; each run of rules has a job of its own."""

    stage = None
    jobs = itertools.count()
    rules_run = 0

    def __init__(self):
        super().__init__()
        self.job = f"job-{next(self.jobs)}"
        self.path = self.stage.folder / self.job
        self.log = History(self.path)
        self.numbers = itertools.count()
        self.sidecars = []
        self.deaths = 0
        self.frozen = self.server_down = self.weaver_down = False
        self.proven = None
        self.closing = contextlib.ExitStack()
        self.start_trainer()
        self.client = self.closing.enter_context(self.stage.client())
        self.closing.callback(self.stage.proxy.heal)
        self.wait_until_steerable()

    def start_trainer(self):
        environment = {**self.stage.names("train", self.job), "PYTHONPATH": TESTS}
        self.trainer = self.closing.enter_context(training(NUMBERED, str(self.path), **environment))

    def wait_until_steerable(self):
        watcher = Watcher(self.stage.client(), ["train"])
        try:
            watcher.until(
                lambda row: row.job == self.job and row.controls and row.state == "running"
            )
        finally:
            watcher.close()

    # Commands.

    @rule()
    def command(self, deadline=1.0):
        """Set the next number; whoever is away, the answer is the truth or an error."""
        number = next(self.numbers)
        try:
            result = self.client.set("train", {"number": number}, job=self.job, deadline=deadline)
        except CommandError as error:
            self.log.note("doubted", number=number, why=str(error))
            return
        self.log.note("answered", number=number, kind=result.state)
        if result.state == "applied":
            self.proven = number

    @rule()
    def action(self):
        """Run an action, which nothing may run twice."""
        number = next(self.numbers)
        try:
            result = self.client.act("train", "mark", {"value": number}, job=self.job, deadline=1.0)
        except CommandError:
            return
        self.log.note("acted", number=number, kind=result.state)

    @rule(count=st.integers(2, 5))
    def commands_without_waiting(self, count):
        """Several at once, whose fate is left to the end."""
        for _ in range(count):
            number = next(self.numbers)
            try:
                self.client.set("train", {"number": number}, job=self.job, wait=False)
            except CommandError as error:
                self.log.note("doubted", number=number, why=str(error))
                return

    # Faults.

    @precondition(lambda self: len(self.sidecars) < RESTARTS)
    @rule()
    def kill_sidecar(self):
        self.sidecars.append(sidecar_of(self.trainer.pid, self.sidecars))
        kill(self.sidecars[-1])
        self.frozen = False

    @rule()
    def kill_trainer(self):
        """And start another, which takes over what is settled."""
        if self.frozen:
            self.thaw_sidecar()
        self.trainer.kill()
        self.deaths += 1
        self.sidecars = []
        self.start_trainer()

    @precondition(lambda self: not self.frozen)
    @rule()
    def freeze_sidecar(self):
        stop(sidecar_of(self.trainer.pid, self.sidecars))
        self.frozen = True

    @precondition(lambda self: self.frozen)
    @rule()
    def thaw_sidecar(self):
        go_on(sidecar_of(self.trainer.pid, self.sidecars))
        self.frozen = False

    @precondition(lambda self: not self.server_down)
    @rule()
    def kill_server(self):
        self.stage.kill_nats()
        self.server_down = True

    @precondition(lambda self: self.server_down)
    @rule()
    def start_server(self):
        self.stage.start_nats()
        self.server_down = False

    @precondition(lambda self: not self.server_down)
    @rule()
    def restart_server(self):
        self.stage.kill_nats()
        self.stage.start_nats()

    @precondition(lambda self: not self.weaver_down)
    @rule()
    def kill_weaver(self):
        self.stage.weaver.kill()
        self.weaver_down = True

    @precondition(lambda self: self.weaver_down and not self.server_down)
    @rule()
    def start_weaver(self):
        self.stage.weaver.start()
        self.weaver_down = False

    @rule()
    def reset_network(self):
        self.stage.proxy.reset()

    @rule()
    def cut_network(self):
        self.stage.proxy.cut()

    @rule()
    def heal_network(self):
        self.stage.proxy.heal()

    # What holds.

    @invariant()
    def training_goes_on(self):
        World.rules_run += 1
        assert self.trainer.process.poll() is None, self.trainer.errors

    @invariant()
    def what_was_proven_was_applied(self):
        if self.proven is not None:
            assert self.proven in history.numbers(history.read(self.path), "applied")

    def teardown(self):
        """Heal everything: one more command is applied, and the history is without fault."""
        try:
            self.heal()
            self.prove()
            self.client.stop("train", job=self.job)
            assert self.trainer.wait() == 0
            self.read_log()
            assert violations(history.read(self.path)) == []
            assert "Traceback" not in self.trainer.errors
        finally:
            self.log.close()
            self.closing.close()

    def heal(self):
        if self.server_down:
            self.start_server()
        if self.weaver_down:
            self.start_weaver()
        if self.frozen:
            self.thaw_sidecar()
        self.stage.proxy.heal()

    def prove(self, seconds=60):
        """Command until one is applied; those before may meet a life that is just ending."""
        until = time.monotonic() + seconds
        last = self.proven
        while self.proven == last:
            assert time.monotonic() < until, "no command is applied any more"
            self.command(deadline=10.0)

    def read_log(self):
        until = time.monotonic() + (15 if self.deaths == 0 else 6)
        while True:
            entries = [e for e in self.client.log("train", self.job) if e.entry.kind == "set"]
            # What only a trainer that died knew stays unknown.
            final = ("applied", "expired", "skipped", "rejected")
            open_ = [entry for entry in entries if entry.state not in final]
            if not open_ or time.monotonic() > until:
                break
        for entry in entries:
            number = entry.entry.body["values"]["number"]
            if entry.state == "expired":
                # Its deadline passed while a fault was on.
                self.log.note("expired", number=number)
                continue
            self.log.note("logged", number=number)
            if entry.settled:
                self.log.note("settled", number=number, kind=entry.state)


def test_any_order_of_commands_and_kills(sized, figure):
    """No run of rules ends with a command lost, doubled, out of order or lied about."""
    examples, steps = sized((3, 12), (60, 25))
    folder = Path(tempfile.mkdtemp(prefix="weavelet-world-"))
    World.stage, World.rules_run = Stage(folder), 0
    try:
        World.stage.weaver.start()
        run_state_machine_as_test(
            World,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                derandomize=True,
                database=None,
                # Shrinking would take hours, and a failure names its rules all the same.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        World.stage.close()
        World.stage = None
        shutil.rmtree(folder)
    figure(f"{World.rules_run} rules in {examples} runs")
