"""What waits for the bus, on a bus that has no server: nothing kept is lost, samples are shed."""

from __future__ import annotations

import asyncio
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet.exceptions import MalformedError
from weavelet.messages import Lifecycle, Outcome, ReportBatch, Sample
from weavelet.sidecar import outbox
from weavelet.sidecar.outbox import KEPT_BYTES, KEPT_SAMPLES, Outbox, columnar
from weavelet.wire.bus import Bus, BusError
from weavelet.wire.envelope import decode, encode


@pytest.fixture
def box():
    """An outbox whose bus knows of no server."""
    return Outbox(Bus(lambda: None, name="test"), words(), "train", "j1", "rank-0", "life")


def words():
    """A page's words, all 0."""
    return memoryview(bytearray(4096)).cast("q")


def sample(number, **metrics):
    """A sample whose step is its number."""
    return Sample(number, float(number), metrics or {"loss": 0.5})


def samples(first, count):
    return tuple(sample(number) for number in range(first, first + count))


def held(box):
    """The numbers of the samples that wait."""
    return [number for number, _ in box._samples]


def outcome(**fields):
    return Outcome(
        entry="e", sequence=1, replica="rank-0", incarnation="life", kind="applied", **fields
    )


# Columns.


def test_samples_become_columns():
    """Each metric is a column over all steps; times move to the wall clock."""
    part = [
        (7, Sample(100, 5.0, {"loss": 0.5})),
        (8, Sample(101, 6.0, {"loss": 0.25, "phase": "warm"})),
    ]
    batch = columnar("rank-0", "life", part, lambda: 1000.0, lambda: 10.0)
    assert batch == ReportBatch(
        replica="rank-0",
        incarnation="life",
        first=7,
        steps=(100, 101),
        at=(995.0, 996.0),
        columns={"loss": (0.5, 0.25), "phase": (None, "warm")},
    )


scalars = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text()
metrics = st.dictionaries(st.text("abc", min_size=1, max_size=2), scalars, max_size=3)


@given(st.lists(metrics, min_size=1, max_size=6))
def test_columns_hold_what_the_samples_held_also_behind_the_bus(rows):
    """Nothing is mixed up between samples, and types and non-finite numbers survive the way."""
    part = [(n, Sample(n, 0.0, row)) for n, row in enumerate(rows)]
    batch = decode(encode(columnar("r", "i", part, lambda: 0.0, lambda: 0.0)))
    back = [
        {name: column[n] for name, column in batch.columns.items() if column[n] is not None}
        for n in range(len(rows))
    ]
    assert [sorted((k, type(v), repr(v)) for k, v in row.items()) for row in back] == [
        sorted((k, type(v), repr(v)) for k, v in row.items()) for row in rows
    ]


@given(st.lists(st.integers(0, 40), unique=True).map(sorted))
def test_a_gap_splits_a_batch(numbers):
    """Each part has consecutive numbers, and together they are all, in order."""
    parts = outbox._consecutive([(n, sample(n)) for n in numbers])
    assert [n for part in parts for n, _ in part] == numbers
    for part in parts:
        assert [n for n, _ in part] == list(range(part[0][0], part[0][0] + len(part)))
    for before, after in itertools.pairwise(parts):
        assert before[-1][0] + 1 < after[0][0]


# Samples.


def test_taken_counts_what_is_missing_too(box):
    """A gap in the trainer's numbers has been taken notice of."""
    box.take(0, samples(0, 3))
    box.take(10, samples(10, 2))
    assert box.taken == 12
    assert held(box) == [0, 1, 2, 10, 11]
    assert not box.empty


def test_the_oldest_samples_are_shed_and_counted(box):
    """Beyond the bound the newest stay."""
    box.take(0, samples(0, KEPT_SAMPLES))
    assert box.missing == 0
    box.take(KEPT_SAMPLES, samples(KEPT_SAMPLES, 256))
    assert box.missing == 256
    assert held(box)[0] == 256
    assert held(box)[-1] == KEPT_SAMPLES + 255


def test_a_successor_knows_what_died_with_its_predecessor():
    """Samples that a dead sidecar had taken and not stored are missing, and so is what is lost
    on the way to the next one.
    """
    page = words()
    first = Outbox(Bus(lambda: None, name="test"), page, "train", "j1", "rank-0", "life")
    first.take(0, samples(0, 10))
    assert first.missing == 0
    second = Outbox(Bus(lambda: None, name="test"), page, "train", "j1", "rank-0", "life")
    assert second.missing == 10
    second.take(12, samples(12, 3))
    assert second.missing == 12


def test_what_could_not_be_shipped_waits_in_its_place(box):
    """A bus without a server costs nothing: the samples are there, in order, none counted shed."""
    box.take(0, samples(0, 5))
    assert asyncio.run(box._ship_batch()) is False
    assert held(box) == [0, 1, 2, 3, 4]
    assert box.missing == 0


def test_what_is_put_back_into_a_full_box_sheds_its_oldest(box):
    """What came since stays; of what comes back the newest fit, and the rest is counted."""
    box.take(10, samples(10, KEPT_SAMPLES - 2))
    box._put_back([[(n, sample(n)) for n in range(3)], [(n, sample(n)) for n in (5, 6)]])
    assert held(box)[:3] == [5, 6, 10]
    assert len(held(box)) == KEPT_SAMPLES
    assert box.missing == 8


class Storing(Bus):
    """A bus whose store takes what fits, so that the cutting of batches can be seen."""

    def __init__(self):
        super().__init__(lambda: None, name="test")
        self.stored = []
        self.before = None

    async def store(self, subject, data, *, message_id="", timeout=1.0):
        if self.before is not None:
            await self.before()
        self.stored.append((message_id, decode(data)))
        return len(self.stored)

    @property
    def steps(self):
        return [step for _, batch in self.stored for step in batch.steps]


@pytest.fixture
def storing():
    bus = Storing()
    return bus, Outbox(bus, words(), "train", "j1", "rank-0", "life")


def ship_all(box):
    async def ship():
        while box._samples:
            assert await box._ship_batch()

    asyncio.run(ship())


def test_batches_are_named_after_their_first_sample(storing):
    """A batch that is sent again has the same name, so that the bus can tell."""
    bus, box = storing
    box.take(0, samples(0, 2))
    box.take(5, samples(5, 1))
    ship_all(box)
    assert [name for name, _ in bus.stored] == ["life.report.0", "life.report.5"]
    assert [batch.first for _, batch in bus.stored] == [0, 5]


@pytest.mark.parametrize("value", [2**63, "x" * KEPT_BYTES], ids=["65 bits", "too large"])
def test_a_sample_that_cannot_travel_takes_no_other_with_it(storing, value):
    """It alone is left out and counted, wherever in a batch it lies."""
    bus, box = storing
    bad = {0, 77, 78, 299}
    box.take(0, tuple(sample(n, value=value if n in bad else 1.0) for n in range(300)))
    ship_all(box)
    assert bus.steps == [n for n in range(300) if n not in bad]
    assert box.missing == len(bad)


def test_a_batch_that_is_too_large_is_cut(storing):
    """Long texts go out in smaller batches, none is lost."""
    bus, box = storing
    box.take(0, tuple(sample(n, text="x" * 20_000) for n in range(200)))
    ship_all(box)
    assert bus.steps == list(range(200))
    assert len(bus.stored) > 3
    assert box.missing == 0


def test_what_was_under_way_when_the_shipping_was_cancelled_is_still_there(storing):
    """At the trainer's end the last samples are flushed after the shipping has been cancelled."""
    bus, box = storing
    box.take(0, samples(0, 3))
    box.take(9, samples(9, 3))

    async def cancel():
        reached = asyncio.Event()

        async def second_store():
            if bus.stored:
                reached.set()
                await asyncio.Event().wait()

        bus.before = second_store
        shipping = asyncio.ensure_future(box._ship_batch())
        await reached.wait()
        shipping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shipping

    asyncio.run(cancel())
    assert bus.steps == [0, 1, 2]
    assert held(box) == [9, 10, 11]
    assert box.missing == 6


def test_a_batch_whose_confirmation_was_lost_takes_no_later_sample_with_it(storing):
    """It was stored all the same: the bus knows its name, and takes what came since by another."""
    bus, box = storing
    known = {}

    async def store(subject, data, *, message_id="", timeout=1.0):
        fresh = message_id not in known
        known.setdefault(message_id, decode(data))
        if fresh and len(known) == 1:
            raise BusError("no answer")

    bus.store = store
    box.take(0, samples(0, 3))
    assert asyncio.run(box._ship_batch()) is False
    box.take(3, samples(3, 4))
    ship_all(box)
    assert [step for batch in known.values() for step in batch.steps] == list(range(7))
    assert box.missing == 0


def test_an_error_of_the_bus_keeps_what_has_not_been_stored(storing):
    """The parts before the error are not sent again, the others wait."""
    bus, box = storing
    box.take(0, samples(0, 3))
    box.take(9, samples(9, 3))

    async def fail():
        if bus.stored:
            raise BusError("gone")

    bus.before = fail
    assert asyncio.run(box._ship_batch()) is False
    assert bus.steps == [0, 1, 2]
    assert held(box) == [9, 10, 11]


# What is kept.


def test_what_cannot_travel_is_refused_when_it_is_handed_over(box):
    """The caller can still send it without its values; too large, it would block all after it."""
    with pytest.raises(MalformedError):
        box.keep(outcome(result=2**64), "one")
    with pytest.raises(MalformedError, match="bytes, at most"):
        box.keep(outcome(result="x" * KEPT_BYTES), "two")
    assert box.empty
    box.keep(outcome(result="x" * (KEPT_BYTES - 1000)), "three")
    assert not box.empty


def test_what_is_kept_waits_for_a_server(box):
    """Without a server nothing is called stored, and nothing is dropped."""
    stored = []
    box.keep(outcome(), "one", lambda: stored.append(1))
    box.keep(Lifecycle(replica="rank-0", incarnation="life", state="exited"), "two")

    async def send_for_a_moment():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(box.send(), 0.05)

    asyncio.run(send_for_a_moment())
    assert stored == []
    assert [identifier for identifier, _, _ in box._kept] == ["life.one", "life.two"]
    assert isinstance(decode(box._kept[0][1]), Outcome)


def test_no_number_is_a_number():
    """A sample without a metric is told apart from one whose value is NaN."""
    part = [(0, Sample(0, 0.0, {"a": math.nan})), (1, Sample(1, 0.0, {}))]
    batch = decode(encode(columnar("r", "i", part, lambda: 0.0, lambda: 0.0)))
    assert math.isnan(batch.columns["a"][0])
    assert batch.columns["a"][1] is None


def test_batches_are_as_large_as_the_line_takes_at_once(storing):
    """After slow confirmations they are small, so that a heartbeat need not wait behind them."""
    bus, box = storing
    box._pace(2.0)
    box._pace(2.0)
    box.take(0, samples(0, 400))
    ship_all(box)
    sizes = [len(batch.steps) for _, batch in bus.stored]
    assert sizes == [125, 250, 25]
    assert bus.steps == list(range(400))
