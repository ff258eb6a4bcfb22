from __future__ import annotations

import msgspec
import pytest

from harness.weaver import LR, beat, lifecycle, outcome, registration
from weavelet.exceptions import CommandError
from weavelet.messages import Change, ReportBatch
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.lives import MOST_LIVES, MOST_REFUSED
from weavelet.weaver.protocol import JobView, Snapshot, StatusUpdate


def fleet_of(*registrations, at=0.0):
    fleet = Fleet(now=0.0)
    for order, one in enumerate(registrations, start=1):
        fleet.registered(one, order, at)
        fleet.began(one.identity.run, one.identity.job, order, 1000.0 + order)
    fleet.tick(at)
    return fleet


def rows(fleet, now):
    fleet.tick(now)
    return [
        (row.replica, row.incarnation, row.state)
        for job in fleet.snapshot(now)
        for row in job.replicas
    ]


def state(fleet, now):
    return rows(fleet, now)[0][2]


def test_a_heartbeat_of_no_numbers_can_be_read_by_clients():
    """NaN and infinities, which JSON has no word for, are left out of rate and vitals."""
    fleet = fleet_of(registration())
    odd = beat(rate=float("nan"), vitals={"load": float("inf"), "heat": 40.0})
    fleet.beat("train", "j1", odd, 1.0)
    told = msgspec.json.encode(fleet.snapshot(1.0))
    row = msgspec.json.decode(told, type=list[JobView])[0].replicas[0]
    assert (row.rate, row.vitals) == (0.0, {"heat": 40.0})


@pytest.mark.parametrize("word", ["running", "paused", "in-section", "stalled", "stopped"])
def test_a_state_is_what_the_last_heartbeat_says(word):
    """Until the first heartbeat a replica is starting."""
    fleet = fleet_of(registration())
    assert state(fleet, 0.0) == "starting"
    fleet.beat("train", "j1", beat(state=word), 1.0)
    assert state(fleet, 1.0) == word


def test_silence_is_unknown_and_ends_when_it_is_heard_again():
    """A replica that cannot be heard is never called dead."""
    fleet = fleet_of(registration())
    fleet.beat("train", "j1", beat(state="paused"), 1.0)
    assert state(fleet, 6.0) == "paused"
    assert state(fleet, 6.1) == "unknown"
    fleet.beat("train", "j1", beat(state="paused"), 7.0)
    assert state(fleet, 7.0) == "paused"


@pytest.mark.parametrize("word", ["exited", "crashed"])
def test_an_end_is_final(word):
    """A late heartbeat does not revive what ended, and silence does not make it unknown."""
    fleet = fleet_of(registration())
    fleet.ended("train", "j1", lifecycle(word, step=7, reason="why"), 1.0)
    fleet.beat("train", "j1", beat(), 2.0)
    assert state(fleet, 100.0) == word
    row = fleet.snapshot(100.0)[0].replicas[0]
    assert (row.step, row.reason) == (7, "why")


def test_a_restarted_replica_takes_its_predecessors_place():
    """One row per replica, of the newest incarnation."""
    fleet = fleet_of(registration())
    fleet.ended("train", "j1", lifecycle("crashed"), 1.0)
    assert rows(fleet, 1.0) == [("rank-0", "a", "crashed")]
    fleet.registered(registration(incarnation="b"), 9, 2.0)
    assert rows(fleet, 2.0) == [("rank-0", "b", "starting")]


def test_a_refused_second_incarnation_is_shown_as_conflict():
    """The first one keeps its place; when it ends and the other takes over, so does the row."""
    fleet = fleet_of(registration())
    fleet.beat("train", "j1", beat(), 1.0)
    fleet.registered(registration(incarnation="b"), 9, 1.0)
    fleet.ended("train", "j1", lifecycle("conflict", incarnation="b", reason="a lives"), 1.5)
    fleet.beat("train", "j1", beat(), 2.0)
    assert rows(fleet, 2.0) == [("rank-0", "a", "running"), ("rank-0", "b", "conflict")]
    fleet.ended("train", "j1", lifecycle("exited"), 3.0)
    fleet.beat("train", "j1", beat(incarnation="b"), 3.5)
    assert rows(fleet, 3.5) == [("rank-0", "b", "running")]


@pytest.mark.parametrize("word", ["exited", "crashed"])
def test_a_refused_incarnation_that_ends_takes_nobodys_place(word):
    """The one that has control is still shown, commanded, and keeps its job alive."""
    fleet = fleet_of(registration())
    fleet.beat("train", "j1", beat(), 1.0)
    fleet.beat("train", "j1", beat(incarnation="b", state="conflict", claiming=True), 1.2)
    fleet.registered(registration(incarnation="b"), 9, 1.3)
    fleet.ended("train", "j1", lifecycle(word, incarnation="b"), 2.0)
    for now in (2.0, 70.0):
        fleet.beat("train", "j1", beat(), now)
        assert rows(fleet, now) == [("rank-0", "a", "running")]
        assert fleet.addressed(fleet.find("train", None, now), ("rank-0",), now) == ("rank-0",)
        assert fleet.gone("train", "j1", "rank-0", now) is None


def refused_before(now, count=1):
    """A weaver that was started after incarnations had been refused and had ended."""
    fleet = Fleet(now)
    fleet.registered(registration(), 1, now - 5000.0)
    for number in range(count):
        name = f"b{number}"
        fleet.registered(registration(incarnation=name), number + 2, now - 3000.0 + number)
        fleet.ended("train", "j1", lifecycle("crashed", incarnation=name), now - 3000.0 + number)
    fleet.tick(now)
    return fleet


@pytest.mark.parametrize("count", [1, 2, 3 * MOST_LIVES])
def test_a_fresh_weaver_finds_out_who_was_refused(count):
    """Whoever is heard has control, though others registered later; until then nobody is gone."""
    fleet = refused_before(1000.0, count)
    job = fleet.find("train", None, 1000.0)
    assert fleet.is_live(job, 1000.0)
    assert fleet.gone("train", "j1", "rank-0", 1000.0) is None
    assert fleet.addressed(job, ("rank-0",), 1000.0) == ("rank-0",)
    assert fleet.beat("train", "j1", beat(), 1001.0)
    for now in (1001.0, 1100.0):
        fleet.beat("train", "j1", beat(), now)
        assert rows(fleet, now) == [("rank-0", "a", "running")]
        assert fleet.is_live(job, now)


def test_a_predecessor_that_nobody_hears_holds_no_place():
    """Two heartbeats after the weaver's start, the end of the newest life is that of the job."""
    fleet = refused_before(1000.0)
    assert rows(fleet, 1002.5) == [("rank-0", "b0", "crashed")]
    assert not fleet.is_live(fleet.find("train", None, 1002.5), 1002.5)


def test_the_end_of_whoever_had_control_is_that_of_the_replica():
    """Also where the weaver has heard no heartbeat: who ends last was not refused."""
    fleet = refused_before(1000.0)
    fleet.ended("train", "j1", lifecycle("exited", step=9), 1001.0)
    assert rows(fleet, 1003.0) == [("rank-0", "a", "exited")]


def test_samples_of_the_past_count_from_when_their_life_had_control():
    """Not those from before it took over, though it trained all the while."""
    fleet = fleet_of(registration(), registration(incarnation="b"))
    fleet.ended("train", "j1", lifecycle("exited"), 100.0)
    fleet.beat("train", "j1", beat(incarnation="b"), 106.0)
    batch = ReportBatch(
        replica="rank-0", incarnation="a", first=0, steps=(1,), at=(0.0,), columns={"x": (1.0,)}
    )
    later = msgspec.structs.replace(batch, incarnation="b")
    assert fleet.recalled("train", "j1", batch, 50.0)
    assert not fleet.recalled("train", "j1", later, 50.0)
    assert fleet.recalled("train", "j1", later, 106.0)
    assert fleet.recalled("train", "j1", msgspec.structs.replace(batch, incarnation="z"), 1.0)


def test_whoever_was_refused_is_forgotten_but_for_a_bounded_number():
    """Duplicates that are started without end take a bounded part of the memory."""
    fleet = fleet_of(registration())
    for number in range(1000):
        name = f"b{number}"
        fleet.beat("train", "j1", beat(incarnation=name, state="conflict"), 1.0)
        fleet.registered(registration(incarnation=name), number + 2, 1.0)
        fleet.ended("train", "j1", lifecycle("crashed", incarnation=name), 1.0)
    replica = fleet.runs["train"]["j1"].replicas["rank-0"]
    assert len(replica.refused) == MOST_REFUSED
    assert replica.current.identity.incarnation == "a"


def test_an_incarnation_heard_after_it_was_succeeded_is_a_conflict():
    """Two that both believe to be in control are shown, whoever should have refused."""
    fleet = fleet_of(registration())
    fleet.registered(registration(incarnation="b"), 9, 1.0)
    assert rows(fleet, 1.0) == [("rank-0", "b", "starting")]
    fleet.beat("train", "j1", beat(), 2.0)
    assert rows(fleet, 2.0) == [("rank-0", "b", "starting"), ("rank-0", "a", "conflict")]


def test_commands_go_to_the_newest_live_job():
    """Newest by the place of its Begin in the stream, as long as one of its replicas lives."""
    fleet = fleet_of(registration(job="old"), registration(job="new"))
    assert fleet.find("train", None, 0.0).name == "new"
    fleet.ended("train", "new", lifecycle("exited"), 1.0)
    assert fleet.find("train", None, 1.0).name == "old"
    fleet.ended("train", "old", lifecycle("exited"), 2.0)
    assert fleet.find("train", None, 2.0).name == "new"


def test_a_job_that_fell_silent_hides_an_older_one_for_a_minute_only():
    """A short partition does not turn commands to another job; a lost job does not keep them."""
    fleet = fleet_of(registration(job="old"), registration(job="new"))
    fleet.beat("train", "old", beat(), 61.0)
    assert fleet.find("train", None, 30.0).name == "new"
    assert fleet.find("train", None, 61.0).name == "old"


def test_a_fresh_weaver_takes_silence_for_life_at_first():
    """Right after the weaver's start a replica registered long ago can be commanded."""
    fleet = Fleet(now=1000.0)
    fleet.registered(registration(), 1, at=-5000.0)
    job = fleet.find("train", None, 1000.0)
    assert rows(fleet, 1000.0) == [("rank-0", "a", "unknown")]
    assert fleet.addressed(job, (), 1000.0) == ("rank-0",)
    with pytest.raises(CommandError, match="has been heard for"):
        fleet.addressed(job, (), 1061.0)
    assert fleet.addressed(job, ("rank-0",), 1061.0) == ("rank-0",)


def test_what_is_not_there_is_refused_with_what_is():
    """The error lists what could have been named instead."""
    fleet = fleet_of(registration(), registration("rank-1"))
    for code, known, call in (
        ("unknown_run", ("train",), lambda: fleet.find("tain", None, 0.0)),
        ("unknown_job", ("j1",), lambda: fleet.find("train", "j2", 0.0)),
        (
            "unknown_replica",
            ("rank-0", "rank-1"),
            lambda: fleet.addressed(fleet.find("train", None, 0.0), ("rank-9",), 0.0),
        ),
    ):
        with pytest.raises(CommandError) as caught:
            call()
        assert (caught.value.code, caught.value.known) == (code, known)


def test_the_ended_are_not_addressed():
    """A command to all goes to the living; one to the ended by name is refused."""
    fleet = fleet_of(registration(), registration("rank-1"))
    fleet.ended("train", "j1", lifecycle("exited"), 1.0)
    job = fleet.find("train", None, 1.0)
    assert fleet.addressed(job, (), 1.0) == ("rank-1",)
    with pytest.raises(CommandError, match="rank-0' has exited"):
        fleet.addressed(job, ("rank-0",), 1.0)
    assert fleet.gone("train", "j1", "rank-0", 1.0) == "exited before it answered"
    assert fleet.gone("train", "j1", "rank-1", 1.0) is None


def test_the_last_value_of_each_metric_is_kept():
    """A metric absent from the last sample keeps its last value; NaN is shown as NaN."""
    fleet = fleet_of(registration())
    batch = ReportBatch(
        replica="rank-0",
        incarnation="a",
        first=0,
        steps=(1, 2),
        at=(0.0, 0.1),
        columns={"loss": (1.0, float("nan")), "accuracy": (0.5, None)},
    )
    assert fleet.reported("train", "j1", batch, 1.0)
    assert fleet.snapshot(1.0)[0].replicas[0].metrics == {"loss": "NaN", "accuracy": 0.5}
    stranger = msgspec.structs.replace(batch, incarnation="z")
    assert not fleet.reported("train", "j1", stranger, 1.0)


def test_the_last_samples_count_though_they_come_after_the_end():
    """A sidecar says the end first: the final accuracy is not lost, the state stays final."""
    fleet = fleet_of(registration())
    fleet.ended("train", "j1", lifecycle("exited"), 1.0)
    batch = ReportBatch(
        replica="rank-0", incarnation="a", first=0, steps=(9,), at=(0.0,), columns={"acc": (0.9,)}
    )
    assert fleet.reported("train", "j1", batch, 1.1)
    (row,) = fleet.snapshot(1.1)[0].replicas
    assert (row.state, row.metrics) == ("exited", {"acc": 0.9})


def test_deltas_hold_what_changed_and_nothing_else():
    """After a heartbeat of one replica only that one is sent, whole."""
    fleet = fleet_of(registration(), registration("rank-1"))
    since = fleet.version
    assert fleet.changes(since, 0.5) is None
    fleet.beat("train", "j1", beat("rank-1", step=3), 1.0)
    fleet.tick(1.0)
    update = fleet.changes(since, 1.0)
    assert isinstance(update, StatusUpdate)
    assert [(row.replica, row.step) for row in update.replicas] == [("rank-1", 3)]
    assert update.replicas[0].controls[0].name == LR.name
    assert update.jobs == []
    assert fleet.changes(since, 1.0, runs=["other"]) is None


def test_the_passing_of_time_is_a_change():
    """Silence reaches clients without any message."""
    fleet = fleet_of(registration())
    since = fleet.version
    fleet.tick(6.0)
    update = fleet.changes(since, 6.0)
    assert [row.state for row in update.replicas] == ["unknown"]
    fleet.tick(61.0)
    assert [job.live for job in fleet.changes(since, 61.0).jobs] == [False]


def test_a_freeze_is_a_change_of_the_job():
    """Clients see who froze a job."""
    fleet = fleet_of(registration())
    since = fleet.version
    fleet.froze("train", "j1", "ann@host")
    fleet.tick(1.0)
    assert [job.frozen_by for job in fleet.changes(since, 1.0).jobs] == ["ann@host"]


def test_a_change_brings_all_rows_of_its_replica():
    """So that a client can put them in the place of all earlier ones."""
    fleet = fleet_of(registration())
    fleet.beat("train", "j1", beat(incarnation="b", state="conflict"), 1.0)
    fleet.tick(1.0)
    update = fleet.changes(0, 1.0)
    assert [row.state for row in update.jobs[0].replicas] == ["starting", "conflict"]
    since = fleet.version
    fleet.tick(6.5)
    update = fleet.changes(since, 6.5)
    assert [(row.incarnation, row.state) for row in update.replicas] == [("a", "unknown")]


def test_after_another_store_clients_get_a_snapshot():
    """Deltas cannot say that everything is gone."""
    fleet = fleet_of(registration())
    since = fleet.version
    fleet.clear(1.0)
    fleet.tick(1.0)
    assert fleet.changes(since, 1.0) == Snapshot(jobs=[])
    assert fleet.changes(fleet.version, 1.0) is None


def test_a_forgotten_job_is_removed_at_the_clients():
    """Also when it was the last of its run."""
    fleet = fleet_of(registration())
    since = fleet.version
    fleet.forget("train", "j1")
    fleet.tick(1.0)
    assert fleet.changes(since, 1.0).removed == [("train", "j1")]
    assert fleet.snapshot(1.0) == []


def test_what_was_applied_is_the_value_that_is_shown():
    """An applied outcome's new values replace those of the registration; others do not."""
    fleet = fleet_of(registration())
    fleet.answered("train", "j1", outcome("e1", changes=(Change("lr", 0.1, 0.25),)), 1.0)
    refused = outcome("e2", "rejected", changes=(Change("lr", 0.25, 0.9),))
    fleet.answered("train", "j1", refused, 2.0)
    (job,) = fleet.snapshot(2.0)
    assert {control.name: control.value for control in job.replicas[0].controls}["lr"] == 0.25


def row(fleet, now):
    """The only replica."""
    fleet.tick(now)
    (job,) = fleet.snapshot(now)
    return job.replicas[0]


def test_whoever_beats_on_has_not_ended():
    """An end that was said in error is taken back by heartbeats that go on long after it."""
    fleet = Fleet(0.0)
    fleet.registered(registration(), 1, 0.0)
    fleet.ended("train", "j1", lifecycle("crashed", reason="forged"), 1.0)
    for now in (1.5, 4.0):
        fleet.beat("train", "j1", beat(), now)
        assert row(fleet, now).state == "crashed"
    fleet.beat("train", "j1", beat(step=7), 7.0)
    found = row(fleet, 7.0)
    assert (found.state, found.reason, found.step) == ("running", None, 7)
    fleet.ended("train", "j1", lifecycle("crashed"), 8.0)
    assert row(fleet, 8.0).state == "crashed"


def test_lives_without_number_are_not_all_kept():
    """Strangers and restarts in a crowd do not fill the memory; the newest life stays."""
    fleet = Fleet(0.0)
    for number in range(1000):
        fleet.registered(registration(incarnation=f"life-{number}"), number + 1, 1.0)
        said = beat(incarnation=f"stranger-{number}", state="conflict")
        fleet.beat("train", "j1", said, 1.0)
    replica = fleet.runs["train"]["j1"].replicas["rank-0"]
    assert len(replica.incarnations) == MOST_LIVES
    assert replica.current.identity.incarnation == "life-999"


def test_what_one_replica_reports_is_bounded():
    """Names without end, and texts without end, take a bounded part of a row."""
    fleet = Fleet(0.0)
    fleet.registered(registration(), 1, 0.0)
    for number in range(3000):
        columns = {f"metric {number} " + "x" * 300: ("y" * 5000,)}
        batch = ReportBatch(
            replica="rank-0",
            incarnation="a",
            first=number,
            steps=(0,),
            at=(0.0,),
            columns=columns,
        )
        fleet.reported("train", "j1", batch, 1.0)
    metrics = row(fleet, 1.0).metrics
    assert len(metrics) > 100
    assert sum(map(len, metrics)) <= 100_000
    assert {len(text) for text in metrics.values()} == {1000}


def test_removals_without_number_end_in_a_snapshot():
    """A client that slept through a thousand removals is told everything afresh."""
    fleet = Fleet(0.0)
    before = fleet.version
    for number in range(1500):
        fleet.registered(registration(job=f"j{number}"), number + 1, 0.0)
        fleet.forget("train", f"j{number}")
    assert isinstance(fleet.changes(before, 1.0), Snapshot)
    assert len(fleet.changes(fleet.version - 1, 1.0).removed) == 1


def values(fleet, now=1.0):
    fleet.tick(now)
    row = fleet.snapshot(now)[0].replicas[0]
    return {control.name: control.value for control in row.controls if control.kind == "control"}


def test_a_heartbeat_tells_what_a_schedule_has_made_of_a_value():
    """It is shown instead of what was registered; names that are none of the controls are not."""
    fleet = fleet_of(registration())
    fleet.beat("train", "j1", beat(control_values={"lr": 0.05, "other": 1}), 1.0)
    assert values(fleet) == {"lr": 0.05}
    fleet.beat("train", "j1", beat(), 1.0)
    assert values(fleet) == {"lr": 0.05}


def test_a_heartbeat_from_before_an_outcome_does_not_hide_it():
    """What was applied is shown, although an older heartbeat comes after it."""
    fleet = fleet_of(registration())
    said = outcome("e1", sequence=7, changes=(Change("lr", 0.05, 0.01),))
    fleet.answered("train", "j1", said, 1.0)
    fleet.beat("train", "j1", beat(received=6, control_values={"lr": 0.05}), 1.0)
    assert values(fleet) == {"lr": 0.01}
    fleet.beat("train", "j1", beat(received=7, control_values={"lr": 0.009}), 1.0)
    assert values(fleet) == {"lr": 0.009}


def ended_jobs(count):
    """A fleet of jobs of one run that are over, the last of them the newest."""
    fleet = fleet_of(*[registration(job=f"j{number}") for number in range(count)])
    for number in range(count):
        fleet.ended("train", f"j{number}", lifecycle("exited"), 1.0)
    for now in (2.0, 4.0):
        fleet.tick(now)
    return fleet


def test_jobs_that_are_over_are_looked_at_no_more():
    """However many there were, the passing of time costs what is underway."""
    fleet = ended_jobs(100)
    assert fleet._roll.jobs() == []
    fleet.registered(registration(job="next"), 200, 5.0)
    for now in (5.0, 7.0):
        fleet.tick(now)
        fleet.beat("train", "next", beat(), now)
    assert [job.name for job in fleet._roll.jobs()] == ["next"]
    assert [job.name for job in fleet.live(7.0)] == ["next"]


def test_a_job_that_is_over_learns_that_it_is_the_newest_no_more():
    """And that it is again, once the newer one is removed."""
    fleet = ended_jobs(3)
    for now, change, newest in (
        (5.0, lambda: fleet.began("train", "next", 200, 2000.0), {"next": True, "j2": False}),
        (9.0, lambda: fleet.forget("train", "next"), {"j2": True}),
    ):
        before = fleet.version
        change()
        fleet.tick(now)
        assert {job.job: job.newest for job in fleet.changes(before, now).jobs} == newest
        fleet.tick(now + 2.0)
    assert fleet._roll.jobs() == []


def test_a_job_that_was_over_in_error_is_underway_again():
    """Heartbeats that go on bring it back, with all that follows from them."""
    fleet = ended_jobs(2)
    fleet.beat("train", "j0", beat(step=7), 60.0)
    fleet.tick(60.0)
    assert fleet.find("train", None, 60.0).name == "j0"
    fleet.tick(66.0)
    assert [job.replicas[0].state for job in fleet.snapshot(66.0)] == ["unknown", "exited"]


def test_changes_of_some_runs_are_those_of_their_jobs():
    """A client that asked for one run hears of no other, in snapshots and in deltas."""
    fleet = fleet_of(registration(), registration(run="other"))
    before = fleet.version
    for run in ("train", "other"):
        fleet.beat(run, "j1", beat(step=1), 1.0)
    fleet.tick(1.0)
    for runs, told in ((("other",), ["other"]), ((), ["train", "other"]), (("gone",), [])):
        wanted = frozenset(runs)
        assert [job.run for job in fleet.snapshot(1.0, wanted)] == told
        changes = fleet.changes(before, 1.0, wanted)
        assert {row.run for row in changes.replicas} == set(told) if told else changes is None
