"""A real trainer with its real sidecar on a real server, without a weaver."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from harness.nats import asynchronous, kill, until
from harness.operators import operating
from harness.trainers import LOOP, PLAIN, children_of, is_alive, training
from weavelet.messages import (
    Act,
    Heartbeat,
    Outcome,
    Pause,
    Registration,
    Resume,
    Set,
    Settled,
    Stop,
)
from weavelet.wire import subjects
from weavelet.wire.envelope import encode


@pytest.fixture
def names(nats, tmp_path):
    """The environment that brings a trainer into the job `train`/`job-1`."""
    return {
        "WEAVELET_NATS_URL": nats.url,
        "WEAVELET_RUN": "train",
        "WEAVELET_JOB": "job-1",
        "WEAVELET_SIDECAR_LOG": str(tmp_path / "sidecar.log"),
    }


@asynchronous
async def test_a_set_is_applied_at_a_poll_and_answered_with_the_truth(nats, names):
    """A Set ends as applied, with the step, the old and the new value that the trainer saw."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as trainer:
            await operator.registered("lr")
            outcome = await operator.command(Set({"lr": 0.01}))
            seen = trainer.event("change")
            assert (outcome.kind, outcome.replica) == ("applied", "trainer-0")
            assert [(c.name, c.old, c.new) for c in outcome.changes] == [("lr", 0.1, 0.01)]
            assert (seen["step"], seen["old"], seen["new"]) == (outcome.step, 0.1, 0.01)


@asynchronous
async def test_what_cannot_be_applied_says_why_and_changes_nothing(nats, names):
    """A misfit is rejected, a raising handler rolls everything back, and training goes on."""
    async with operating(nats) as operator:
        with training(PLAIN, **names):
            await operator.registered("lr")
            refused = await operator.command(Set({"lr": "banana"}))
            failed = await operator.command(Set({"lr": 0.5, "gain": -1.0}))
            after = await operator.command(Set({"lr": 0.2}))
    assert refused.kind == "rejected"
    assert "lr" in refused.reason
    assert "'banana'" in refused.reason
    assert failed.kind == "failed"
    assert "no gain below zero" in failed.traceback
    assert after.changes[0].old == 0.1


@asynchronous
async def test_an_action_returns_its_result(nats, names):
    """An action's result comes back in its outcome."""
    async with operating(nats) as operator:
        with training(PLAIN, **names):
            await operator.registered("evaluate")
            outcome = await operator.command(Act("evaluate", {"times": 3}))
    assert outcome.result == {"accuracy": 0.5, "times": 3}


@asynchronous
async def test_pause_holds_the_step_and_stop_ends_the_script_with_success(nats, names):
    """While paused the step stands still; after resume it moves; stop lets the script end."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as trainer:
            await operator.registered("lr")
            paused = await operator.command(Pause())
            first = await operator.state("paused")
            second = await operator.state("paused")
            during = await operator.command(Set({"lr": 0.3}))
            await operator.command(Resume())
            moving = await operator.state("running")
            stopped = await operator.command(Stop())
            assert trainer.event("stopped") == {"stopped": True}
            assert await asyncio.to_thread(trainer.wait) == 0
            end = await operator.ended()
    assert first.step == second.step == paused.step == during.step
    assert moving.step > paused.step
    assert end.state == "exited"
    assert end.step == stopped.step


SELDOM = f"""\
#!{sys.executable}
import json, runpy, sys
del sys.argv[:2]
sys.path[:0] = json.loads(sys.argv[-1])
import weavelet.sidecar.companion
weavelet.sidecar.companion.HEARTBEAT_SECONDS = 3600
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@asynchronous
async def test_a_pause_is_told_where_it_begins_and_ends(nats, names, tmp_path):
    """Whoever has paused and looks need not wait for the next heartbeat, here an hour away."""
    python = tmp_path / "python"
    python.write_text(SELDOM)
    python.chmod(0o700)
    async with operating(nats) as operator:
        with training(PLAIN, **names, WEAVELET_PYTHON=str(python)):
            await operator.registered("lr")
            await operator.command(Pause())
            await operator.until(lambda: operator.of(Heartbeat)[-1].state == "paused")
            await operator.command(Resume())
            await operator.until(lambda: operator.of(Heartbeat)[-1].state == "running")


@asynchronous
async def test_a_killed_trainer_is_called_crashed_and_its_sidecar_goes(nats, names):
    """kill -9 of the trainer: `crashed` is said at once, and no sidecar is left behind."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as trainer:
            await operator.registered("lr")
            (sidecar,) = children_of(trainer.pid)
            trainer.kill()
            end = await operator.ended(seconds=5)
            await operator.until(lambda: not is_alive(sidecar), seconds=3)
    assert end.state == "crashed"


@asynchronous
async def test_a_sidecar_goes_with_its_trainer_also_while_the_server_is_lost(nats, names):
    """Server and trainer die together, with samples still to be sent: no sidecar stays behind."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as trainer:
            await operator.registered("lr")
            (sidecar,) = children_of(trainer.pid)
            os.kill(nats.process.pid, signal.SIGSTOP)
            trainer.kill()
            kill(nats)
            await until(lambda: not is_alive(sidecar), 5)


@asynchronous
async def test_a_killed_sidecar_is_replaced_and_nothing_runs_twice(nats, names):
    """kill -9 of the sidecar between commands: the next one carries on where the trainer is."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as trainer:
            await operator.registered("lr")
            values = [0.01 * (i + 1) for i in range(6)]
            for i, value in enumerate(values):
                if i in (2, 4):
                    (sidecar,) = children_of(trainer.pid)
                    os.kill(sidecar, signal.SIGKILL)
                await operator.command(Set({"lr": value}))
                assert trainer.event("change")["new"] == value
    applied = {}
    for outcome in operator.of(Outcome):
        applied.setdefault(outcome.entry, set()).add(outcome.step)
    assert len(applied) == len(values)
    assert all(len(steps) == 1 for steps in applied.values())


@asynchronous
async def test_after_three_replacements_the_session_goes_on_without_sidecar(nats, names):
    """The fourth dead sidecar within a minute is not replaced; training notices nothing."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as trainer:
            await operator.registered("lr")
            for _ in range(4):
                await operator.until(lambda: children_of(trainer.pid))
                (sidecar,) = children_of(trainer.pid)
                os.kill(sidecar, signal.SIGKILL)
                await operator.until(lambda pid=sidecar: not is_alive(pid))
            assert trainer.process.poll() is None
            await operator.until(lambda: "can no longer be seen or steered" in trainer.errors)


@asynchronous
async def test_the_server_may_come_late_go_and_come_back(nats, names):
    """Commands work after the server was killed and started again; none is lost."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as trainer:
            await operator.registered("lr")
            await operator.command(Set({"lr": 0.2}))
            kill(nats)
            await nats.start()
            outcome = await operator.command(Set({"lr": 0.3}))
            assert outcome.changes[0].old == 0.2
            trainer.event("change")


@asynchronous
async def test_an_entry_that_the_log_holds_twice_is_run_once(nats, names):
    """A message that somebody stores again is not a second command."""
    async with operating(nats) as operator:
        with training(PLAIN, **names):
            await operator.registered("evaluate")
            entry = await operator.append(Act("evaluate"))
            again = await operator.bus.append(
                subjects.control("train", "job-1"), encode(entry), message_id="again"
            )
            after = await operator.command(Set({"lr": 0.2}))
    assert after.sequence > again
    assert [o.sequence for o in operator.of(Outcome) if o.entry == entry.id] == [again - 1]


@asynchronous
async def test_a_value_too_deep_to_travel_costs_no_control(nats, names):
    """The controls are registered without their values, and can be set."""
    script = PLAIN.replace(
        "    declare(w)",
        """    declare(w)
    deep = []
    for _ in range(60):
        deep = [deep]

    @w.handler("deep", get=lambda: deep)
    def set_deep(value: list) -> None:
        pass
""",
    )
    async with operating(nats) as operator:
        with training(script, **names):
            await operator.registered("lr", "deep")
            assert (await operator.command(Set({"lr": 0.2}))).kind == "applied"


@asynchronous
async def test_a_restarted_replica_takes_over_what_was_settled(nats, names):
    """A second life adopts the applied Sets of its job in one transaction, and says so."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as first:
            registration = await operator.registered("lr")
            entry = await operator.append(Set({"lr": 0.25}))
            outcome = await operator.outcome(entry)
            refused = await operator.append(Set({"lr": "banana"}))
            bad = await operator.outcome(refused)
            for it, what in ((entry, outcome), (refused, bad)):
                await operator.append(Settled(it.id, what.sequence, (what,)), deadline=None)
            first.kill()
        with training(PLAIN, **names) as second:
            change = second.event("change")
            await operator.until(
                lambda: [o for o in operator.of(Outcome) if o.adopted and o.entry == entry.id]
            )
    assert (change["change"], change["old"], change["new"]) == ("lr", 0.1, 0.25)
    incarnations = {r.identity.incarnation for r in operator.of(Registration)}
    assert registration.identity.incarnation in incarnations
    assert len(incarnations) == 2


@asynchronous
async def test_a_second_live_incarnation_is_refused_control(nats, names):
    """Two processes under one replica id: the first keeps control, the second shows `conflict`."""
    async with operating(nats) as operator:
        with training(PLAIN, **names) as first:
            one = (await operator.registered("lr")).identity.incarnation
            with training(PLAIN, **names) as second:
                await operator.state("conflict")
                outcome = await operator.command(Set({"lr": 0.7}))
                assert outcome.incarnation == one
                assert first.event("change")["new"] == 0.7
                await operator.until(lambda: "refused control" in second.errors)
                first.kill()
                taken = await operator.until(
                    lambda: [
                        h
                        for h in operator.of(Heartbeat)
                        if h.incarnation != one and h.state == "running" and not h.claiming
                    ]
                )
                assert taken
                outcome = await operator.command(Set({"lr": 0.8}))
                assert outcome.incarnation != one


@asynchronous
async def test_samples_come_all_and_in_order(nats, names):
    """Every report arrives once, in order, with the count that it had in the trainer."""
    script = LOOP + (
        'with weavelet.session("trainer-0") as w:\n'
        "    declare(w)\n"
        "    train(w, steps=1500, pause=0.0005)\n"
    )
    async with operating(nats) as operator:
        with training(script, **names) as trainer:
            assert await asyncio.to_thread(trainer.wait) == 0
            # A sidecar says the end first, then what samples it still has.
            await operator.until(lambda: len(operator.samples()) >= 1500)
    assert operator.samples() == list(range(1500))


@asynchronous
async def test_a_trainer_that_has_ended_before_its_sidecar_runs_is_told_of(nats, names):
    """All that it said comes, in its order, more than one reading of the channel though it is."""
    script = LOOP + (
        'with weavelet.session("trainer-0") as w:\n'
        "    for step in range(1200):\n"
        '        w.report(step, note="x" * 100)\n'
        "    w.poll(0)\n"
        '    w.report(1200, note="last")\n'
    )
    async with operating(nats) as operator:
        with training(script, **names) as trainer:
            assert await asyncio.to_thread(trainer.wait) == 0
            end = await operator.ended()
            await operator.until(lambda: len(operator.samples()) >= 1201)
    assert end.state == "exited"
    assert operator.samples() == list(range(1201))


@asynchronous
async def test_it_starts_in_a_folder_full_of_traps(nats, names, tmp_path):
    """A working directory with `types.py`, `random.py`, `enum.py` and `token.py` does no harm."""
    place = tmp_path / "traps"
    place.mkdir()
    for name in ("types", "random", "enum", "token"):
        (place / f"{name}.py").write_text("raise ImportError('a trap')\n")
    (tmp_path / "script.py").write_text(PLAIN)
    async with operating(nats) as operator:
        with training(tmp_path / "script.py", cwd=place, **names):
            await operator.registered("lr")
            assert (await operator.command(Set({"lr": 0.2}))).kind == "applied"
