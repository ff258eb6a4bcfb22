"""poll and report as closures over a page: what they write, take and refuse."""

from __future__ import annotations

import enum
import logging
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet import hotpath
from weavelet.channel.frames import Reader, encode
from weavelet.channel.page import Page
from weavelet.hotpath import make_poll, make_report, plain, poll_nothing, report_nothing
from weavelet.messages import Change, FromTrainer, Reports
from weavelet.testing import LocalEnd


class Number:
    """What a tensor or an array of one element looks like."""

    def __init__(self, value):
        self.value = value

    def item(self):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Index:
    """What an integer of another library looks like."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value


class Phase(str, enum.Enum):
    WARM = "warm"


class Level(enum.IntEnum):
    HIGH = 3


class Celsius(float):
    pass


@pytest.fixture
def page():
    page = Page.create()
    yield page
    page.close_descriptor()


@pytest.fixture
def end(page):
    return LocalEnd(page)


@pytest.fixture(autouse=True)
def said(caplog):
    """Nothing has been said before each test; what is said in it is caught."""
    hotpath._said.clear()
    caplog.set_level(logging.WARNING, "weavelet")
    return caplog


# poll


class Looks:
    """Records the looks of a poll, and answers them."""

    def __init__(self, page):
        self.steps = []
        self.answer = ((), False)
        self.poll = make_poll(page, self)

    def __call__(self, step):
        self.steps.append(step)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


@pytest.fixture
def looks(page):
    """A poll that has made its first look."""
    looks = Looks(page)
    looks.poll(0)
    looks.steps.clear()
    return looks


def test_the_first_poll_looks(page):
    """What came before the first poll is found by it."""
    looks = Looks(page)
    looks.poll(5)
    assert looks.steps == [5]


def test_an_idle_poll_only_writes_its_step(page, looks):
    """Without a ring nobody is asked; the page tells the step, and that only one poll looked."""
    assert looks.poll(41) == ()
    assert looks.poll(42) == ()
    assert looks.steps == []
    assert page.words[Page.STEP] == 42
    assert page.words[Page.LOOKS] == 1


def test_a_ring_is_looked_at_once(page, looks):
    """One ring, one look, and what it found is returned."""
    looks.answer = ((Change("lr", 1, 2),), False)
    page.ring()
    assert looks.poll(1) == (Change("lr", 1, 2),)
    assert looks.poll(2) == ()
    assert looks.steps == [1]


def test_a_ring_during_a_look_is_not_lost(page, looks):
    """What comes while we look is looked at by the next poll."""

    def look(step):
        looks.steps.append(step)
        page.ring()
        return (), False

    poll = make_poll(page, look)
    for step in range(3):
        poll(step)
    assert looks.steps == [0, 1, 2]


def test_what_waits_for_its_step_makes_every_poll_look(looks, page):
    """As long as something is scheduled, the bell is not waited for."""
    looks.answer = ((), True)
    page.ring()
    looks.poll(1)
    looks.poll(2)
    looks.answer = ((), False)
    looks.poll(3)
    looks.poll(4)
    assert looks.steps == [1, 2, 3]


def test_a_look_that_raises_is_made_again(looks, page):
    """An interrupted look does not swallow the ring."""
    page.ring()
    looks.answer = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        looks.poll(1)
    looks.answer = ((), False)
    looks.poll(2)
    looks.poll(3)
    assert looks.steps == [1, 2]


def test_a_poll_that_answers_the_bell_is_counted(page, looks):
    """Whoever rings can see that the trainer polls, though its step stands still."""
    page.ring()
    looks.poll(0)
    looks.poll(0)
    assert page.words[Page.LOOKS] == 2


def test_the_step_defaults_to_the_count_of_polls(page):
    """Without steps of its own a loop counts from 0."""
    looks = Looks(page)
    for _ in range(3):
        looks.poll()
    assert looks.steps == [0]
    assert page.words[Page.STEP] == 2
    page.ring()
    looks.poll()
    assert looks.steps == [0, 3]


def test_a_step_that_is_left_out_follows_the_last_one(page, looks):
    """A loop that names some of its steps goes on from there."""
    looks.poll(7)
    looks.poll()
    assert page.words[Page.STEP] == 8


def test_integers_of_other_libraries_are_steps(looks, page):
    """What has __index__ is taken, as numpy's integers are."""
    page.ring()
    looks.poll(Index(7))
    assert looks.steps == [7]
    assert type(looks.steps[0]) is int


@pytest.mark.parametrize("step", [1.0, "3", object(), [1], math.nan])
def test_a_step_that_is_no_integer_is_refused(looks, page, step):
    """TypeError says what a step is and what was got; nothing is counted."""
    with pytest.raises(
        TypeError, match="step must be an int, the count of optimizer steps"
    ) as info:
        looks.poll(step)
    assert repr(step) in str(info.value)
    assert page.words[Page.LOOKS] == 1


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1, 10**30])
def test_a_step_of_more_than_64_bits_is_refused(looks, step):
    """ValueError says the bound and what was got."""
    with pytest.raises(ValueError, match=rf"step must fit into 64 bits, got {step}"):
        looks.poll(step)


# report


def test_plain_values_travel_as_they_are(page, end):
    """Numbers, flags and text keep their types, NaN and infinities included."""
    report = make_report(page, end)
    metrics = {"a": 1, "b": 0.5, "c": True, "d": "warm", "e": math.inf, "f": math.nan}
    report(3, **metrics)
    (sample,) = end.samples
    assert sample.step == 3
    assert list(sample.metrics) == list(metrics)
    assert [type(value) for value in sample.metrics.values()] == [
        int,
        float,
        bool,
        str,
        float,
        float,
    ]
    assert math.isnan(sample.metrics["f"])


def test_any_name_can_be_a_metric(page, end):
    """`step` and `self` are metrics too, and names need not be identifiers."""
    report = make_report(page, end)
    report(1, **{"step": 2, "self": 3, "loss/train": 0.5})
    assert end.samples[0].metrics == {"step": 2, "self": 3, "loss/train": 0.5}


def test_a_step_given_by_name_is_the_step(page, end):
    """report(step=7, loss=1) is at step 7 and has no metric of that name."""
    report = make_report(page, end)
    report(step=7, loss=1.0)
    assert (end.samples[0].step, end.samples[0].metrics) == (7, {"loss": 1.0})


def test_what_has_item_gives_its_number(page, end):
    """Tensors and arrays of one element are asked for it; subclasses become plain."""
    report = make_report(page, end)
    report(0, a=Number(0.25), b=Number(7), c=Phase.WARM, d=Level.HIGH, e=Celsius(1.5), f=1)
    metrics = end.samples[0].metrics
    assert metrics == {"a": 0.25, "b": 7, "c": "warm", "d": 3, "e": 1.5, "f": 1}
    assert {type(value) for value in metrics.values()} == {float, int, str}


class Hostile:
    """Raises whatever is asked of it."""

    def __init__(self, error):
        self.error = error

    @property
    def item(self):
        raise self.error


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1.0],
        {"loss": 1.0},
        1j,
        object(),
        Number(RuntimeError("a tensor with 2 elements cannot be a number")),
        Number(ValueError("too many elements")),
        Number(AttributeError("broken")),
        Number(ZeroDivisionError()),
        Number([1, 2]),
        Hostile(OSError("gone")),
        float,
    ],
)
def test_what_is_no_number_is_left_out_and_said_once(page, end, said, value):
    """The others of the call arrive; the log names the metric and the type, a single time."""
    report = make_report(page, end)
    for step in range(3):
        report(step, loss=0.5, odd=value)
    assert [sample.metrics for sample in end.samples] == [{"loss": 0.5}] * 3
    assert len(said.records) == 1
    assert "leaves out odd" in said.text
    assert type(value).__name__ in said.text


def test_ctrl_c_in_a_tensor_goes_up(page, end):
    """A tensor that is waited for can be interrupted."""
    with pytest.raises(KeyboardInterrupt):
        make_report(page, end)(0, loss=Number(KeyboardInterrupt()))


def test_a_loop_with_changing_names_does_not_fill_the_log(page, end, said):
    """What is said is bounded."""
    report = make_report(page, end)
    for number in range(500):
        report(0, **{f"m{number}": None})
    assert len(said.records) <= 100


@pytest.mark.parametrize("step", [Index(7), Level.HIGH, True])
def test_steps_of_other_libraries_are_taken(page, end, step):
    """A step with __index__ becomes a plain int."""
    make_report(page, end)(step, loss=1.0)
    assert type(end.samples[0].step) is int
    assert end.samples[0].step == step.__index__()


@pytest.mark.parametrize(
    "step",
    ["3", 2.0, object(), Index(TypeError("only size-1 arrays")), Index(RuntimeError("CUDA"))],
)
def test_a_step_that_is_none_falls_back_to_that_of_the_last_poll(page, end, said, step):
    """report never raises: it takes the step of the last poll, and says so once."""
    page.words[Page.STEP] = 12
    report = make_report(page, end)
    report(step, loss=1.0)
    report(step, loss=1.0)
    assert [sample.step for sample in end.samples] == [12, 12]
    assert len(said.records) == 1
    assert "step" in said.text


def test_without_a_step_it_is_that_of_the_last_poll(page, end):
    """report() belongs to where the loop is."""
    page.words[Page.STEP] = 9
    make_report(page, end)(loss=1.0)
    assert end.samples[0].step == 9


def test_a_burst_is_sent_in_few_sendings(page, end):
    """A sending is made at once, and then not for each sample of a fast loop."""
    flushes = []
    end.flush = lambda: flushes.append(len(end.samples))
    report = make_report(page, end)
    report(0, loss=1.0)
    assert flushes == [1]
    count = 0
    while len(flushes) == 1:
        report(0, loss=1.0)
        count += 1
    assert count > 5


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.integers()),
    st.builds(Number, st.one_of(st.none(), st.integers(), st.floats(), st.complex_numbers())),
    st.sampled_from([Number(RuntimeError()), Index(ValueError()), Phase.WARM, Level.HIGH]),
)


@given(step=anything, metrics=st.dictionaries(st.text(), anything))
def test_report_never_raises(step, metrics):
    """Whatever it is given, a report returns, and what it kept are plain scalars."""
    page = Page.create()
    end = LocalEnd(page)
    make_report(page, end)(step, **metrics)
    (sample,) = end.samples
    assert type(sample.step) is int
    assert {type(value) for value in sample.metrics.values()} <= {bool, int, float, str}
    page.close_descriptor()


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.floats() | st.booleans()))
def test_what_plain_gives_can_be_sent(metrics):
    """Scalars come out of the channel as they went in."""
    page = Page.create()
    end = LocalEnd(page)
    make_report(page, end)(0, **metrics)
    (got,) = Reader(FromTrainer).feed(encode(Reports(0, tuple(end.samples))))
    assert repr(got.samples[0].metrics) == repr(plain(metrics))
    page.close_descriptor()


def test_nothing_does_nothing():
    """The poll and report of an inactive session take what the real ones take."""
    assert poll_nothing() == poll_nothing(3) == poll_nothing(step="x") == ()
    assert report_nothing(3, loss=1.0, step=4) is None
