"""How fast a trainer moves and when it hangs, with a clock of our own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet.channel.page import Phase
from weavelet.sidecar.progress import STALL_FLOOR, Progress, Work, state


class Watched:
    """A trainer as the page shows it, looked at once a second."""

    def __init__(self):
        self.progress = Progress(0.0)
        self.now = 0.0
        self.looks = 0
        self.step = 0
        self.phase = Phase.STARTING
        self.paused = 0.0
        self.moved = False

    def pass_time(self, seconds, *, steps=0, answers=0):
        """Some time goes by, in which the trainer takes steps or answers the bell."""
        self.now += seconds
        self.step += steps
        self.looks += answers
        self.moved = self.progress.look(self.now, self.looks, self.step, self.phase, self.paused)

    def run(self, seconds, rate):
        """Train for a while at a steady rate."""
        self.phase = Phase.RUNNING
        self.looks = self.looks or 1
        for _ in range(seconds):
            self.pass_time(1.0, steps=rate)

    def pause(self, seconds):
        """Hold at a safe point, which is counted when it ends."""
        self.phase = Phase.PAUSED
        for _ in range(seconds):
            self.pass_time(1.0)
        self.paused += seconds
        self.phase = Phase.RUNNING

    @property
    def stalled(self):
        return self.progress.stalled(self.now)


@pytest.fixture
def watched():
    return Watched()


def test_there_is_no_rate_before_two_looks(watched):
    """Nothing is claimed of what has not been seen."""
    assert watched.progress.rate == 0.0
    watched.pass_time(1.0)
    assert watched.progress.rate == 0.0


def test_the_rate_is_steps_a_second_over_the_last_looks(watched):
    """It follows a change of speed within the window, and is exact when steady."""
    watched.run(20, rate=50)
    assert watched.progress.rate == pytest.approx(50)
    watched.run(20, rate=5)
    assert watched.progress.rate == pytest.approx(5)


def test_pauses_are_taken_out_of_the_rate(watched):
    """A trainer that was held is as fast as before."""
    watched.run(5, rate=10)
    watched.pause(100)
    watched.run(3, rate=10)
    assert watched.progress.rate == pytest.approx(10)


def test_the_rate_of_a_trainer_that_stands_goes_to_nothing(watched):
    """A standstill that is no pause is a rate of 0."""
    watched.run(5, rate=10)
    watched.run(20, rate=0)
    assert watched.progress.rate == 0.0


def test_steps_that_begin_again_are_no_negative_rate(watched):
    """A loop that counts from 0 in each epoch."""
    watched.run(5, rate=10)
    watched.step = 0
    watched.pass_time(1.0)
    assert watched.progress.rate >= 0.0
    watched.run(12, rate=10)
    assert watched.progress.rate == pytest.approx(10)


def test_a_hang_is_told_after_the_floor(watched):
    """A fast trainer that stands still is stalled after 30 s and not before."""
    watched.run(10, rate=100)
    watched.pass_time(STALL_FLOOR - 0.5)
    assert not watched.stalled
    watched.pass_time(1.0)
    assert watched.stalled
    watched.pass_time(1.0, steps=1)
    assert not watched.stalled


def test_a_slow_trainer_has_ten_of_its_steps(watched):
    """Steps of 20 s: no hang within 200 s."""
    watched.phase, watched.looks = Phase.RUNNING, 1
    watched.pass_time(1.0)
    for _ in range(6):
        watched.pass_time(20.0, steps=1)
    watched.pass_time(195.0)
    assert not watched.stalled
    watched.pass_time(10.0)
    assert watched.stalled


def test_before_the_first_poll_nothing_is_a_hang(watched):
    """Loading a data set may take an hour."""
    for _ in range(100):
        watched.pass_time(36.0)
    assert not watched.stalled


def test_a_trainer_that_answers_the_bell_moves(watched):
    """Polls within one step, as while gradients are accumulated, are signs of life."""
    watched.run(3, rate=10)
    for _ in range(100):
        watched.pass_time(1.0, answers=1)
        assert watched.moved
    assert not watched.stalled


def test_it_is_said_whether_the_trainer_has_moved(watched):
    """Whoever looks rings the bell of a trainer that has not."""
    watched.run(1, rate=1)
    assert watched.moved
    watched.pass_time(1.0)
    assert not watched.moved


@pytest.mark.parametrize("phase", [Phase.PAUSED, Phase.IN_SECTION])
def test_a_held_trainer_and_one_in_a_section_do_not_hang(watched, phase):
    """However long it takes; and the time does not count as a slow step afterwards."""
    watched.run(10, rate=100)
    watched.phase = phase
    for _ in range(1000):
        watched.pass_time(1.0)
        assert not watched.stalled
    watched.run(5, rate=100)
    watched.pass_time(STALL_FLOOR + 1)
    assert watched.stalled


looks = st.tuples(
    st.floats(0.01, 60),
    st.integers(0, 1000),
    st.integers(0, 2),
    st.sampled_from([Phase.STARTING, Phase.RUNNING, Phase.PAUSED, Phase.IN_SECTION]),
)


@given(st.lists(looks, max_size=40))
def test_a_trainer_that_moves_is_never_stalled(seen):
    """Whatever the page shows, the rate is no nonsense, and movement ends a stall."""
    watched = Watched()
    for seconds, steps, answers, phase in seen:
        watched.phase = phase
        watched.pass_time(seconds, steps=steps, answers=answers)
        assert 0.0 <= watched.progress.rate < float("inf")
        if steps or answers or phase in {Phase.PAUSED, Phase.IN_SECTION}:
            assert not watched.stalled


QUIET = {"frozen": False, "stalled": False, "overdue": False, "conflict": False}


@pytest.mark.parametrize(
    ("phase", "looks", "signs", "word"),
    [
        (Phase.RUNNING, 0, (), "starting"),
        (Phase.RUNNING, 1, (), "running"),
        (Phase.RUNNING, 1, ("stalled",), "stalled"),
        (Phase.PAUSED, 1, (), "paused"),
        (Phase.PAUSED, 1, ("overdue",), "paused"),
        (Phase.IN_SECTION, 1, (), "in-section"),
        (Phase.IN_SECTION, 1, ("stalled",), "in-section"),
        (Phase.IN_SECTION, 1, ("overdue",), "stalled"),
        (Phase.PAUSED, 1, ("frozen",), "stopped"),
        (Phase.RUNNING, 1, ("frozen", "stalled"), "stopped"),
        (Phase.RUNNING, 1, ("conflict", "frozen"), "conflict"),
    ],
)
def test_the_strongest_sign_gives_the_word(phase, looks, signs, word):
    """Refused control before frozen, frozen before paused, paused before stalled."""
    assert state(phase, looks, **{**QUIET, **dict.fromkeys(signs, True)}) == word


def test_own_work_is_the_median_of_steps():
    """A step that is seen twice counts once; steps that could not tell count for nothing."""
    work = Work()
    assert work.median is None
    for step, microseconds in enumerate((0, 1000, 90_000, 2000)):
        work.look(step, microseconds)
        work.look(step, 500_000)
    assert work.median == 0.002


def test_own_work_is_forgotten_when_it_cannot_be_told():
    """What was true of earlier steps is not said of those of today."""
    work = Work()
    work.look(0, 1000)
    for step in range(1, 17):
        work.look(step, 0)
    assert work.median is None
