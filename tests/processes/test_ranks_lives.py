"""Ranks that begin, pause, end and begin again: under torchrun, with real parts."""

from __future__ import annotations

import os
import signal

import pytest

pytest.importorskip("torch")

from harness.jobs import operating

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """A weaver, and jobs on it."""
    with operating(tmp_path_factory.mktemp("lives")) as jobs:
        yield jobs


def outcomes(result):
    """(outcome, step) of each replica."""
    return {each.replica: (each.outcome, each.step) for each in result.outcomes}


def is_at_one_step(result):
    return result.ok and len({each.step for each in result.outcomes}) == 1


def test_a_group_made_after_the_session_began(jobs):
    """From the first poll after it was made, commands come at one step."""
    with jobs.start("--group-after", 5, ranks=2) as job:
        job.until_training(step=6)
        assert is_at_one_step(job.set(values={"lr": 0.02}))
        assert is_at_one_step(job.stop())
        job.wait()


def test_a_group_destroyed_under_the_session(jobs):
    """The launcher's store outlives it, and so does agreement; training goes on."""
    with jobs.start("--destroy-after", 5, ranks=2) as job:
        job.until_training(step=6)
        assert is_at_one_step(job.act("where"))
        assert is_at_one_step(job.stop())
        job.wait()


def test_one_rank_alone_agrees_with_nobody(jobs):
    """World size 1: no store is touched, and commands work as without a launcher."""
    with jobs.start(ranks=1) as job:
        job.until_training()
        assert job.set(values={"lr": 0.02}).ok
        assert job.stop().ok
        job.wait()
        assert job.said()[0]["stopped"]


def test_a_rank_that_polls_no_more_ends_agreement_with_a_reason(jobs):
    """Nobody hangs: training goes on, and commands are refused with the reason."""
    with jobs.start("--skip", 5, "--timeout", 16, ranks=2) as job:
        job.until(lambda rows: len(rows) == 2 and (rows["rank-0"].step or 0) > 5, "training")
        result = job.set(values={"lr": 0.02}, deadline=30)
        said = {each.replica: each for each in result.outcomes}["rank-0"]
        assert said.outcome in {"rejected", "failed"}
        assert "no vote of rank 1 within 8 s" in said.reason
        result = job.set(values={"lr": 0.03}, replicas=["rank-0"])
        assert outcomes(result) == {"rank-0": ("rejected", result.outcomes[0].step)}
        assert "no vote of rank 1 within 8 s" in result.outcomes[0].reason
        step = job.rows()["rank-0"].step
        job.until(lambda rows: rows["rank-0"].step > step, "training that goes on")
        assert "training goes on, and commands are refused" in job.logged(0)


def test_polls_without_the_step_are_refused_by_name(jobs):
    """Ranks cannot prove that they are at the same step; training goes on."""
    with jobs.start("--unnamed", ranks=2) as job:
        job.until_training()
        result = job.set(values={"lr": 0.02})
        assert set(outcomes(result).values()) <= {
            ("rejected", each.step) for each in result.outcomes
        }
        assert "poll(step)" in result.outcomes[0].reason


def test_a_pause_longer_than_every_time_out(jobs):
    """The store and the group give up after 4 s; a pause of 9 s harms neither."""
    with jobs.start("--timeout", 4, ranks=2) as job:
        job.until_training()
        assert is_at_one_step(job.pause(lease=9))
        job.until(lambda rows: {row.state for row in rows.values()} == {"paused"}, "pause")
        paused = max(row.step for row in job.rows().values())
        job.until(lambda rows: all(row.step > paused for row in rows.values()), "training")
        assert is_at_one_step(job.set(values={"lr": 0.02}))
        assert is_at_one_step(job.stop())
        job.wait()
        first, second = job.said()
        assert first == second
        assert first["stopped"]


@pytest.mark.parametrize("resumes", [True, False], ids=["from a checkpoint", "from nothing"])
def test_a_restarted_job_has_the_settings_of_the_log(jobs, tmp_path, resumes):
    """A rank is killed, torchrun starts all anew: what was applied holds again, on all ranks.

    What a checkpoint holds is not applied twice; else it is adopted, at one step.
    """
    state = tmp_path / "state.json"
    options = ("--checkpoint", state) if resumes else ()
    with jobs.start(*options, ranks=2, restarts=1) as job:
        job.until_training()
        assert is_at_one_step(job.set(values={"lr": 0.02}))
        assert is_at_one_step(job.set(values={"lr": 0.03, "momentum": 0.5}))
        old = {row.incarnation for row in job.rows().values()}
        os.kill(job.trainers()[1], signal.SIGKILL)
        job.until(
            lambda rows: (
                old.isdisjoint(row.incarnation for row in rows.values())
                and all((row.step or 0) > 1 for row in rows.values())
            ),
            "second life",
        )
        assert is_at_one_step(job.set(values={"lr": 0.04}, expect={"lr": 0.03, "momentum": 0.5}))
        adopted = [each for update in job.log() for each in update.outcomes if each.adopted]
        assert len(adopted) == (0 if resumes else 4)
        assert len({each.step for each in adopted}) == (0 if resumes else 1)
        assert is_at_one_step(job.stop())
        job.wait()
        first, second = job.said()
        assert first == second


def test_nested_sessions_do_not_meet_each_other(jobs):
    """Two sessions in each rank: each agrees with its like, also by a poll kept in a variable."""
    with jobs.start("--nested", ranks=2) as job:
        job.until_training()
        job.until_training(controls=1, run="inner")
        assert is_at_one_step(job.set(values={"lr": 0.02}))
        assert is_at_one_step(job.set("inner", values={"depth": 2}))
        assert is_at_one_step(job.stop())
        job.wait()


def test_a_control_of_one_rank_alone(jobs):
    """Set for all it is refused by the ranks that lack it; set for its rank it is done there."""
    with jobs.start("--last-only", ranks=2) as job:
        job.until_training()
        refused = job.set(values={"mine": 2})
        assert {kind for kind, _ in outcomes(refused).values()} == {"rejected"}
        assert "rank 0: mine: unknown control" in refused.outcomes[0].reason
        done = job.set(values={"mine": 2}, replicas=["rank-1"])
        assert is_at_one_step(done)
        assert list(outcomes(done)) == ["rank-1"]


def test_without_agreement_each_rank_decides_for_itself(jobs):
    """What one rank fails at is applied by the other."""
    with jobs.start("--agreement", "off", ranks=2) as job:
        job.until_training()
        result = job.set(values={"fragile": 1})
        assert {replica: kind for replica, (kind, _) in outcomes(result).items()} == {
            "rank-0": "applied",
            "rank-1": "failed",
        }
