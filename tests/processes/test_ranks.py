"""Four real ranks under torchrun: every command is done at the same step on all, or on none."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

pytest.importorskip("torch")

from harness.faults import holds
from harness.jobs import operating
from harness.trainers import children_of, is_alive

REPLICAS = [f"rank-{rank}" for rank in range(4)]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """A weaver, and jobs on it."""
    with operating(tmp_path_factory.mktemp("ranks")) as jobs:
        yield jobs


@pytest.fixture(scope="module")
def job(jobs):
    """A job that trains on."""
    with jobs.start() as job:
        job.until_training()
        yield job


def by_replica(result):
    return {outcome.replica: outcome for outcome in result.outcomes}


def kinds(result):
    return {outcome.replica: outcome.outcome for outcome in result.outcomes}


def on_all(kind):
    return dict.fromkeys(REPLICAS, kind)


def same_step(result):
    """The one step of all outcomes."""
    (step,) = {outcome.step for outcome in result.outcomes}
    return step


def test_a_change_lands_at_one_step(job):
    """All ranks apply it at the same step, and their settings are the same afterwards."""
    result = job.set(values={"lr": 0.02, "momentum": 0.5})
    assert result.ok, result
    assert kinds(result) == on_all("applied")
    assert same_step(result) > 0
    assert len({outcome.config_hash for outcome in result.outcomes}) == 1


def test_what_one_rank_refuses_is_refused_by_all(job):
    """A value that only one rank's `expect` forbids; the outcome names the rank and the reason."""
    job.set(values={"fragile": 7})
    result = job.set(values={"lr": 0.03}, expect={"fragile": 8})
    assert kinds(result) == on_all("rejected")
    for rank, replica in enumerate(REPLICAS):
        assert f"rank {rank}: fragile: expected to be 8" in by_replica(result)[replica].reason
    same_step(result)


def test_a_handler_that_fails_on_one_rank_is_rolled_back_on_all(job):
    """Nothing of it stays anywhere; the outcome names the rank that failed, and how."""
    job.set(values={"lr": 0.04, "fragile": 9})
    result = job.set(values={"lr": 0.05, "fragile": 2})
    assert kinds(result) == on_all("failed")
    for outcome in result.outcomes:
        assert "rank 2: fragile: RuntimeError: 2 breaks it" in outcome.reason
    assert "RuntimeError: 2 breaks it" in by_replica(result)["rank-2"].traceback
    same_step(result)
    again = job.set(values={"lr": 0.06}, expect={"lr": 0.04, "fragile": 9})
    assert again.ok, again


def test_a_dry_run_touches_no_rank(job):
    """All ranks say what they would do."""
    job.set(values={"lr": 0.07})
    assert kinds(job.set(values={"lr": 0.5}, dry_run=True)) == on_all("skipped")
    assert job.set(values={"lr": 0.08}, expect={"lr": 0.07}).ok


def test_a_scheduled_change_comes_at_its_step(job):
    """Not earlier and not later, on all ranks."""
    rows = job.rows().values()
    # A row is up to a second old, and the ranks look at the log twice a second.
    step = max(row.step + int(5 * row.rate) for row in rows) + 100
    result = job.set(values={"lr": 0.09}, at_step=step)
    assert result.ok
    assert same_step(result) == step


def test_a_step_that_has_passed_is_refused(job):
    """By all ranks, with the step at which the job is."""
    result = job.set(values={"lr": 0.09}, at_step=0)
    assert kinds(result) == on_all("rejected")
    assert "step 0 has passed" in result.outcomes[0].reason


def test_an_action_has_a_result_of_each_rank(job):
    """All ranks run it at the same step."""
    result = job.act("where")
    assert {each.replica: each.result for each in result.outcomes} == {
        replica: rank for rank, replica in enumerate(REPLICAS)
    }
    same_step(result)


def test_an_action_that_fails_on_one_rank_is_said(job):
    """What ran elsewhere cannot be undone, which the outcomes say."""
    result = job.act("fail_on", {"rank": 1})
    assert kinds(result) == on_all("failed")
    assert "rank 1: fail_on: RuntimeError: asked to" in by_replica(result)["rank-0"].reason
    assert "cannot be undone" in by_replica(result)["rank-0"].reason


@pytest.mark.parametrize("replica", ["rank-0", "rank-3"])
def test_a_command_for_one_rank_runs_there_alone(job, replica):
    """All ranks decide at which step; only the one that is named does it and answers."""
    result = job.act("where", replicas=[replica])
    assert [each.replica for each in result.outcomes] == [replica]
    assert result.ok
    assert result.outcomes[0].result == int(replica[-1])


def test_a_pause_for_one_rank_is_refused(job):
    """The others would wait for it in a collective; the outcome says so."""
    result = job.pause(replicas=["rank-1"])
    assert kinds(result) == {"rank-1": "rejected"}
    assert "pause is for all ranks" in result.outcomes[0].reason


def test_a_paused_job_can_be_set_and_resumed(job):
    """All ranks hold at one step; a change made meanwhile is applied at that same step."""
    paused = job.pause()
    assert kinds(paused) == on_all("applied")
    job.until(lambda rows: {row.state for row in rows.values()} == {"paused"}, "pause")
    changed = job.set(values={"lr": 0.1})
    assert changed.ok
    resumed = job.resume()
    assert resumed.ok
    assert same_step(paused) == same_step(changed) == same_step(resumed)
    step = same_step(resumed)
    job.until(lambda rows: all(row.step > step for row in rows.values()), "training")


def test_a_lease_ends_a_pause(job):
    """Without anybody's doing."""
    paused = job.pause(lease=0.2)
    assert paused.ok
    step = same_step(paused)
    job.until(lambda rows: all(row.step > step for row in rows.values()), "training")


@pytest.mark.timeout(600)
def test_random_changes_come_at_the_same_steps_and_can_be_replayed(jobs, sized, tmp_path, figure):
    """One sidecar is killed; all ranks make the same changes at the same steps.

    Their parameters are the same, also those of a replay of what was exported.
    """
    rng = random.Random(1)
    count = sized(40, 200)
    latencies = []
    with jobs.start() as job:
        job.until_training()
        for number in range(count):
            if number == count // 2:
                kill_sidecar(job, rank=2)
            values = rng.choice(
                (
                    {"lr": rng.uniform(0.001, 0.1)},
                    {"momentum": rng.uniform(0, 0.9), "lr": rng.uniform(0.001, 0.1)},
                    {"fragile": rng.choice((1, 10, 11))},
                )
            )
            began = time.monotonic()
            result = job.set(values=values, wait=number % 4 == 3)
            if result.settled:
                latencies.append(time.monotonic() - began)
        job.act("where")
        for update in job.log():
            if update.entry.kind == "set":
                same_step(update)
                assert len(update.outcomes) == 4
                assert len(set(kinds(update).values())) == 1, update
                assert len({outcome.config_hash for outcome in update.outcomes}) == 1
        assert job.stop().ok
        job.wait()
        exported = jobs.shell("export", "ranked", "--job", job.name)
        assert exported.returncode == 0, exported.stderr
        first, *others = job.said()
    assert len(first["changes"]) >= count / 2
    assert first["stopped"]
    for other in others:
        assert other == first
    record = tmp_path / "record.jsonl"
    record.write_text(exported.stdout)
    steps = exported_steps(job)
    with jobs.start("--replay", record, "--steps", steps, "--skew", 0) as replay:
        replay.wait()
        for said in replay.said():
            assert said["changes"] == first["changes"]
            assert said["parameters"] == first["parameters"]
    latencies.sort()
    median = latencies[len(latencies) // 2] * 1e3
    figure(f"{count} changes, p50 {median:.0f} ms from the client to all ranks and back")


def kill_sidecar(job, rank):
    """End the sidecar of a rank with -9."""
    sidecars = children_of(job.trainers()[rank])
    assert sidecars
    for pid in sidecars:
        os.kill(pid, signal.SIGKILL)
        holds(lambda pid=pid: not is_alive(pid))


def exported_steps(job):
    """How many steps a stopped job has made."""
    (step,) = {
        outcome.step
        for update in job.log()
        if update.entry.kind == "stop"
        for outcome in update.outcomes
    }
    return step
