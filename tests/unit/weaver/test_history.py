"""Past samples, thinned out."""

import math

import pytest

from weavelet.exceptions import CommandError
from weavelet.messages import ReportBatch
from weavelet.weaver.history import (
    LONGEST,
    MOST_ANSWERED,
    MOST_NAMES,
    SHORTEST,
    Curve,
    History,
    answers,
)
from weavelet.weaver.lives import Job, Replica
from weavelet.weaver.protocol import ReadHistory

KEY = ("train", "j1", "rank-0")


def batch(first, steps, *, incarnation="a", at=None, **columns):
    """Samples of one replica."""
    return ReportBatch(
        replica="rank-0",
        incarnation=incarnation,
        first=first,
        steps=tuple(steps),
        at=tuple(at or (float(step) for step in steps)),
        columns={name: tuple(column) for name, column in columns.items()},
    )


def filled(values, **options):
    """A history of one metric with a sample a step, a hundred samples a batch."""
    history = History(**options)
    for first in range(0, len(values), 100):
        part = values[first : first + 100]
        history.add(KEY, batch(first, range(first, first + len(part)), loss=part))
    return history


def series(history, name="loss", *, points=10_000, since=None):
    return history.read(KEY, [name], points=points, since=since)[name]


def test_what_is_little_comes_back_as_it_was():
    """Samples that fit are kept one by one, with their times."""
    history = History()
    history.add(KEY, batch(0, [3, 4], at=[10.0, 11.0], loss=[0.5, 0.25], done=[False, True]))
    found = series(history)
    assert (found.steps, found.at) == ([3, 4], [10.0, 11.0])
    assert found.min == found.max == found.mean == [0.5, 0.25]
    assert series(history, "done").mean == [0.0, 1.0]


def test_thinned_out_it_goes_back_to_the_first_sample_and_keeps_every_peak():
    """A long curve begins at its first step, and no extreme value gets lost in it."""
    values = [math.sin(step / 500) for step in range(50_000)]
    values[777], values[40_001] = 99.0, -99.0
    found = series(filled(values))
    assert len(found.steps) <= LONGEST
    assert len(found.steps) > LONGEST / 4
    assert found.steps[0] == 0
    assert found.steps == sorted(set(found.steps))
    assert (max(found.max), min(found.min)) == (99.0, -99.0)
    assert all(
        low <= mean <= high
        for low, mean, high in zip(found.min, found.mean, found.max, strict=True)
    )
    peak = found.max.index(99.0)
    assert found.steps[peak] <= 777 < found.steps[peak + 1]


def test_the_mean_is_that_of_all_samples_of_a_point():
    """Merged means are weighted by what they stand for."""
    found = series(filled([float(step) for step in range(5000)]), points=1)
    assert (found.steps, found.min, found.max) == ([0], [0.0], [4999.0])
    assert found.mean == [pytest.approx(2499.5)]


@pytest.mark.parametrize("points", [1, 2, 7, 100])
def test_no_more_points_than_asked_for(points):
    """An answer has at most as many points as were asked for."""
    values = [math.nan if step % 2 else float(step) for step in range(3000)]
    assert 0 < len(series(filled(values), points=points).steps) <= points


def test_what_is_not_finite_stays_a_point_of_its_own():
    """NaN and the infinities keep their names and their steps, and spoil no neighbour."""
    values = [1.0] * 10_000
    values[5000], values[6000], values[7000] = math.nan, math.inf, -math.inf
    found = series(filled(values))
    odd = {value: step for step, value in zip(found.steps, found.mean, strict=True) if value != 1.0}
    assert odd == {"NaN": 5000, "Infinity": 6000, "-Infinity": 7000}
    assert set(found.min) == set(found.max) == {1.0, *odd}


def test_a_curve_of_nothing_but_odd_samples_is_bounded():
    """NaN and numbers in turn take no more room than anything else."""
    curve = Curve()
    for step in range(20_000):
        curve.add(step, 0.0, (1.0, math.nan, math.inf)[step % 3], 128)
        assert len(curve) <= 128
    assert curve.points()[0].step == 0


def test_the_greatest_numbers_have_a_mean():
    """Summing up does not make a finite curve infinite."""
    found = series(filled([1.7e308, -1.7e308] * 5000), points=10)
    assert all(isinstance(value, float) and abs(value) < 1.7e308 for value in found.mean)


def test_text_and_gaps_are_left_out():
    """Text metrics have no curve, and a sample without the metric is no point."""
    history = History()
    history.add(KEY, batch(0, [0, 1, 2], loss=[None, 2.0, None], phase=["warm", "up", "x"]))
    assert history.names(KEY) == ["loss"]
    assert series(history).steps == [1]


def test_what_comes_twice_counts_once():
    """A batch that was sent again, whole or in part, changes nothing."""
    history = History()
    history.add(KEY, batch(0, [0, 1], loss=[1.0, 2.0]))
    history.add(KEY, batch(0, [0, 1], loss=[1.0, 2.0]))
    history.add(KEY, batch(1, [1, 2], loss=[2.0, 3.0]))
    assert series(history).steps == [0, 1, 2]


def test_a_later_life_replaces_what_it_trains_again():
    """After a restart from a checkpoint the curve goes on from there, without a knot."""
    history = History()
    history.add(KEY, batch(0, range(10), loss=[1.0] * 10))
    history.add(KEY, batch(0, [6, 7], incarnation="b", loss=[2.0, 2.0]))
    found = series(history)
    assert found.steps == [0, 1, 2, 3, 4, 5, 6, 7]
    assert found.mean[-3:] == [1.0, 2.0, 2.0]


def test_only_from_a_step_on():
    """`since` leaves out what lies before it."""
    assert series(filled([0.0] * 50), since=40).steps == list(range(40, 50))


def test_names_that_are_not_there_are_left_out():
    """Who asks for an unknown metric gets the known ones; an unknown replica has none."""
    history = filled([1.0])
    assert list(history.read(KEY, ["loss", "other"], points=10)) == ["loss"]
    assert history.read(("train", "j1", "rank-9"), points=10) == {}


def test_all_curves_share_one_room():
    """Many curves have fewer points each, but each keeps its whole length."""
    history = History(room=1000)
    names = [f"m{number}" for number in range(10)]
    for first in range(0, 5000, 100):
        part = {name: [1.0] * 100 for name in names}
        history.add(KEY, batch(first, range(first, first + 100), **part))
    for name in names:
        found = series(history, name)
        assert found.steps[0] == 0
        assert SHORTEST / 2 <= len(found.steps) <= 100


def test_metrics_without_end_end():
    """A metric named anew at each step takes a bounded number of curves."""
    history = History()
    for step in range(3 * MOST_NAMES):
        history.add(KEY, batch(step, [step], **{f"loss_{step}": [1.0]}))
    assert len(history.names(KEY)) == MOST_NAMES
    history = History()
    for step in range(10):
        history.add(KEY, batch(step, [step], **{f"{step}" * 60_000: [1.0]}))
    assert len(history.names(KEY)) == 1


def test_who_was_silent_for_longest_goes_first():
    """Beyond the number of curves in all, the replica that reported last stays."""
    history = History(most_curves=3)
    for rank in (0, 1, 2, 0, 3):
        history.add(("train", "j1", f"rank-{rank}"), batch(0, [0], loss=[1.0]))
    kept = [rank for rank in range(4) if history.names(("train", "j1", f"rank-{rank}"))]
    assert kept == [0, 2, 3]


def test_a_forgotten_job_has_no_past():
    """What was removed is not shown any more."""
    history = filled([1.0])
    history.forget("train", "j1")
    assert history.read(KEY, points=10) == {}


def test_times_that_are_none_are_left_out():
    """A time that is no number does not travel as a word."""
    history = History()
    history.add(KEY, batch(0, [0], at=[math.nan], loss=[1.0]))
    assert series(history).at == [0.0]


def job(*replicas):
    """A job with these replicas."""
    return Job("train", "j1", replicas={name: Replica() for name in replicas})


def asked(**more):
    return ReadHistory(id="n1", run="train", **more)


def told(*arguments):
    """The answers, without the places where others have their turn."""
    return [one for one in answers(*arguments) if one is not None]


def test_others_have_their_turn_before_each_series():
    """A replica with many metrics does not hold up who else is connected."""
    history = History()
    history.add(KEY, batch(0, [0], **{f"m{number}": [1.0] for number in range(5)}))
    found = list(answers(asked(), job("rank-0"), history))
    assert len(found[-1].series) == 5
    assert found.count(None) > 5


def test_a_request_is_answered_replica_by_replica():
    """Each replica has one answer, in order, and the last one says so."""
    history = filled([1.0, 2.0])
    found = told(asked(), job("rank-0", "rank-1"), history)
    assert [(one.replica, list(one.series), one.last) for one in found] == [
        ("rank-0", ["loss"], False),
        ("rank-1", [], True),
    ]
    assert {(one.id, one.run, one.job) for one in found} == {("n1", "train", "j1")}
    (only,) = told(asked(replicas=["rank-1", "rank-1"]), job("rank-0", "rank-1"), history)
    assert (only.replica, only.last) == ("rank-1", True)


def test_a_past_that_is_still_being_read_is_not_called_complete():
    """The client knows of which replicas to ask again."""
    found = told(asked(), job("rank-0", "rank-1"), filled([1.0]), {KEY})
    assert [(one.replica, one.complete) for one in found] == [("rank-0", False), ("rank-1", True)]


def test_a_job_without_replicas_is_answered_too():
    """A client never waits for an answer that does not come."""
    (only,) = told(asked(), job(), History())
    assert (only.series, only.last) == ({}, True)


def test_an_answer_is_bounded_however_much_is_asked_for():
    """Many series have fewer points each, so that an answer can be sent."""
    history = History()
    names = [f"m{number}" for number in range(400)]
    for first in range(0, 1000, 100):
        part = {name: [1.0] * 100 for name in names}
        history.add(KEY, batch(first, range(first, first + 100), **part))
    (only,) = told(asked(points=10**9), job("rank-0"), history)
    assert len(only.series) == 400
    assert sum(len(one.steps) for one in only.series.values()) <= MOST_ANSWERED


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (asked(points=0), "invalid_value"),
        (asked(points=-1), "invalid_value"),
        (asked(replicas=["rank-7"]), "unknown_replica"),
    ],
)
def test_what_cannot_be_answered_is_refused(request_, code):
    """A request that makes no sense has an error that names what does."""
    with pytest.raises(CommandError) as caught:
        list(answers(request_, job("rank-0"), History()))
    assert caught.value.code == code
