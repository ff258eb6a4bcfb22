"""Commands around kills of everything between operator and trainer: once each, in order."""

from __future__ import annotations

import random
import threading
import time

import pytest

from harness import history
from harness.faults import holds, kill, lasting, percentile, sidecar_of
from harness.history import NUMBERED, TESTS, History, violations
from harness.stage import staged
from harness.trainers import training
from harness.watching import watching
from weavelet.exceptions import CommandError

KILLS_A_LIFE = 9
"""Of one trainer: as many of its sidecar as are replaced within a minute, and others."""


class Commander(threading.Thread):
    """Sets `number` to 0, 1, 2, ... of one job; goes on through whatever befalls the weaver."""

    def __init__(self, client, log, job, count):
        super().__init__(name="commander")
        self.client, self.log, self.job, self.count = client, log, job, count
        self.done = 0
        self.seconds = []
        self.failure = None

    def run(self):
        try:
            for number in range(self.count):
                self.command(number)
                self.done = number + 1
        except BaseException as error:
            self.failure = error
            raise

    def command(self, number):
        while True:
            began = time.monotonic()
            try:
                result = self.client.set("train", {"number": number}, job=self.job, deadline=120.0)
            except CommandError as error:
                if was_refused(error):
                    # It has not entered the log, so that it may be said again.
                    lasting(0.01)
                    continue
                self.log.note("doubted", number=number, why=str(error))
                return
            self.seconds.append(time.monotonic() - began)
            self.log.note("answered", number=number, kind=result.state)
            return


def was_refused(error):
    """Whether an error says that nothing was stored."""
    return error.code in {"unknown_run", "unknown_job", "unknown_control"} or any(
        text in str(error) for text in ("has not read the control logs yet", "No weaver answers")
    )


def strike(stage, trainer, victim, known):
    """kill -9, and whatever is needed for it to come back."""
    if victim == "sidecar":
        pid = sidecar_of(trainer.pid, known)
        kill(pid)
        known.append(pid)
    elif victim == "nats-server":
        stage.kill_nats()
        stage.start_nats()
    else:
        stage.weaver.kill()
        stage.weaver.start()


@pytest.mark.parametrize("seed", [1])
def test_commands_around_kills_are_applied_once_in_order(tmp_path, sized, figure, seed):
    """All that entered the log was applied once, in its order; nobody was told a lie."""
    lives, count = sized((1, 150), (12, 850))
    chance = random.Random(seed)
    kills = dict.fromkeys(("sidecar", "nats-server", "weaver"), 0)
    seconds, wrong, commands = [], [], 0
    with staged(tmp_path) as stage:
        for life in range(lives):
            path = tmp_path / f"history-{life}"
            commander = one_life(stage, path, f"job-{life}", count, chance, kills)
            events = history.read(path)
            wrong += [f"life {life}: {what}" for what in violations(events)]
            commands += len(history.numbers(events, "logged"))
            seconds += commander.seconds
            assert len(history.numbers(events, "applied")) >= count - KILLS_A_LIFE
    figure(
        f"{commands} commands in the log, {sum(kills.values())} kills {kills}: "
        f"{len(wrong)} violations; answered within p50 {1000 * percentile(seconds, 0.5):.1f} ms, "
        f"p99 {1000 * percentile(seconds, 0.99):.0f} ms, at most {max(seconds):.1f} s"
    )
    assert wrong == []


def one_life(stage, path, job, count, chance, kills):
    """One trainer that is commanded through its share of kills."""
    log = History(path)
    environment = {**stage.names("train", job), "PYTHONPATH": TESTS}
    with (
        training(NUMBERED, str(path), **environment) as trainer,
        watching(stage, ["train"]) as watcher,
        stage.client() as client,
    ):
        watcher.until(lambda row: row.job == job and row.controls and row.state == "running")
        commander = Commander(client, log, job, count)
        commander.start()
        victims = [victim for victim in kills for _ in range(KILLS_A_LIFE // len(kills))]
        chance.shuffle(victims)
        known = []
        for at, victim in enumerate(victims):
            wait_for(commander, (at + chance.random()) * count / KILLS_A_LIFE)
            strike(stage, trainer, victim, known)
            kills[victim] += 1
            log.note("killed", victim=victim)
        commander.join()
        assert commander.failure is None
        client.stop("train", job=job)
        assert trainer.wait() == 0
        for entry in client.log("train", job):
            if entry.entry.kind == "set":
                number = entry.entry.body["values"]["number"]
                log.note("logged", number=number)
                if entry.settled:
                    log.note("settled", number=number, kind=entry.state)
        assert trainer.errors.count("Traceback") == 0, trainer.errors
    log.close()
    return commander


def wait_for(commander, number):
    """Return when so many commands were given."""
    holds(lambda: commander.done >= number or not commander.is_alive(), 600, "the count")
